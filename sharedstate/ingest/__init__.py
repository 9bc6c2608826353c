"""Real input: what an MTA logged, turned into events."""
