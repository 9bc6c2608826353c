"""What a configuration says, whatever language it was written in.

Every value is frozen, compares by what it says and not by where it was written (`place` fields are left out
of comparisons), and is complete: defaults are filled in, names are in their canonical spelling.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sharedstate.throttle.defaults import Defaults

if TYPE_CHECKING:
    from sharedstate.specs import ObjectSpec

__all__ = [
    "Cache",
    "Configuration",
    "Datasource",
    "InboundAudit",
    "Limit",
    "LimitKind",
    "Monitor",
    "OutboundAudit",
    "Place",
    "Rate",
    "Replication",
    "Scope",
    "Site",
    "Skipped",
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written.

    Attributes:
        file: path as it was given or included, or None for text that came from no file.
        line: 1-based line.
        column: 1-based column, counted in characters.
    """

    file: str | None
    line: int
    column: int

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)


@dataclass(frozen=True, slots=True)
class Site:
    """Domains (or MX hosts) that are one destination to the operator, such as all that one provider hosts.

    Attributes:
        name: what the site's connections are counted under, in lower case.
        domains: the recipient domains, canonical.
        mx: MX host names, canonical; one that starts with ``*.`` stands for every name below the rest.
    """

    name: str
    domains: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Datasource:
    """A ds_core datasource: where rows come from and how they are cached.

    Attributes:
        name: as written.
        uri: one or several sources, asked in turn.
        cache_life: seconds a cached answer lives.
        cache_size: entries; the oldest are dropped beyond it.
        max_rows: rows fetched by one query, -1 for all.
        no_cache: answers are not cached.
        serialized: one node's answer serves all.
    """

    name: str
    uri: tuple[str, ...] = ()
    cache_life: int = 3600
    cache_size: int = 1000
    max_rows: int = 100
    no_cache: bool = False
    serialized: bool = False
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Cache:
    """A replicated cache.

    Attributes:
        name: that of its datasource.
        datasource: what fills it.
        snapshot: a node that joins sees pairs written before it joined.
        max_size: entries, -1 for no bound of its own.
        max_delay: seconds a change may wait in a member's buffer.
        max_pending: changes buffered before they are published without waiting.
    """

    name: str
    datasource: Datasource
    snapshot: bool = False
    max_size: int = -1
    max_delay: float = 1.0
    max_pending: int = 100
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Replication:
    """A replicate stanza that is neither a member-owned object nor a cache.

    Attributes:
        type: ``shared_named_throttles``, ``OBTM``, ``OBTC``, ``metrics`` or ``eccmgr_metrics``.
        parameters: what is replicated (metrics only), in the order written, without repetition.
        max_delay: seconds a change may wait in a member's buffer.
        max_pending: changes buffered before they are published without waiting.
    """

    type: str
    parameters: tuple[str, ...] = ()
    max_delay: float = 1.0
    max_pending: int = 100
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Monitor:
    """One audit series: `count` windows of `interval` seconds each."""

    interval: int
    count: int

    def __str__(self) -> str:
        return f"{self.interval},{self.count}"


@dataclass(frozen=True, slots=True)
class InboundAudit:
    """The inbound_audit stanza."""

    monitors: tuple[Monitor, ...] = ()
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class OutboundAudit:
    """The outbound_audit stanza.

    Attributes:
        monitors: the series.
        monitor_domains: keep series of single domains, not just the total.
        domains: keep series of these whatever their traffic; when given, `threshold` does not count.
        threshold: messages a domain must have had before its series is kept.
    """

    monitors: tuple[Monitor, ...] = ()
    monitor_domains: bool = True
    domains: tuple[str, ...] = ()
    threshold: int = 0
    place: Place | None = field(default=None, compare=False)


