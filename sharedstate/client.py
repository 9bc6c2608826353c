"""The face for ordinary (blocking) code: `observe` reads, `connect` joins and counts."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import reading
from .call import Flow, only
from .errors import AmbiguousError, ClosedError, InvalidValueError, SharedStateError, UnreachableError
from .events import Events
from .link.sync import Link
from .member import MemberEngine, Metrics, bury_flow, reap_overdue
from .objects import fleet
from .objects.fleet import Fleet
from .objects.store import GaugeKey, GaugeStore
from .reading import PageReader
from .results import FleetInfo, Member, NodeCounts, View
from .settings import Settings, resolve
from .specs import ObjectSpec

__all__ = ["Observer", "SharedObject", "State", "connect", "observe", "version"]

_log = logging.getLogger("sharedstate")

#: How long a node's member list is trusted by count(node=...), seconds.
FLEET_AGE = 1.0


def version() -> str:
    """Version of this package."""
    try:
        return metadata.version("sharedstate")
    except metadata.PackageNotFoundError:
        return "0"


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

        One round trip: one field of one shard for an item and for block lengths that are a multiple of 8, else at most
        128 fields, whatever the number of addresses in the block. With `node`, one more at most once a second.

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


class Observer:
    """Reads the fleet without being a member. Safe to use from many threads; a context manager."""

    def __init__(self, settings: Settings, link: Link) -> None:
        self._settings = settings
        self._link = link
        self._keys = settings.keys
        self._seen: tuple[float, Fleet] | None = None
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

    def close(self) -> None:
        """Close the connections."""
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


class State(Observer):
    """This process as a member of the fleet: counts its own part and reads everybody's.

    A background thread publishes and beats; `state.events` and increments only change memory. Attributes: `events`,
    `metrics` (see `Metrics`), `node`, `cluster`.
    """

    def __init__(self, settings: Settings, link: Link, member: Member) -> None:
        super().__init__(settings, link)
        self.metrics = Metrics()
        self._wake = threading.Event()
        self._stores = {spec.name: GaugeStore(spec, self._wake.set) for spec in settings.objects}
        self.events = Events(self._stores.values(), settings.sites, self.metrics)
        self._engine = MemberEngine(
            self._keys, member, list(self._stores.values()), settings.member_timeout, self.metrics
        )
        self._turn = threading.Lock()  # flows of one member never run side by side
        self._closed = threading.Event()
        self._disturbances = link.disturbances
        self._turn_limit = min(settings.endpoint.timeout, self._engine.turn_limit)
        self._thread = threading.Thread(target=self._work, name="sharedstate", daemon=True)

    @property
    def member(self) -> Member:
        """This process as the fleet knows it at the moment."""
        return self._engine.member

    def shared(self, name: str) -> SharedObject:
        """A shared object by name; no round trip for those this process counts.

        Raises:
            UnknownObjectError: no such object; the message suggests the near name.
        """
        store = self._stores.get(name)
        if store is None:
            spec = reading.find_object(self._fleet(0), name)
            store = self._stores.get(spec.name)
            if store is None:
                return SharedObject(self, spec, None)
        return SharedObject(self, store.spec, store)

    def flush(self, timeout: float | None = None) -> None:
        """Publish now; returns when every change made before the call is acknowledged.

        Args:
            timeout: seconds, the link's default by default.

        Raises:
            LinkError: Redis did not acknowledge in time; what it did not acknowledge stays to be published.
            ClosedError: the state was closed.
        """
        limit = self._link.endpoint.timeout if timeout is None else timeout
        until = time.monotonic() + limit
        self._check_open()
        if not self._turn.acquire(timeout=limit):
            raise UnreachableError(
                f"Redis did not take the changes within {limit:g} s; they stay to be published."
            )
        try:
            while True:
                left = max(until - time.monotonic(), 0.001)
                try:
                    self._link.run(self._engine.publish(), min(left, self._engine.turn_limit))
                except (UnreachableError, AmbiguousError):
                    if left <= self._engine.turn_limit:
                        raise
                else:
                    return
        finally:
            self._turn.release()

    def close(self, timeout: float = 5.0) -> None:
        """Leave the fleet: this member's counts go out of every view. Closing twice is closing once.

        When Redis does not answer within `timeout` seconds, the fleet takes the counts out after the member timeout.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        for store in self._stores.values():
            store.close("the state was closed; connect again.")
        self._wake.set()
        until = time.monotonic() + timeout
        if self._turn.acquire(timeout=timeout):
            try:
                self._link.run(self._engine.leave(), max(until - time.monotonic(), 0.001))
            except SharedStateError as error:
                _log.warning("leaving the fleet failed, it will notice by itself: %s", error)
            finally:
                self._turn.release()
        self._link.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(max(until - time.monotonic(), 0.1))

    def _start(self) -> None:
        self._link.run(self._engine.join())
        self._thread.start()
        _states.add(self)

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise ClosedError("the state was closed; connect again.")

    def _work(self) -> None:
        while not self._closed.is_set():
            self._wake.clear()
            wait = self._engine.due()
            if wait > 0:
                self._wake.wait(wait)  # woken by the first change, by max_pending changes and by close()
                continue
            try:
                with self._turn:
                    disturbances = self._link.disturbances
                    self._link.run(self._engine.tick(disturbances != self._disturbances), self._turn_limit)
                    self._disturbances = disturbances
            except ClosedError:
                return
            except Exception as error:  # noqa: BLE001 - the publisher must outlive everything; it tells and tries again
                self._engine.failed(error)

    def _after_fork(self) -> None:
        """In a forked child: this state is the parent's."""
        self._closed.set()
        for store in self._stores.values():
            store.close("the state belongs to the parent of this forked process; connect in the child.")


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


