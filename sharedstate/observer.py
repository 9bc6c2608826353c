"""The reading face for ordinary (blocking) code: `observe`, and what it and members answer from what is published."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import reading
from .audit.core import AuditCore
from .audit.faces import AuditReader
from .call import Flow, only
from .errors import InvalidValueError
from .link.sync import Link
from .objects import fleet
from .objects.fields import GaugeKey
from .objects.fleet import Fleet
from .objects.store import GaugeStore
from .reading import PageReader
from .reaping import bury_flow, reap_overdue
from .results import FleetInfo, Member, NodeCounts, View
from .settings import Settings, resolve
from .specs import ObjectSpec
from .throttle.face import Throttling

__all__ = ["FLEET_AGE", "Observer", "SharedObject", "observe", "require_store", "timed"]

#: How long a node's member list is trusted by count(node=...), seconds.
FLEET_AGE = 1.0


def require_store(spec: ObjectSpec, store: GaugeStore | None) -> GaugeStore:
    """This process's own part of an object.

    Raises:
        InvalidValueError: it has none.
    """
    if store is None:
        raise InvalidValueError(
            f"object {spec.name!r} cannot be changed here: this process does not count it; use connect() "
            "with a configuration that replicates it."
        )
    return store


class SharedObject:
    """One shared object, asked for by name.

    Reading answers from what members have published. `increment` and `decrement` need a member (`connect`).
    """

    def __init__(self, observer: Observer, spec: ObjectSpec, store: GaugeStore | None) -> None:
        self._observer = observer
        self._store = store
        self.spec = spec

    def increment(self, key: GaugeKey, n: int = 1) -> None:
        """Add n to this member's count of an item. No I/O; published after max_delay or max_pending at the latest.

        Args:
            key: address (cidr trees), domain, host or site (outbound_domains), or (binding, domain).
            n: how many, at least 1.

        Raises:
            InvalidValueError: key or n is not acceptable; nothing was counted.
            ClosedError: the state was closed.
        """
        self._own().increment(key, n)

    def decrement(self, key: GaugeKey, n: int = 1) -> None:
        """Take n from this member's count of an item. No I/O.

        Raises:
            CountBelowZeroError: this member's own count is smaller than n; it stays as it was.
            InvalidValueError: key or n is not acceptable.
            ClosedError: the state was closed.
        """
        self._own().decrement(key, n)

    def local(self) -> dict[str, int]:
        """This member's own counts at this moment, published or not; zeros are left out. No I/O."""
        return self._own().local()

    def count(self, key: GaugeKey, node: str | None = None) -> int:
        """Published count of an item or of a CIDR block, fleet-wide or of one node.

        One round trip, whatever the number of addresses in the block: one field of one shard for an item and for blocks
        of every 8 bits (IPv6 beyond /64: every 16), else at most 128 fields, or 32,768 beyond an IPv6 /64. With `node`,
        one more at most once a second.

        Raises:
            InvalidValueError: the key is not an item or block.
            UnknownNodeError: the node has no live member.
            LinkError: Redis did not answer.
        """
        members = None if node is None else reading.require_node(self._observer._fleet(FLEET_AGE), node)
        total: int = self._observer._run(reading.count_flow(self._observer._keys, self.spec, key, members))
        return total

    def view(self, node: str | None = None) -> View:
        """Everything the object holds, of the fleet or of one node. A round trip for each 1000 items.

        Raises:
            UnknownNodeError: the node has no live member.
            LinkError: Redis did not answer.
        """
        members = self._members(node)
        counts: dict[str, int] = {}
        for page in self._read(members):
            counts.update(page)
        return View(spec=self.spec, label=reading.label_of(members), node=node, counts=counts)

    def pages(self, node: str | None = None) -> Iterator[dict[str, int]]:
        """The same, page by page and unsorted, no item twice: memory stays at one shard's item names."""
        return self._read(self._members(node))

    def by_node(self) -> NodeCounts:
        """The global view and each node's own."""
        now = self._observer._fleet(0)
        nodes = {}
        for node in now.nodes:
            members = now.of_node(node)
            counts: dict[str, int] = {}
            for page in self._read(members):
                counts.update(page)
            nodes[node] = View(spec=self.spec, label=reading.label_of(members), node=node, counts=counts)
        return NodeCounts(fleet=self.view(), nodes=nodes)

    def _own(self) -> GaugeStore:
        return require_store(self.spec, self._store)

    def _members(self, node: str | None) -> tuple[Member, ...] | None:
        self._observer._reap()
        return None if node is None else reading.require_node(self._observer._fleet(0), node)

    def _read(self, members: tuple[Member, ...] | None) -> Iterator[dict[str, int]]:
        reader = PageReader(self._observer._keys, self.spec, members)
        while not reader.done:
            page = self._observer._run(reader.next())
            if page:
                yield page


