"""A configuration with caps, for tests on real servers."""

from __future__ import annotations

from pathlib import Path

TEXT = """
[cluster]
member_timeout = {member_timeout}

[[replicate]]
type = "outbound_cidr"

[[replicate]]
type = "outbound_domains"

[[limit]]
cluster_max_outbound_connections = 5

[[limit]]
domain = "small.example"
cluster_max_outbound_connections = 2

[[limit]]
domain = "free.example"
cluster_max_outbound_connections = -1

[[limit]]
host = "mx.one.example"
cluster_max_outbound_connections = 1

[[limit]]
binding = "bulk"
cluster_server_max_outbound_connections = 3

[[limit]]
binding = "bulk"
domain = "d.example"
cluster_scope_max_outbound_connections = 2

[[limit]]
cluster_server_max_outbound_connections = {total}
"""


def write(folder: Path, *, member_timeout: float = 3.0, total: int = 12) -> Path:
    """The configuration's path."""
    path = folder / "caps.toml"
    path.write_text(TEXT.format(member_timeout=member_timeout, total=total))
    return path
