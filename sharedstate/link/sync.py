"""The link for ordinary (blocking) code: carries out what `routing` and `topology` decide."""

from __future__ import annotations

import math
import os
import select
import time
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from hiredis import ReplyError

from sharedstate.errors import ClosedError

from .batch import Batch
from .faults import Failure
from .login import Login
from .resolve import literal, look_up
from .routing import PATIENCE, Pursuit, Routes, decoded, packed
from .topology import Steps, Topology, discover
from .wire import READ, Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharedstate.call import Call, Flow, Outcome

    from .url import Address, Endpoint

__all__ = ["Link"]

R = TypeVar("R")

#: Idle connections kept per node; a burst of more threads than this opens and closes the rest.
MAX_IDLE = 32


class Link:
    """A connection to one Redis, Redis Cluster or Sentinel group; safe to use from many threads.

    Each thread in a call has a connection per node to itself; idle ones are kept and used last in, first out.
    In a forked child the link opens its own connections and leaves the parent's alone.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._login = Login(endpoint)
        self._sentinel_login = Login(endpoint, sentinel=True)
        self._idle: dict[Address, list[Wire]] = {}
        self._wires: weakref.WeakSet[Wire] = weakref.WeakSet()
        self._closed = False
        self._routes = Routes(endpoint)
        _links.add(self)

    @classmethod
    def open(cls, endpoint: Endpoint, timeout: float | None = None) -> Link:
        """Connect, find out what is there and check that it can serve us.

        Costs two round trips on a cluster, one on a single server, one more for a login.

        Args:
            endpoint: from `parse_url`.
            timeout: seconds, the endpoint's by default.

        Raises:
            UnreachableError: all hosts refuse, or none answered in time.
            AuthenticationError: user or password is wrong or missing.
            PermissionDeniedError: the ACL user may not do what is needed; the sentence names it.
            UnsuitableServerError: not Redis, too old, evicting keys, a replica, or slots without a node.
            InvalidUrlError: a certificate file cannot be read.
        """
        link = cls(endpoint)
        until = time.monotonic() + (endpoint.timeout if timeout is None else timeout)
        try:
            link._routes.install(link._drive(discover(endpoint, until)))
        except BaseException:
            link.close()
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
        """Grows whenever something may have lost acknowledged writes.

        That is: a lost or refused connection, a moved slot, another primary, a server that restarts. Whoever
        publishes copies compares it with the value before, and looks what the server still has if it differs.
        """
        return self._routes.disturbances

    def owner(self, slot: int | None) -> Address | None:
        """The primary that a call of this slot goes to, None when nobody serves it."""
        return self._routes.owner(slot)

    def execute(self, calls: Sequence[Call[Any]], timeout: float | None = None) -> list[Outcome]:
        """Carry out calls; they may run side by side and in any order.

        One round trip for all of them together, as long as nothing goes wrong.

        Args:
            calls: what to do.
            timeout: seconds for all of it, the endpoint's by default. Returns no later than that.

        Returns:
            For each call its decoded answer, or in its place an error, returned and not raised:
            `UnreachableError` (was not executed), `AmbiguousError` (may have been), `ServerRefusedError`,
            `PermissionDeniedError`, `AuthenticationError`, or what the call's decoder raised.

        Raises:
            ClosedError: the link was closed.
        """
        if timeout is None:
            timeout = self._endpoint.timeout
        until = time.monotonic() + timeout
        routes = self._routes
        if len(calls) == 1 and timeout > 0:
            call = calls[0]
            batch = self._try_at_once(call, until)
            if batch is not None:
                if batch.failure is None and type(batch.replies[0]) is not ReplyError:
                    return [decoded(call, batch.replies[0], batch.address)]
                pursuit = Pursuit(routes, calls, timeout, until)
                pursuit.adopt(batch)
                self._drive(pursuit.steps())
                return pursuit.outcomes
        pursuit = Pursuit(routes, calls, timeout, until)
        self._drive(pursuit.steps())
        return pursuit.outcomes

    def run(self, flow: Flow[R], timeout: float | None = None) -> R:
        """Carry out a flow.

        Args:
            flow: the work; its own errors pass through.
            timeout: seconds for the whole flow; None gives each of its steps the endpoint's timeout.

        Raises:
            ClosedError: the link was closed.
        """
        until = None if timeout is None else time.monotonic() + timeout
        try:
            calls = next(flow)
            while True:
                outcomes = self.execute(calls, None if until is None else until - time.monotonic())
                calls = flow.send(outcomes)
        except StopIteration as end:
            result: R = end.value
            return result
        finally:
            flow.close()

    def close(self) -> None:
        """Close all connections; those that carry calls of other threads close when these are answered."""
        self._closed = True
        idle, self._idle = self._idle, {}
        for wires in idle.values():
            for wire in wires:
                wire.close()

    def _after_fork(self) -> None:
        """In a forked child: let go of the sockets, which are the parent's, without a word to the server."""
        for wire in list(self._wires):
            wire.close()
        self._wires = weakref.WeakSet()
        self._idle = {}
        self._routes.after_fork()

    # -- carrying --------------------------------------------------------------------------------------------

    def _try_at_once(self, call: Call[Any], until: float) -> Batch | None:
        """The usual case, short: one call, a connection at hand. None when there is none."""
        address = self._routes.owner(call.slot)
        if address is None:
            return None
        wire = self._pop(address)
        if wire is None:
            return None
        payload = packed(call)
        if call.resend:
            until = min(until, time.monotonic() + PATIENCE)
        batch = Batch(address, payload, (len(payload),), until)
        try:
            wire.submit(batch)
            wire.push()
            if wire.wants == READ:
                self._wait_for(wire, batch)
            if not batch.done:
                self._wait_for_all([wire])
        finally:
            self._give_back(wire)
        return batch

    def _pop(self, address: Address) -> Wire | None:
        """An idle connection that the server has not closed meanwhile."""
        idle = self._idle.get(address)
        while idle:
            try:
                wire = idle.pop()
            except IndexError:  # another thread was faster
                return None
            if not wire.stale():
                return wire
            wire.close()
            self._routes.disturbed()
        return None

    def _give_back(self, wire: Wire) -> None:
        """Keep a connection for the next call, unless its place in the stream is uncertain."""
        if wire.idle and not self._closed:
            idle = self._idle.setdefault(wire.address, [])
            if len(idle) < MAX_IDLE:
                idle.append(wire)
                return
        wire.close()

    def _drive(self, steps: Steps[R]) -> R:
        """Do what a generator of steps asks for."""
        try:
            while True:
                step = next(steps)
                if isinstance(step, float):
                    time.sleep(step)
                else:
                    self._carry(step)
        except StopIteration as end:
            result: R = end.value
            return result
        finally:
            steps.close()

    def _carry(self, batches: Sequence[Batch]) -> None:
        """Bring batches to their nodes, all at the same time, until each is done."""
        if self._closed:
            raise ClosedError("this connection to Redis was closed: open a new one.")
        wires: list[Wire] = []
        missing: list[Batch] = []
        try:
            for batch in batches:
                wire = self._pop(batch.address)
                if wire is None:
                    missing.append(batch)
                    continue
                wires.append(wire)
                wire.submit(batch)
                wire.push()
            wires += map(self._connect, missing)
            self._wait_for_all([wire for wire in wires if wire.awaited])
        finally:
            for wire in wires:
                self._give_back(wire)

    def _connect(self, batch: Batch) -> Wire:
        """A new connection, begun, with the batch aboard."""
        address, endpoint = batch.address, self._endpoint
        sentinel = endpoint.service is not None and address in endpoint.hosts
        login = self._sentinel_login if sentinel else self._login
        wire = Wire(address, login, min(batch.until, time.monotonic() + endpoint.connect_timeout))
        self._wires.add(wire)
        wire.submit(batch)
        places = literal(address) or look_up(address, wire.until)
        if isinstance(places, Failure):
            wire.fail(places)
        else:
            wire.connect(places)
        return wire

    def _wait_for(self, wire: Wire, batch: Batch) -> None:
        """Wait on one ready connection."""
        while not batch.done and wire.wants == READ:
            left = batch.until - time.monotonic()
            if left > 0 and wire.poller.poll(math.ceil(left * 1000)):
                wire.advance()
            else:
                wire.expire(time.monotonic())

    def _wait_for_all(self, wires: list[Wire]) -> None:
        """Wait on several connections, or on ones that are not ready yet."""
        while wires:
            # A wire that tries its next address has another socket, so register anew each time.
            poller = select.poll()
            watched = {wire.fd: wire for wire in wires}
            for fd, wire in watched.items():
                poller.register(fd, wire.wants)
            left = min(wire.deadline() for wire in wires) - time.monotonic()
            ready = poller.poll(math.ceil(left * 1000)) if left > 0 else []
            for fd, _ in ready:
                watched[fd].advance()
            if not ready:
                for wire in wires:
                    wire.expire(time.monotonic())
            wires = [wire for wire in wires if wire.awaited]


_links: weakref.WeakSet[Link] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for link in list(_links):
        link._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
