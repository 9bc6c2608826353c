"""The face for ordinary (blocking) code that counts: `connect` joins the fleet as a member."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import weakref
from importlib import metadata
from pathlib import Path
from typing import Any

from . import reading
from .audit.core import MemberCore
from .audit.faces import Audit
from .audit.traffic import Traffic
from .errors import AmbiguousError, ClosedError, InvalidValueError, SharedStateError, UnreachableError
from .events import Events
from .link.sync import Link
from .member import MemberEngine, Metrics
from .objects.store import GaugeStore
from .observer import Observer, SharedObject, timed
from .outbound.sync import Outbound
from .outbound.taking import SlotCore
from .results import Member
from .settings import Settings, resolve

__all__ = ["State", "connect", "own_member", "version"]

_log = logging.getLogger("sharedstate")


def version() -> str:
    """Version of this package."""
    try:
        return metadata.version("sharedstate")
    except metadata.PackageNotFoundError:
        return "0"


class State(Observer):
    """This process as a member of the fleet: counts its own part and reads everybody's.

    A background thread publishes and beats; `state.events` and increments only change memory. Attributes: `events`,
    `outbound` (connections under caps), `metrics` (see `Metrics`), `audit` (see `Audit`), `node`, `cluster`.
    """

    audit: Audit

    def __init__(self, settings: Settings, link: Link, member: Member) -> None:
        super().__init__(settings, link)
        self.metrics = Metrics()
        self._wake = threading.Event()
        self._stores = {spec.name: GaugeStore(spec, self._wake.set) for spec in settings.objects}
        self._audits = MemberCore(
            self._keys,
            settings.node,
            manager=member.role == "Manager",
            wake=self._wake.set,
            replicate=settings.traffic.replicate,
        )
        self._audits.configured(settings.traffic.series)
        self.audit = Audit(self._audits, self._run)
        traffic = Traffic(settings.traffic, self._audits)
        self.events = Events(self._stores.values(), settings.sites, self.metrics, settings.limits, traffic)
        self._engine = MemberEngine(
            self._keys,
            member,
            list(self._stores.values()),
            settings.member_timeout,
            self.metrics,
            self._wake.set,
            self._audits.engine,
        )
        core = SlotCore(
            self._keys,
            self._engine,
            self.events.targets,
            link.owner,
            timeout=settings.throttles.timeout,
            policy=settings.throttles.policy,
            breaker=self._throttles.engine.breaker,  # the same servers: who hangs costs one deadline of both
        )
        self.outbound = Outbound(core, link, self._throttles, settings.limits)
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
            self._check_open()  # it may have left the fleet meanwhile, and a publish would make it come back
            while True:
                left = max(until - time.monotonic(), 0.001)
                try:
                    if self._link.run(self._engine.publish(), min(left, self._engine.turn_limit)):
                        return
                except (UnreachableError, AmbiguousError):
                    if left <= self._engine.turn_limit:
                        raise
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
        self._audits.close("the state was closed; connect again.")
        self._engine.board.settled()  # whoever waits for a slot looks, and is told
        self._wake.set()
        until = time.monotonic() + timeout
        self._close_throttles()
        if self._turn.acquire(timeout=max(until - time.monotonic(), 0.001)):
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
                    if self._closed.is_set():
                        return
                    disturbances = self._link.disturbances
                    self._link.run(self._engine.tick(disturbances != self._disturbances), self._turn_limit)
                    self._disturbances = disturbances
            except ClosedError:
                return
            except Exception as error:  # noqa: BLE001 - the publisher must outlive everything; it tells and tries again
                self._engine.failed(error)

    def _live_members(self) -> int:
        return self._engine.live_members

    def _after_fork(self) -> None:
        """In a forked child: this state is the parent's."""
        self._closed.set()
        for store in self._stores.values():
            store.close("the state belongs to the parent of this forked process; connect in the child.")
        self._audits.close("the state belongs to the parent of this forked process; connect in the child.")


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


_states: weakref.WeakSet[State] = weakref.WeakSet()


def _forked() -> None:
    for state in list(_states):
        state._after_fork()


os.register_at_fork(after_in_child=_forked)
