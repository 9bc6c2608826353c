"""Fleets of mail servers share counts, limits and caches through Redis Cluster."""
