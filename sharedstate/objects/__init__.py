"""Member-owned and Redis-owned shared objects: one file for each kind."""