class LimitKind(enum.StrEnum):
    """The cluster-wide limits on outbound traffic, by the reference's option names."""

    THROTTLE_MESSAGES = "cluster_outbound_throttle_messages"
    THROTTLE_CONNECTIONS = "cluster_outbound_throttle_connections"
    MAX_CONNECTIONS = "cluster_max_outbound_connections"
    SERVER_MAX_CONNECTIONS = "cluster_server_max_outbound_connections"
    SCOPE_MAX_CONNECTIONS = "cluster_scope_max_outbound_connections"

    @property
    def is_rate(self) -> bool:
        """Whether the limit is a `Rate`; otherwise it is a number of connections."""
        return self in (LimitKind.THROTTLE_MESSAGES, LimitKind.THROTTLE_CONNECTIONS)

    @property
    def is_cap(self) -> bool:
        """Whether the limit is a number of connections that may be open."""
        return not self.is_rate


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` events in `seconds` seconds, written ``count`` or ``count/seconds``."""

    count: int
    seconds: int = 1

    def __str__(self) -> str:
        return str(self.count) if self.seconds == 1 else f"{self.count}/{self.seconds}"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which traffic a limit applies to; all None is the global scope.

    Attributes:
        binding_group: name of the binding group.
        binding: name of the binding.
        domain: destination domain, canonical, or ``/regular expression/`` as written.
        host: MX host, canonical.
    """

    binding_group: str | None = None
    binding: str | None = None
    domain: str | None = None
    host: str | None = None

    @property
    def levels(self) -> tuple[tuple[str, str], ...]:
        """The stanzas of the scope with their names, outermost first."""
        pairs = (
            ("binding_group", self.binding_group),
            ("binding", self.binding),
            ("domain", self.domain),
            ("host", self.host),
        )
        return tuple((kind, name) for kind, name in pairs if name is not None)

    @property
    def kind(self) -> str:
        """The scope in the reference's words, such as ``global`` or ``binding::domain``."""
        return "::".join(kind for kind, _ in self.levels) or "global"

    def __str__(self) -> str:
        return " :: ".join(f'{kind} "{name}"' for kind, name in self.levels) or "global"


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit in one scope.

    Attributes:
        kind: which limit.
        scope: what it applies to.
        value: a `Rate` for the throttles, else a number of connections, -1 for unlimited.
    """

    kind: LimitKind
    scope: Scope
    value: Rate | int
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A stanza or option that does not concern shared state.

    Attributes:
        name: its type and names, or the option's name.
        stanza: whether it is a stanza.
    """

    name: str
    stanza: bool
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All that one configuration says about shared state.

    Attributes:
        cluster: the fleet's name (``cluster_group``).
        control_group: the group the console's transcripts show as control group.
        logger_group: the group of the logs (``log_group``), or None.
        url: server URL (``redis_url``), or None when it is given elsewhere.
        node: this node's name (``nodename``), or None to find it out.
        member_timeout: seconds without a heartbeat after which a member is dead.
        throttles: what throttles are made with (``throttle_mode``, ``throttle_policy``, ``throttle_timeout``).
        objects: the member-owned objects, in the order configured; then those that were added because a limit is
            counted in them and nothing replicates them.
        sites: destinations that several domains share.
        datasources: all datasources, replicated or not.
        caches: the replicated caches.
        replications: the other replicate stanzas.
        inbound_audit: the inbound audit series, or None.
        outbound_audit: the outbound audit series, or None.
        limits: cluster-wide traffic limits; one for each kind and scope.
        skipped: what was read and does not concern shared state.
        files: the files read, in order.
        added: names of the objects that were added.
    """

    cluster: str = "ec_cluster"
    control_group: str = "ec_console"
    logger_group: str | None = None
    url: str | None = None
    node: str | None = None
    member_timeout: float = 15.0
    throttles: Defaults = field(default_factory=Defaults)
    objects: tuple[ObjectSpec, ...] = ()
    sites: tuple[Site, ...] = ()
    datasources: tuple[Datasource, ...] = ()
    caches: tuple[Cache, ...] = ()
    replications: tuple[Replication, ...] = ()
    inbound_audit: InboundAudit | None = None
    outbound_audit: OutboundAudit | None = None
    limits: tuple[Limit, ...] = ()
    skipped: tuple[Skipped, ...] = field(default=(), compare=False)
    files: tuple[str, ...] = field(default=(), compare=False)
    object_places: tuple[Place, ...] = field(default=(), compare=False)
    added: tuple[str, ...] = field(default=(), compare=False)

    def place_of(self, name: str) -> Place | None:
        """Where the object `name` was configured."""
        for spec, place in zip(self.objects, self.object_places, strict=False):
            if spec.name == name:
                return place
        return None

    def replication(self, type_: str) -> Replication | None:
        """The replicate stanza of a type such as ``metrics``, or None."""
        return next((entry for entry in self.replications if entry.type == type_), None)
