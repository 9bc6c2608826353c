"""Flows that answer questions; the sync and asyncio faces share them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import cidr
from .call import Call, Flow, only
from .errors import UnknownNodeError, UnknownObjectError
from .keys import Keys
from .names import field_text, parse_block
from .objects import fleet, gauge
from .objects.fields import GaugeKey, gauge_field, shard_of_field
from .objects.fleet import Fleet
from .results import FleetInfo, Member
from .specs import Kind, ObjectSpec

__all__ = ["count_flow", "find_object", "fleet_info", "label_of", "look", "page_flow", "require_node"]


def look(keys: Keys) -> Flow[Fleet]:
    """The fleet at one moment. One round trip."""
    return only(fleet.look(keys))


def find_object(now: Fleet, name: str) -> ObjectSpec:
    """The object of this name, in any case; ``outbound_domain`` means ``outbound_domains``, as in the reference.

    Raises:
        UnknownObjectError: no such object.
    """
    by_name = {known.lower(): spec for known, spec in now.objects.items()}
    wanted = name.lower()
    if wanted == "outbound_domain" and wanted not in by_name:
        wanted = "outbound_domains"
    if wanted not in by_name:
        raise UnknownObjectError(name, now.objects)
    return by_name[wanted]


def require_node(now: Fleet, node: str) -> tuple[Member, ...]:
    """Live members of a node.

    Raises:
        UnknownNodeError: it has none.
    """
    members = now.of_node(node)
    if not members:
        raise UnknownNodeError(node, now.nodes)
    return members


def label_of(members: Sequence[Member] | None) -> str:
    """How a view is labelled: ``global``, or the members' shared names."""
    return "global" if members is None else " ".join(member.shared_name for member in members)


def _hashes(keys: Keys, spec: ObjectSpec, shard: int, members: Sequence[Member] | None) -> list[str]:
    if members is None:
        return [keys.sums(spec.name, shard)]
    return [keys.copy(spec.name, shard, member.incarnation) for member in members]


def count_flow(keys: Keys, spec: ObjectSpec, key: GaugeKey, members: Sequence[Member] | None) -> Flow[int]:
    """Count of an item or a block. One round trip for each shard touched, all of them at once.

    Raises:
        InvalidValueError: the key is not an item or block of this object.
        LinkError: Redis did not answer.
    """
    if spec.kind is Kind.CIDR_TREE:
        block = parse_block(key)  # type: ignore[arg-type]  # a tuple is refused there with a sentence
        places = cidr.places(block, spec.shards)
    else:
        field = gauge_field(spec, key)
        places = {shard_of_field(spec, field): [field]}
    calls: list[Call[Any]] = [
        call
        for shard, fields in places.items()
        for name in _hashes(keys, spec, shard, members)
        for call in gauge.count(name, fields)
    ]
    outcomes = yield calls
    total = 0
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        total += outcome
    return total


def page_flow(
    keys: Keys, spec: ObjectSpec, shard: int, cursor: bytes, members: Sequence[Member] | None
) -> Flow[tuple[bytes, dict[bytes, int]]]:
    """A page of one shard, fields as stored: of the global view about 1000 items, of a node's the shard whole.

    A node's view adds up its members, so their parts of a shard must be read together.
    """
    if members is None:
        return (yield from only(gauge.page(keys.sums(spec.name, shard), cursor)))
    total: dict[bytes, int] = {}
    for name in _hashes(keys, spec, shard, members):
        at, mine = b"0", dict[bytes, int]()
        while True:
            at, found = yield from only(gauge.page(name, at))
            mine.update(found)  # HSCAN may repeat an item
            if at == b"0":
                break
        for field, value in mine.items():
            total[field] = total.get(field, 0) + value
    return b"0", total


class PageReader:
    """Where a walk through an object stands: which shard, which cursor, what was already given out of this shard."""

    def __init__(self, keys: Keys, spec: ObjectSpec, members: Sequence[Member] | None) -> None:
        self._keys = keys
        self._spec = spec
        self._members = members
        self._shard = 0
        self._cursor = b"0"
        self._seen: set[bytes] = set()

    @property
    def done(self) -> bool:
        """Whether every shard was read."""
        return self._shard >= self._spec.shards

    def next(self) -> Flow[dict[str, int]]:
        """The next page as text, no item twice; it may be empty before the end."""
        cursor, found = yield from page_flow(self._keys, self._spec, self._shard, self._cursor, self._members)
        tree = self._spec.kind is Kind.CIDR_TREE
        page: dict[str, int] = {}
        for field, value in found.items():
            if field in self._seen or (tree and not cidr.is_address(field)):
                continue
            self._seen.add(field)
            page[field_text(field) if tree else field.decode("utf-8", "replace")] = value
        self._cursor = cursor
        if cursor == b"0":
            self._shard += 1
            self._seen = set()
        return page


def fleet_info(now: Fleet, node: str, cluster: str, control_group: str, link: Any) -> FleetInfo:
    """Put the answer of ``info`` together; `link` is either face of the link."""
    own = now.of_node(node)
    primaries = link.topology.primaries
    port = (
        int(primaries[0].rpartition(":")[2]) if primaries and primaries[0].rpartition(":")[2].isdigit() else 0
    )
    return FleetInfo(
        server_port=port,
        member=own[0] if own else None,
        cluster=cluster,
        control_group=control_group,
        leader=now.leader,
        topology=link.topology.mode,
        server=link.topology.server,
        primaries=primaries,
    )
