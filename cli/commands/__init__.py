"""One module per command; `sharedstate_cli.main` imports each only when it is run."""
