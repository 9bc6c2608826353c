"""The link for asyncio: carries out what `routing` and `topology` decide.

All tasks share one connection per node. What they ask for in the same turn of the event loop leaves in one
write, so a thousand tasks cost a few system calls, not a thousand connections.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from typing import TYPE_CHECKING, Any, TypeVar

from hiredis import ReplyError

from sharedstate.errors import ClosedError

from .batch import Batch
from .faults import Failure
from .login import Login
from .resolve import literal, look_up_failure
from .routing import PATIENCE, Pursuit, Routes, decoded, packed
from .topology import Steps, Topology, discover
from .wire import CLOSED, READ, WRITE, State, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sharedstate.call import Call, Flow, Outcome

    from .resolve import AddressInfo
    from .url import Address, Endpoint

__all__ = ["AsyncLink"]

R = TypeVar("R")

CANCELLED = Failure("was not waited for: the task was cancelled")


class _Lane:
    """One wire in an event loop: moves it on when its socket is ready or somebody's time is up."""

    def __init__(self, wire: Wire, loop: asyncio.AbstractEventLoop, ended: Callable[[_Lane], None]) -> None:
        self.wire = wire
        self._loop = loop
        self._ended = ended
        self._fd = -1
        self._watched = 0
        self._push_planned = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._retired = False
        wire.on_close = self._forget

    def submit(self, batch: Batch) -> None:
        """Take a batch aboard; it leaves with all others of this turn of the loop."""
        self.wire.submit(batch)
        self._arm(batch.until)
        if not self._push_planned:
            self._push_planned = True
            self._loop.call_soon(self._push)

    def connect(self, places: Iterable[AddressInfo]) -> None:
        """The name is resolved: go there."""
        if self.wire.state is State.RESOLVING:
            self.wire.connect(places)
            self._arm(self.wire.deadline())
            self._update()

    def end(self, failure: Failure) -> None:
        """Close; what is aboard ends with this failure."""
        self.wire.fail(failure)
        self._update()

    def abandon(self, batch: Batch) -> None:
        """The task was cancelled; the wire stays in step."""
        self.wire.abandon(batch, CANCELLED)
        self._update()

    def _move(self) -> None:
        self.wire.advance()
        self._update()

    def _push(self) -> None:
        self._push_planned = False
        self.wire.check()
        self.wire.push()
        self._update()

    def _arm(self, due: float) -> None:
        """See to it that `_expire` runs at this time at the latest; it looks itself what is due."""
        if self._timer is not None:
            if due >= self._timer_due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_later(max(0.0, due - time.monotonic()), self._expire)

    def _expire(self) -> None:
        self._timer = None
        wire, now = self.wire, time.monotonic()
        if wire.state is State.READY and wire.deadline() <= now:
            # A server that kept somebody waiting may be gone: newcomers try a new connection. This one goes
            # on as long as somebody waits, and replies nobody waits for any more are dropped in their turn.
            self._retired = True
        wire.expire(now)
        if wire.deadline() < math.inf:
            self._arm(wire.deadline())
        self._update()

    def _update(self) -> None:
        """Watch what the wire wants now; tell the link when it takes no more batches."""
        wire = self.wire
        if self._retired and not wire.awaited:
            wire.close()
        if wire.state is State.DEAD:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._ended(self)
            return
        if self._retired:
            self._ended(self)
        if wire.fd != self._fd or wire.wants != self._watched:
            self._watch(wire.fd, wire.wants)

    def _watch(self, fd: int, wants: int) -> None:
        if fd != self._fd:
            self._fd, self._watched = fd, 0
        if fd < 0:
            return
        if wants & READ and not self._watched & READ:
            self._loop.add_reader(fd, self._move)
        elif self._watched & READ and not wants & READ:
            self._loop.remove_reader(fd)
        if wants & WRITE and not self._watched & WRITE:
            self._loop.add_writer(fd, self._move)
        elif self._watched & WRITE and not wants & WRITE:
            self._loop.remove_writer(fd)
        self._watched = wants

    def _forget(self) -> None:
        """The socket is about to be closed; its number may come back as another one's."""
        if self._fd >= 0 and not self._loop.is_closed():
            if self._watched & READ:
                self._loop.remove_reader(self._fd)
            if self._watched & WRITE:
                self._loop.remove_writer(self._fd)
        self._fd, self._watched = -1, 0


