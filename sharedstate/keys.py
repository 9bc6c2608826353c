"""The one place that makes key names.

Every key reads ``ss:<cluster>:{<tag>}:<part>``. Redis Cluster hashes only what stands between the first braces, so
all keys that one script touches share a tag and therefore a slot, on every cluster and after every resharding.
The cluster name stays outside the braces on purpose: it keeps two fleets on one Redis apart without piling
them differently onto slots.

====================================  ======  ============================================================
key                                   type    holds
====================================  ======  ============================================================
``ss:C:{fleet}:live``                 zset    incarnation -> server time (ms) until which it is live
``ss:C:{fleet}:dying``                zset    incarnation -> server time (ms) until which its reaper has it
``ss:C:{fleet}:members``              hash    incarnation -> record (JSON) of live and dying members
``ss:C:{fleet}:objects``              hash    object name -> spec (JSON), shard count included
``ss:C:{OBJECT:SHARD}:reg``           hash    incarnation -> last applied sequence, or minus time of death (ms)
``ss:C:{OBJECT:SHARD}:sum``           hash    item -> sum over all members
``ss:C:{OBJECT:SHARD}:of:I``          hash    item -> count of the member with incarnation I
``ss:C:{throttle:NAME}:bucket``       hash    a throttle's bucket (``lua/includes/throttle_open.lua``)
``ss:C:{throttles:SHARD}:names``      zset    throttle name -> server time (s) of its last sign of use
``ss:C:{fleet}:series``               hash    audit series -> spec (JSON)
``ss:C:{audit:S:SECONDS:SHARD}:reg``  hash    source -> last applied batch, server time (ms), node
``ss:C:{audit:S:SECONDS:SHARD}:w:N``  hash    field -> count or packed node: window N of series S, all nodes
``ss:C:{audit:S:…}:w:N:NODE``         hash    the same, of one node
``ss:C:{audit:S:SECONDS}:export:JOB`` hash    which window an export comes to next, its lease, its files' tokens
====================================  ======  ============================================================
"""

from __future__ import annotations

from .specs import check_name

__all__ = ["THROTTLE_NAME_SHARDS", "Keys"]

#: Over how many slots the list of throttles is spread.
THROTTLE_NAME_SHARDS = 16


class Keys:
    """Key names of one cluster (fleet).

    Args:
        cluster: the fleet's name, letters, digits, ``. _ -``.
    """

    __slots__ = ("cluster", "dying", "live", "members", "objects", "series")

    def __init__(self, cluster: str) -> None:
        self.cluster = check_name(cluster, "cluster")
        fleet = f"ss:{cluster}:{{fleet}}"
        self.live = f"{fleet}:live"
        self.dying = f"{fleet}:dying"
        self.members = f"{fleet}:members"
        self.objects = f"{fleet}:objects"
        self.series = f"{fleet}:series"

    def registry(self, name: str, shard: int) -> str:
        """Sequences and tombstones of the members in one shard of an object."""
        return f"ss:{self.cluster}:{{{name}:{shard}}}:reg"

    def sums(self, name: str, shard: int) -> str:
        """Fleet-wide counts of one shard of an object."""
        return f"ss:{self.cluster}:{{{name}:{shard}}}:sum"

    def copy(self, name: str, shard: int, incarnation: str) -> str:
        """One member's published counts in one shard of an object."""
        return f"ss:{self.cluster}:{{{name}:{shard}}}:of:{incarnation}"

    def bucket(self, throttle: str) -> str:
        """Token bucket of a throttle; each throttle has a slot of its own choosing."""
        return f"ss:{self.cluster}:{{throttle:{throttle}}}:bucket"

    def throttle_names(self, shard: int) -> str:
        """Names of the throttles in use, one of `THROTTLE_NAME_SHARDS` parts."""
        return f"ss:{self.cluster}:{{throttles:{shard}}}:names"

    def audit_registry(self, name: str, interval: int, shard: int) -> str:
        """How far each source's batches are applied in one shard of an audit series' windows of `interval` seconds."""
        return f"ss:{self.cluster}:{{audit:{name}:{interval}:{shard}}}:reg"

    def audit_window(self, name: str, interval: int, shard: int, window: int, node: str | None = None) -> str:
        """One shard of one window of an audit series, of all nodes together or of one; node names have no case."""
        base = f"ss:{self.cluster}:{{audit:{name}:{interval}:{shard}}}:w:{window}"
        return base if node is None else f"{base}:{node.lower()}"

    def audit_export(self, name: str, interval: int, job: str) -> str:
        """How far one export of an audit series' windows of `interval` seconds has come."""
        return f"ss:{self.cluster}:{{audit:{name}:{interval}}}:export:{job}"