def connect(
    url: str | None = None,
    *,
    node: str | None = None,
    config: str | Path | None = None,
    cluster: str | None = None,
    timeout: float | None = None,
    member_timeout: float | None = None,
    pid: int | None = None,
    role: str = "Momentum",
    version: str | None = None,
    address: str | None = None,
    groups: tuple[str, ...] | None = None,
    **link_options: Any,
) -> State:
    """Join the fleet as a member of this node.

    Args:
        url, node, config, cluster, timeout, link_options: as for `observe`.
        member_timeout: seconds after which this process, should it die, is out of every view; 15 by default.
        pid: shown in the private name; this process's by default.
        role: ``Momentum`` for a mail node, ``Manager`` for a process that only watches.
        version: shown in the membership; this package's by default.
        address: ``host:port`` this node is reached at, shown in the membership; by default the local address that faces
            Redis, with port 0.
        groups: group names shown in the membership; cluster and control group by default.

    Raises:
        ShardMismatchError: an object is stored with another shard count than configured.
        InvalidUrlError, InvalidNameError, ConfigError, LinkError: one sentence each.
    """
    settings = resolve(
        url,
        node=node,
        config=config,
        cluster=cluster,
        member_timeout=member_timeout,
        **timed(timeout, link_options),
    )
    link = Link.open(settings.endpoint)
    try:
        state = State(settings, link, own_member(settings, pid, role, version, address, groups))
        state._start()
    except BaseException:
        link.close()
        raise
    return state


def own_member(
    settings: Settings,
    pid: int | None,
    role: str,
    told_version: str | None,
    address: str | None,
    groups: tuple[str, ...] | None,
) -> Member:
    """The record this process joins with."""
    if role not in ("Momentum", "Manager"):
        raise InvalidValueError(f"role {role!r} is not known: give 'Momentum' or 'Manager'.")
    return Member(
        incarnation="",
        node=settings.node,
        pid=os.getpid() if pid is None else pid,
        role=role,
        version=told_version or f"sharedstate {version()}",
        address=address or ("0.0.0.0:0" if role == "Manager" else local_address(settings)),
        groups=(settings.keys.cluster, settings.control_group) if groups is None else tuple(groups),
    )


def local_address(settings: Settings) -> str:
    """This machine's address on the way to Redis; ``0.0.0.0:0`` when there is none, for a manager too."""
    server = settings.endpoint.hosts[0]
    if settings.endpoint.unix:
        return "127.0.0.1:0"
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(place)  # a datagram socket: chooses the way, sends nothing
            host = str(probe.getsockname()[0])
    except OSError:
        return "0.0.0.0:0"
    return f"[{host}]:0" if ":" in host else f"{host}:0"


def timed(timeout: float | None, link_options: dict[str, Any]) -> dict[str, Any]:
    return link_options if timeout is None else {**link_options, "timeout": timeout}


_states: weakref.WeakSet[State] = weakref.WeakSet()


def _forked() -> None:
    for state in list(_states):
        state._after_fork()


os.register_at_fork(after_in_child=_forked)
