"""Console of sharedstate."""
