"""The asyncio face: the same core as `sharedstate.client` and `sharedstate.observer`; only the waiting differs.

Increments, decrements and events change memory only and are ordinary calls; whatever asks Redis is awaited. A task
publishes and beats in the loop that `connect` ran in.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import reading
from .audit.aio import AsyncAudit, AsyncAuditReader
from .audit.core import AuditCore, MemberCore
from .audit.traffic import Traffic
from .call import Flow, only
from .client import own_member
from .errors import AmbiguousError, ClosedError, SharedStateError, UnreachableError
from .events import Events
from .link.aio import AsyncLink
from .member import MemberEngine, Metrics
from .objects import fleet
from .objects.fields import GaugeKey
from .objects.fleet import Fleet
from .objects.store import GaugeStore
from .observer import FLEET_AGE, require_store, timed
from .outbound.aio import AsyncOutbound
from .outbound.taking import SlotCore
from .reading import PageReader
from .reaping import bury_flow, reap_overdue
from .results import FleetInfo, Member, NodeCounts, View
from .settings import Settings, resolve
from .specs import ObjectSpec
from .throttle.aio_face import AsyncThrottling

__all__ = ["AsyncObserver", "AsyncSharedObject", "AsyncState", "connect", "observe"]

_log = logging.getLogger("sharedstate")


class AsyncSharedObject:
    """One shared object; see `sharedstate.SharedObject` for costs and errors."""

    def __init__(self, observer: AsyncObserver, spec: ObjectSpec, store: GaugeStore | None) -> None:
        self._observer = observer
        self._store = store
        self.spec = spec

    def increment(self, key: GaugeKey, n: int = 1) -> None:
        """Add n to this member's count of an item. No I/O."""
        require_store(self.spec, self._store).increment(key, n)

    def decrement(self, key: GaugeKey, n: int = 1) -> None:
        """Take n from this member's count of an item. No I/O."""
        require_store(self.spec, self._store).decrement(key, n)

    def local(self) -> dict[str, int]:
        """This member's own counts at this moment, zeros left out. No I/O."""
        return require_store(self.spec, self._store).local()

    async def count(self, key: GaugeKey, node: str | None = None) -> int:
        """Published count of an item or of a CIDR block, fleet-wide or of one node."""
        members = None if node is None else reading.require_node(await self._observer._fleet(FLEET_AGE), node)
        total: int = await self._observer._run(
            reading.count_flow(self._observer._keys, self.spec, key, members)
        )
        return total

    async def view(self, node: str | None = None) -> View:
        """Everything the object holds, of the fleet or of one node."""
        return await self._view(await self._members(node), node)

    async def pages(self, node: str | None = None) -> AsyncIterator[dict[str, int]]:
        """The same, page by page and unsorted, no item twice."""
        async for page in self._read(await self._members(node)):
            yield page

    async def by_node(self) -> NodeCounts:
        """The global view and each node's own."""
        everything = await self.view()
        now = await self._observer._fleet(0)
        nodes = {node: await self._view(now.of_node(node), node) for node in now.nodes}
        return NodeCounts(fleet=everything, nodes=nodes)

    async def _members(self, node: str | None) -> tuple[Member, ...] | None:
        await self._observer._reap()
        return None if node is None else reading.require_node(await self._observer._fleet(0), node)

    async def _view(self, members: tuple[Member, ...] | None, node: str | None) -> View:
        counts: dict[str, int] = {}
        async for page in self._read(members):
            counts.update(page)
        return View(spec=self.spec, label=reading.label_of(members), node=node, counts=counts)

    async def _read(self, members: tuple[Member, ...] | None) -> AsyncIterator[dict[str, int]]:
        reader = PageReader(self._observer._keys, self.spec, members)
        while not reader.done:
            page = await self._observer._run(reader.next())
            if page:
                yield page


