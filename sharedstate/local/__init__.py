"""A real Redis Cluster on this machine, started from a server binary."""
