"""Throttles for asyncio: awaits the flows of `sharedstate.throttle.flows`; see `sharedstate.throttle.sync`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from sharedstate.errors import ClosedError
from sharedstate.link.aio import AsyncLink

from .bucket import Bucket, Tally
from .decision import DecidedBy, Decision
from .engine import ThrottleEngine
from .flows import Ask, Pause, Steps, ThrottleFlows
from .lease import LeasedBucket
from .spec import ThrottleSpec
from .sync import _no_lease

__all__ = ["AsyncThrottle", "AsyncThrottles"]

_log = logging.getLogger("sharedstate")
R = TypeVar("R")


class AsyncThrottle:
    """A rate that the whole fleet keeps together; see `sharedstate.Throttle` for costs and errors."""

    def __init__(self, throttles: AsyncThrottles, bucket: Bucket) -> None:
        self._throttles = throttles
        self._bucket = bucket
        self._spend = bucket.spend if isinstance(bucket, LeasedBucket) else _no_lease

    @property
    def name(self) -> str:
        """Its name."""
        return self._bucket.name

    @property
    def spec(self) -> ThrottleSpec:
        """The spec in force, as last seen."""
        return self._bucket.spec

    @property
    def counts(self) -> Mapping[DecidedBy, Tally]:
        """How many checks of this process each decider allowed and refused."""
        return self._bucket.counts()

    async def check(self, cost: int = 1) -> Decision:
        """Take `cost` tokens if they are there."""
        spent = self._spend(cost)
        if spent is not None:
            return spent
        return await self._throttles.run(self._throttles.flows.decide(self._bucket, cost))

    async def peek(self) -> Decision:
        """What a check would be told now; nothing is taken."""
        return await self._throttles.run(self._throttles.flows.peek(self._bucket))

    async def inc(self, n: int = 1) -> Decision:
        """Count n, whether or not they are there."""
        return await self._throttles.run(self._throttles.flows.inc(self._bucket, n))

    async def dec(self, n: int = 1) -> None:
        """Give n back."""
        await self._throttles.run(self._throttles.flows.dec(self._bucket, n))

    async def tarpit(self, max_wait: float, cost: int = 1) -> Decision:
        """Take tokens and wait until they are permissible, `max_wait` seconds at most."""
        return await self._throttles.run(self._throttles.flows.tarpit(self._bucket, max_wait, cost))


class AsyncThrottles:
    """All throttles of a state; made by it."""

    def __init__(self, link: AsyncLink, engine: ThrottleEngine, wake: asyncio.Event) -> None:
        self.engine = engine
        self.flows = ThrottleFlows(engine, link.owner, self._tell)
        self._link = link
        self._wake = wake
        self._faces: dict[str, AsyncThrottle] = {}
        self._waiting: dict[LeasedBucket, asyncio.Event] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False
        _all.add(self)

    async def throttle(
        self, name: str, spec: str | ThrottleSpec, settings: dict[str, Any], *, define: bool = True
    ) -> AsyncThrottle:
        """A throttle by name, made if this process has none of it; see `AsyncState.throttle`."""
        face = self._faces.get(name)
        if face is None:
            bucket, made = self.engine.bucket(name, spec, **settings)
            if made and define:
                await self.run(self.flows.define(bucket))
            if self._keeper is None and not self._closed:
                self._keeper = asyncio.create_task(self._keep(), name="sharedstate-throttles")
            face = self._faces.setdefault(name, AsyncThrottle(self, bucket))
        return face

    async def check_all(
        self,
        wanted: Sequence[tuple[str | AsyncThrottle, int]],
        timeout: float | None = None,  # noqa: ASYNC109 - ends sent work, too
    ) -> Decision:
        """See `AsyncState.check_all`."""
        buckets = [
            (self.engine.find(entry) if isinstance(entry, str) else entry._bucket, cost)
            for entry, cost in wanted
        ]
        return await self.run(
            self.flows.check_all(buckets, self.engine.defaults.timeout if timeout is None else timeout)
        )

    async def run(self, flow: Steps[R]) -> R:
        """Drive a flow."""
        try:
            step = next(flow)
            while True:
                answer: Any = None
                if isinstance(step, Ask):
                    answer = await self._link.execute(step.calls, step.timeout)
                elif isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                elif step.bucket.asking:
                    event = self._waiting.setdefault(step.bucket, asyncio.Event())
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(step.seconds):
                            await event.wait()
                step = flow.send(answer)
        except StopIteration as end:
            result: R = end.value
            return result
        finally:
            flow.close()

    async def close(self) -> None:
        """Give back what is unspent."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        with contextlib.suppress(ClosedError):
            await self.run(self.flows.settle(self.engine.leave()))
            await self.run(self.flows.tell_news())
        self.engine.close("the state was closed; connect again.")

    def after_fork(self) -> None:
        """In a forked child: leases are the parent's, and are not spent twice."""
        self._closed = True
        self.engine.close("the throttle belongs to the parent of this forked process; connect in the child.")

    def _tell(self, bucket: LeasedBucket) -> None:
        event = self._waiting.pop(bucket, None)
        if event is not None:
            event.set()

    async def _keep(self) -> None:
        while True:
            self._wake.clear()
            wait = self.engine.due()
            if wait > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                continue
            try:
                await self.run(self.flows.settle(self.engine.care()))
                await self.run(self.flows.tell_news())
                await self.run(self.flows.say_in_use())
            except ClosedError:
                return
            except Exception:  # noqa: BLE001 - the keeper must outlive everything; it tells and tries again
                _log.exception("looking after throttles failed unexpectedly")
                await asyncio.sleep(1.0)


_all: weakref.WeakSet[AsyncThrottles] = weakref.WeakSet()


def _forked() -> None:
    for throttles in list(_all):
        throttles.after_fork()


os.register_at_fork(after_in_child=_forked)