class AsyncObserver(AsyncThrottling):
    """Reads the fleet without being a member; an asynchronous context manager."""

    def __init__(self, settings: Settings, link: AsyncLink) -> None:
        self._settings = settings
        self._link = link
        self._keys = settings.keys
        self._seen: tuple[float, Fleet] | None = None
        self.audit = AsyncAuditReader(AuditCore(self._keys, settings.node), self._run)
        self.node = settings.node
        self.cluster = settings.keys.cluster

    async def objects(self) -> list[ObjectSpec]:
        """Objects the fleet manages, by name."""
        return list((await self._fleet(0)).objects.values())

    async def members(self) -> list[Member]:
        """Live members in order of joining."""
        await self._reap()
        return list((await self._fleet(0)).members)

    async def info(self) -> FleetInfo:
        """Where we are connected, who this node's member is and who leads."""
        return reading.fleet_info(
            await self._fleet(0), self.node, self.cluster, self._settings.control_group, self._link
        )

    async def shared(self, name: str) -> AsyncSharedObject:
        """A shared object by name; raises UnknownObjectError."""
        return AsyncSharedObject(self, reading.find_object(await self._fleet(0), name), None)

    async def reset(self, node: str | None = None) -> int:
        """Take a node's members out of the fleet; live ones rejoin and publish anew. Returns how many."""
        members = reading.require_node(await self._fleet(0), node or self.node)
        await self._run(only(fleet.fence(self._keys, [member.incarnation for member in members])))
        for member in members:
            await self._run(bury_flow(self._keys, member.incarnation))
        return len(members)

    async def close(self) -> None:
        """Close the connections."""
        await self._close_throttles()
        await self._link.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, flow: Flow[Any]) -> Any:
        return await self._link.run(flow)

    async def _reap(self) -> None:
        await self._run(reap_overdue(self._keys))

    async def _fleet(self, age: float) -> Fleet:
        now = time.monotonic()
        if self._seen is not None and now - self._seen[0] < age:
            return self._seen[1]
        found: Fleet = await self._run(reading.look(self._keys))
        self._seen = (now, found)
        return found


