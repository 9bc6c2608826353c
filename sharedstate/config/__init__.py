"""Configuration: Momentum's language in both generations and native TOML, one model."""