class Observer(Throttling):
    """Reads the fleet without being a member. Safe to use from many threads; a context manager."""

    def __init__(self, settings: Settings, link: Link) -> None:
        self._settings = settings
        self._link = link
        self._keys = settings.keys
        self._seen: tuple[float, Fleet] | None = None
        self.audit = AuditReader(AuditCore(self._keys, settings.node), self._run)
        self.node = settings.node
        self.cluster = settings.keys.cluster

    def objects(self) -> list[ObjectSpec]:
        """Objects the fleet manages, by name. One round trip."""
        return list(self._fleet(0).objects.values())

    def members(self) -> list[Member]:
        """Live members in order of joining. Two round trips; the dead are reaped on the way."""
        self._reap()
        return list(self._fleet(0).members)

    def info(self) -> FleetInfo:
        """Where we are connected, who this node's member is and who leads. One round trip."""
        return reading.fleet_info(
            self._fleet(0), self.node, self.cluster, self._settings.control_group, self._link
        )

    def shared(self, name: str) -> SharedObject:
        """A shared object by name. One round trip.

        Raises:
            UnknownObjectError: no such object; the message suggests the near name.
        """
        return SharedObject(self, reading.find_object(self._fleet(0), name), None)

    def reset(self, node: str | None = None) -> int:
        """Take a node's members (this node's by default) out of the fleet; live ones rejoin and publish anew.

        Returns:
            How many members were reset.

        Raises:
            UnknownNodeError: the node has no live member.
        """
        members = reading.require_node(self._fleet(0), node or self.node)
        self._run(only(fleet.fence(self._keys, [member.incarnation for member in members])))
        for member in members:
            self._run(bury_flow(self._keys, member.incarnation))
        return len(members)

    def _live_members(self) -> int:
        return 1 if self._seen is None else max(len(self._seen[1].members), 1)

    def close(self) -> None:
        """Close the connections."""
        self._close_throttles()
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, flow: Flow[Any]) -> Any:
        return self._link.run(flow)

    def _reap(self) -> None:
        self._run(reap_overdue(self._keys))

    def _fleet(self, age: float) -> Fleet:
        """The fleet, not older than `age` seconds."""
        now = time.monotonic()
        if self._seen is not None and now - self._seen[0] < age:
            return self._seen[1]
        found: Fleet = self._run(reading.look(self._keys))
        self._seen = (now, found)
        return found


def observe(
    url: str | None = None,
    *,
    node: str | None = None,
    config: str | Path | None = None,
    cluster: str | None = None,
    timeout: float | None = None,
    **link_options: Any,
) -> Observer:
    """Connect for reading only; nothing joins the fleet.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://`` or ``redis+sentinel://`` with one or several hosts; else
            SHAREDSTATE_URL, else the configuration's.
        node: name of this node; else SHAREDSTATE_NODE, EC_NODE_NAME, the configuration's, the host name to its dot.
        config: path of a configuration file; else SHAREDSTATE_CONFIG.
        cluster: name of the fleet, ``ec_cluster`` by default.
        timeout: seconds a question may take, 5 by default.
        link_options: more options of the connection (TLS files, user name …), see docs/connecting.md.

    Raises:
        InvalidUrlError, InvalidNameError, ConfigError, LinkError: one sentence each.
    """
    settings = resolve(
        url, node=node, config=config, cluster=cluster, member_timeout=None, **timed(timeout, link_options)
    )
    return Observer(settings, Link.open(settings.endpoint))


def timed(timeout: float | None, link_options: dict[str, Any]) -> dict[str, Any]:
    """The options of a connection, with the timeout if one is given."""
    return link_options if timeout is None else {**link_options, "timeout": timeout}