class AsyncState(AsyncObserver):
    """This process as a member of the fleet; `events`, `outbound`, `metrics` and `audit` as in `sharedstate.State`."""

    audit: AsyncAudit

    def __init__(self, settings: Settings, link: AsyncLink, member: Member) -> None:
        super().__init__(settings, link)
        self.metrics = Metrics()
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._stores = {spec.name: GaugeStore(spec, self._wake) for spec in settings.objects}
        self._audits = MemberCore(
            self._keys,
            settings.node,
            manager=member.role == "Manager",
            wake=self._wake,
            replicate=settings.traffic.replicate,
        )
        self._audits.configured(settings.traffic.series)
        self.audit = AsyncAudit(self._audits, self._run)
        traffic = Traffic(settings.traffic, self._audits)
        self.events = Events(self._stores.values(), settings.sites, self.metrics, settings.limits, traffic)
        self._engine = MemberEngine(
            self._keys,
            member,
            list(self._stores.values()),
            settings.member_timeout,
            self.metrics,
            self._wake,
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
        self.outbound = AsyncOutbound(core, link, self._throttles, settings.limits)
        self._turn = asyncio.Lock()  # flows of one member never run side by side
        self._closed = False
        self._disturbances = link.disturbances
        self._turn_limit = min(settings.endpoint.timeout, self._engine.turn_limit)
        self._task: asyncio.Task[None] | None = None

    @property
    def member(self) -> Member:
        """This process as the fleet knows it at the moment."""
        return self._engine.member

    async def shared(self, name: str) -> AsyncSharedObject:
        """A shared object by name; no round trip for those this process counts. Raises UnknownObjectError."""
        store = self._stores.get(name)
        if store is None:
            spec = reading.find_object(await self._fleet(0), name)
            store = self._stores.get(spec.name)
            if store is None:
                return AsyncSharedObject(self, spec, None)
        return AsyncSharedObject(self, store.spec, store)

    async def flush(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - what was sent is settled, too
        """Publish now; returns when every change made before the call is acknowledged. Errors as in `State.flush`."""
        limit = self._link.endpoint.timeout if timeout is None else timeout
        until = time.monotonic() + limit
        if self._closed:
            raise ClosedError("the state was closed; connect again.")
        try:
            await asyncio.wait_for(self._turn.acquire(), limit)
        except TimeoutError as error:
            raise UnreachableError(
                f"Redis did not take the changes within {limit:g} s; they stay to be published."
            ) from error
        try:
            if self._closed:  # it may have left the fleet meanwhile, and a publish would make it come back
                raise ClosedError("the state was closed; connect again.")
            while True:
                left = max(until - time.monotonic(), 0.001)
                try:
                    if await self._link.run(self._engine.publish(), min(left, self._engine.turn_limit)):
                        return
                except (UnreachableError, AmbiguousError):
                    if left <= self._engine.turn_limit:
                        raise
        finally:
            self._turn.release()

    async def close(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - bounds leaving, not the caller
        """Leave the fleet: this member's counts go out of every view. Closing twice is closing once."""
        if self._closed:
            return
        self._closed = True
        for store in self._stores.values():
            store.close("the state was closed; connect again.")
        self._audits.close("the state was closed; connect again.")
        self._engine.board.settled()  # whoever waits for a slot looks, and is told
        until = time.monotonic() + timeout
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._close_throttles()
        try:
            async with asyncio.timeout(max(until - time.monotonic(), 0.001)):
                await self._turn.acquire()  # a flush may be under way
        except TimeoutError:
            _log.warning("leaving the fleet failed, it will notice by itself: a flush took too long")
        else:
            try:
                await self._link.run(self._engine.leave(), max(until - time.monotonic(), 0.001))
            except SharedStateError as error:
                _log.warning("leaving the fleet failed, it will notice by itself: %s", error)
            finally:
                self._turn.release()
        await self._link.aclose()

    async def _start(self) -> None:
        await self._link.run(self._engine.join())
        self._task = asyncio.create_task(self._work(), name="sharedstate")
        _states.add(self)

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._woken.set)
        except (
            RuntimeError
        ):  # the loop is closed: nobody publishes any more, and the store says so at close()
            _log.debug("a change was made after the event loop ended")

    async def _work(self) -> None:
        while True:
            self._woken.clear()
            wait = self._engine.due()
            if wait > 0:
                try:
                    async with asyncio.timeout(wait):
                        await self._woken.wait()
                except TimeoutError:
                    pass
                continue
            try:
                async with self._turn:
                    disturbances = self._link.disturbances
                    await self._link.run(
                        self._engine.tick(disturbances != self._disturbances), self._turn_limit
                    )
                    self._disturbances = disturbances
            except ClosedError:
                return
            except Exception as error:  # noqa: BLE001 - the publisher must outlive everything; it tells and tries again
                self._engine.failed(error)

    def _live_members(self) -> int:
        return self._engine.live_members

    def _after_fork(self) -> None:
        self._closed = True
        for store in self._stores.values():
            store.close("the state belongs to the parent of this forked process; connect in the child.")
        self._audits.close("the state belongs to the parent of this forked process; connect in the child.")


async def observe(
    url: str | None = None,
    *,
    node: str | None = None,
    config: str | Path | None = None,
    cluster: str | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - a setting of the connection, not of this call
    **link_options: Any,
) -> AsyncObserver:
    """Connect for reading only; arguments and errors as for `sharedstate.observe`."""
    settings = resolve(
        url, node=node, config=config, cluster=cluster, member_timeout=None, **timed(timeout, link_options)
    )
    return AsyncObserver(settings, await AsyncLink.open(settings.endpoint))


async def connect(
    url: str | None = None,
    *,
    node: str | None = None,
    config: str | Path | None = None,
    cluster: str | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - a setting of the connection, not of this call
    member_timeout: float | None = None,
    pid: int | None = None,
    role: str = "Momentum",
    version: str | None = None,
    address: str | None = None,
    groups: tuple[str, ...] | None = None,
    **link_options: Any,
) -> AsyncState:
    """Join the fleet as a member of this node; arguments and errors as for `sharedstate.connect`."""
    settings = resolve(
        url,
        node=node,
        config=config,
        cluster=cluster,
        member_timeout=member_timeout,
        **timed(timeout, link_options),
    )
    link = await AsyncLink.open(settings.endpoint)
    try:
        state = AsyncState(settings, link, own_member(settings, pid, role, version, address, groups))
        await state._start()
    except BaseException:
        await link.aclose()
        raise
    return state


_states: weakref.WeakSet[AsyncState] = weakref.WeakSet()


def _forked() -> None:
    for state in list(_states):
        state._after_fork()


os.register_at_fork(after_in_child=_forked)
