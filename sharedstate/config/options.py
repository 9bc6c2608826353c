"""Names of the options and types that concern shared state, in one place for both languages."""

from __future__ import annotations

from sharedstate.specs import CLASS_KINDS

__all__ = [
    "CACHE",
    "CLUSTER_OPTIONS",
    "DATASOURCE_OPTIONS",
    "INBOUND_AUDIT_OPTIONS",
    "METRICS",
    "METRIC_TYPES",
    "OUTBOUND_AUDIT_OPTIONS",
    "REPLICATE_OPTIONS",
    "SITE_OPTIONS",
    "SNAPSHOT",
    "TYPES",
]

CACHE = "cache"
SNAPSHOT = "snapshot"
METRIC_TYPES = ("metrics", "eccmgr_metrics")

#: Every replicate type by its spelling in lower case.
TYPES = {
    name.lower(): name
    for name in (*CLASS_KINDS, CACHE, "shared_named_throttles", "OBTM", "OBTC", *METRIC_TYPES)
}

#: What a metrics stanza can replicate.
METRICS = (
    "connect",
    "reception",
    "rejection",
    "delivery",
    "transfail",
    "permfail",
    "audit_series",
    "gauge_cache",
)

#: Of the cluster stanza; the last six are ours, the others the reference's.
CLUSTER_OPTIONS = (
    "cluster_group",
    "control_group",
    "log_group",
    "nodename",
    "redis_url",
    "member_timeout",
    "shards",
    "throttle_mode",
    "throttle_policy",
    "throttle_timeout",
)

DATASOURCE_OPTIONS = ("uri", "cache_life", "cache_size", "max_rows", "no_cache", "serialized")
SITE_OPTIONS = ("domains", "mx")
INBOUND_AUDIT_OPTIONS = ("monitors",)
OUTBOUND_AUDIT_OPTIONS = ("monitors", "monitor_domains", "domainlist", "threshold")

_COMMON = ("type", "class", "parameters", "max_delay", "max_pending")

#: Options of a replicate stanza beyond the common ones, and the types they are for. `shards`, `count_by` and
#: `remember` are ours.
_PARTICULAR = {
    "replication_name": (CACHE,),
    "max_size": (CACHE,),
    "binding_group": ("outbound_cidr", "outbound_domains"),
    "count_by": ("outbound_domains",),
    "shards": tuple(CLASS_KINDS),
    "remember": tuple(CLASS_KINDS),
}

REPLICATE_OPTIONS = {**dict.fromkeys(_COMMON, tuple(TYPES.values())), **_PARTICULAR}