class AsyncLink:
    """A connection to one Redis, Redis Cluster or Sentinel group, for the tasks of one event loop.

    Cancelling a task takes its call back if that was not sent yet; otherwise it may have been carried out,
    and its reply is dropped when it comes. Other tasks do not notice.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._login = Login(endpoint)
        self._sentinel_login = Login(endpoint, sentinel=True)
        self._routes = Routes(endpoint)
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[Address, _Lane] = {}
        #: retired ones included
        self._alive: set[_Lane] = set()
        self._look_ups: set[asyncio.Task[None]] = set()
        self._closed = False
        self._pid = os.getpid()

    @classmethod
    async def open(cls, endpoint: Endpoint, timeout: float | None = None) -> AsyncLink:  # noqa: ASYNC109 - ends sent work, too
        """Connect, find out what is there and check that it can serve us; as `Link.open`."""
        link = cls(endpoint)
        until = time.monotonic() + (endpoint.timeout if timeout is None else timeout)
        try:
            link._routes.install(await link._drive(discover(endpoint, until)))
        except BaseException:
            await link.aclose()
            raise
        return link

    @property
    def endpoint(self) -> Endpoint:
        """What the link was opened with."""
        return self._endpoint

    @property
    def topology(self) -> Topology:
        """What the link is connected to, as last seen."""
        return self._routes.topology

    @property
    def disturbances(self) -> int:
        """Grows whenever something may have lost acknowledged writes; as `Link.disturbances`."""
        return self._routes.disturbances

    def owner(self, slot: int | None) -> Address | None:
        """The primary that a call of this slot goes to, None when nobody serves it."""
        return self._routes.owner(slot)

    async def execute(self, calls: Sequence[Call[Any]], timeout: float | None = None) -> list[Outcome]:  # noqa: ASYNC109 - ends sent work, too
        """Carry out calls; as `Link.execute`.

        Raises:
            ClosedError: the link was closed, or belongs to the parent process.
        """
        if timeout is None:
            timeout = self._endpoint.timeout
        until = time.monotonic() + timeout
        if len(calls) == 1 and timeout > 0:
            # The usual case, short: one call, a connection at hand.
            call = calls[0]
            address = self._routes.owner(call.slot)
            lane = self._lanes.get(address) if address is not None else None
            if lane is not None and address is not None and os.getpid() == self._pid:
                payload = packed(call)
                limit = min(until, time.monotonic() + PATIENCE) if call.resend else until
                batch = Batch(address, payload, (len(payload),), limit)
                await self._wait_for(lane, batch)
                if batch.failure is None and type(batch.replies[0]) is not ReplyError:
                    return [decoded(call, batch.replies[0], address)]
                pursuit = Pursuit(self._routes, calls, timeout, until)
                pursuit.adopt(batch)
                await self._drive(pursuit.steps())
                return pursuit.outcomes
        pursuit = Pursuit(self._routes, calls, timeout, until)
        await self._drive(pursuit.steps())
        return pursuit.outcomes

    async def run(self, flow: Flow[R], timeout: float | None = None) -> R:  # noqa: ASYNC109 - ends sent work, too
        """Carry out a flow; as `Link.run`."""
        until = None if timeout is None else time.monotonic() + timeout
        try:
            calls = next(flow)
            while True:
                outcomes = await self.execute(calls, None if until is None else until - time.monotonic())
                calls = flow.send(outcomes)
        except StopIteration as end:
            result: R = end.value
            return result
        finally:
            flow.close()

    async def aclose(self) -> None:
        """Close all connections; calls under way end as failed."""
        self._closed = True
        for task in list(self._look_ups):
            task.cancel()
        for lane in list(self._alive):
            lane.end(CLOSED)
        await asyncio.gather(*self._look_ups, return_exceptions=True)

    # -- carrying --------------------------------------------------------------------------------------------

    async def _drive(self, steps: Steps[R]) -> R:
        """Do what a generator of steps asks for."""
        try:
            while True:
                step = next(steps)
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    await self._carry(step)
        except StopIteration as end:
            result: R = end.value
            return result
        finally:
            steps.close()

    async def _carry(self, batches: Sequence[Batch]) -> None:
        """Bring batches to their nodes, all at the same time, until each is done."""
        if self._closed:
            raise ClosedError("this connection to Redis was closed: open a new one.")
        if os.getpid() != self._pid:
            raise ClosedError("this connection to Redis belongs to the parent process: open a new one.")
        cargo = [(self._lane(batch), batch) for batch in batches]
        try:
            for lane, batch in cargo:
                batch.waiter = self._loop.create_future()
                lane.submit(batch)
            for _, batch in cargo:
                if batch.waiter is not None:
                    await batch.waiter
        finally:
            for lane, batch in cargo:
                if not batch.done:
                    lane.abandon(batch)

    async def _wait_for(self, lane: _Lane, batch: Batch) -> None:
        """Send one batch and wait until it is done; its own deadline sees to that."""
        batch.waiter = self._loop.create_future()
        lane.submit(batch)
        try:
            await batch.waiter
        finally:
            if not batch.done:
                lane.abandon(batch)

    def _lane(self, batch: Batch) -> _Lane:
        """The connection to the batch's node, begun if there is none."""
        address, endpoint = batch.address, self._endpoint
        lane = self._lanes.get(address)
        if lane is not None:
            return lane
        sentinel = endpoint.service is not None and address in endpoint.hosts
        login = self._sentinel_login if sentinel else self._login
        wire = Wire(address, login, min(batch.until, time.monotonic() + endpoint.connect_timeout))
        lane = self._lanes[address] = _Lane(wire, self._loop, self._ended)
        self._alive.add(lane)
        places = literal(address)
        if places is not None:
            lane.connect(places)
        else:
            task = self._loop.create_task(self._look_up(lane))
            self._look_ups.add(task)
            task.add_done_callback(self._look_ups.discard)
        return lane

    async def _look_up(self, lane: _Lane) -> None:
        host, port = lane.wire.address
        try:
            lane.connect(await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            lane.end(look_up_failure(error))

    def _ended(self, lane: _Lane) -> None:
        """A lane takes no more batches."""
        if lane.wire.state is State.DEAD:
            self._alive.discard(lane)
        if self._lanes.get(lane.wire.address) is lane:
            del self._lanes[lane.wire.address]
            if not self._closed:
                self._routes.disturbed()
