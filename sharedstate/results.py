"""What questions to the fleet are answered with: frozen values, decoded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .specs import Kind, ObjectSpec

__all__ = ["FleetInfo", "Member", "NodeCounts", "View"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One process of one node, as the fleet knows it.

    Attributes:
        incarnation: random identity of this life of the process; a rejoin makes a new one.
        node: node name; empty for a manager without one.
        pid: process id, part of the private name.
        role: ``Momentum`` for a mail node (the reference's word), ``Manager`` for one that only watches.
        version: version of the software that joined.
        address: ``host:port`` the member is reached at, ``0.0.0.0:0`` when it serves nothing.
        groups: group names it belongs to.
        joined: Redis server time of the join, seconds since the epoch.
        deadline: Redis server time until which it counts as live without another heartbeat.
    """

    incarnation: str
    node: str
    pid: int
    role: str = "Momentum"
    version: str = ""
    address: str = "0.0.0.0:0"
    groups: tuple[str, ...] = ()
    joined: float = 0.0
    deadline: float = 0.0

    @property
    def private_name(self) -> str:
        """Name on the membership channel: ``#ec0-<pid>#<node>``, ``#eccmgr#<node>`` for a manager."""
        return f"#eccmgr#{self.node}" if self.role == "Manager" else f"#ec0-{self.pid}#{self.node}"

    @property
    def shared_name(self) -> str:
        """Name on the shared-object channel: ``#ec1-<pid>#<node>``; views are labelled with it."""
        return f"#ec1-{self.pid}#{self.node}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetInfo:
    """The answer of ``info``: where we are connected and who leads.

    Attributes:
        server_port: TCP port of the Redis server that answered.
        member: the asking node's own (oldest) live member, or None when it has none.
        cluster: name of the cluster group, which is also the name in every key.
        control_group: name of the console's group.
        leader: oldest live mail-node member, or None when nobody is there.
        topology: ``cluster``, ``sentinel`` or ``standalone``.
        server: server name and version, such as ``valkey 9.1.2``.
        primaries: ``host:port`` of every primary.
    """

    server_port: int
    member: Member | None
    cluster: str
    control_group: str
    leader: Member | None
    topology: str
    server: str
    primaries: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one shared object holds: of the whole fleet, or of one node.

    Attributes:
        spec: the object.
        label: ``global``, or the shared names of the node's live members separated by blanks.
        node: the node asked for, or None for the global view.
        counts: item to count. Items are addresses (cidr trees), domains, hosts, sites, or
            ``binding/domain`` (outbound_binding_domains). Items that are remembered with a count of
            zero are included: they are branch points of the tree.
    """

    spec: ObjectSpec
    label: str
    node: str | None
    counts: Mapping[str, int]

    @property
    def kind(self) -> Kind:
        """How the object holds its counts."""
        return self.spec.kind

    @property
    def total(self) -> int:
        """Sum of all counts."""
        return sum(self.counts.values())

    def rows(self) -> list[tuple[str, int]]:
        """The rows the console shows, in its order.

        A gauge table has a row for each item whose count is not zero, by name. A cidr tree has a row for
        each prefix at which the known addresses branch and each address itself, by address with the shorter
        prefix first, each with the sum below it, where that is not zero.
        """
        if self.kind is Kind.CIDR_TREE:
            from .cidr import tree_rows

            return tree_rows(self.counts)
        return sorted((item, count) for item, count in self.counts.items() if count)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCounts:
    """The global view together with every node's own part, for side-by-side columns.

    Attributes:
        fleet: the global view.
        nodes: node name to that node's view, in order of joining.
    """

    fleet: View
    nodes: Mapping[str, View] = field(default_factory=dict)

    def __iter__(self) -> Iterator[str]:
        return iter(self.nodes)
