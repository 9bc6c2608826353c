"""Slots for asyncio: the same flows as in `sync`; only the waiting differs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from sharedstate.link.aio import AsyncLink
from sharedstate.throttle.aio import AsyncThrottles
from sharedstate.throttle.decision import Decision

from .pacing import Pacer, with_rate
from .slots import Answer, OutboundMetrics, Slot
from .taking import SlotCore, TakeFlow, Wait, usable_timeout

if TYPE_CHECKING:
    from sharedstate.config import Limit

    from .rates import RateRule

__all__ = ["AsyncOutbound"]

R = TypeVar("R")
A = TypeVar("A", bound=Answer)


class AsyncOutbound:
    """Outbound connections under the configured caps, for the tasks of one event loop."""

    def __init__(
        self, core: SlotCore, link: AsyncLink, throttles: AsyncThrottles, limits: Sequence[Limit] = ()
    ) -> None:
        self._core = core
        self._link = link
        self._throttles = throttles
        self._pacer = Pacer(limits, throttles.flows)
        self._waiting: set[asyncio.Future[None]] = set()
        self._returning: set[asyncio.Task[None]] = set()
        core.board.ring = self._ring

    @property
    def metrics(self) -> OutboundMetrics:
        """What came of the questions so far."""
        return self._core.metrics

    @asynccontextmanager
    async def connection(
        self,
        *,
        domain: str,
        ip: str | None = None,
        host: str | None = None,
        binding: str | None = None,
        binding_group: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the policy decides then
    ) -> AsyncIterator[Slot]:
        """Hold a slot for as long as the block runs; as `Outbound.connection`."""
        slot = await self.acquire(
            domain=domain, ip=ip, host=host, binding=binding, binding_group=binding_group, timeout=timeout
        )
        try:
            yield slot
        finally:
            slot.release()

    async def acquire(
        self,
        *,
        domain: str,
        ip: str | None = None,
        host: str | None = None,
        binding: str | None = None,
        binding_group: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the policy decides then
    ) -> Slot:
        """Take a slot; as `Outbound.acquire`. `Slot.release` changes memory only and is an ordinary call.

        A task that is cancelled meanwhile holds no slot: one that Redis had granted already goes back by itself.
        """
        plan = self._core.plan((ip, domain, host, binding, binding_group))
        until = time.monotonic() + (self._core.timeout if timeout is None else usable_timeout(timeout))
        rules = self._pacer.for_connection(domain, binding, binding_group)
        flow = self._core.acquire(plan, until)
        return await (self._paced(rules, flow, until, Slot) if rules else self._drive(flow, until))

    async def check_connection(
        self,
        *,
        domain: str,
        ip: str | None = None,
        host: str | None = None,
        binding: str | None = None,
        binding_group: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the policy decides then
    ) -> Answer:
        """Whether a slot would be granted now; as `Outbound.check_connection`."""
        plan = self._core.plan((ip, domain, host, binding, binding_group))
        until = time.monotonic() + (self._core.timeout if timeout is None else usable_timeout(timeout))
        rules = self._pacer.for_connection(domain, binding, binding_group)
        flow = self._core.check(plan)
        return await (self._paced(rules, flow, until, Answer) if rules else self._drive(flow, until))

    async def check_message(
        self,
        *,
        domain: str,
        binding: str | None = None,
        binding_group: str | None = None,
        cost: int = 1,
        timeout: float | None = None,  # noqa: ASYNC109 - the policy decides then
    ) -> Decision:
        """Take tokens of every configured rate of messages that applies; as `Outbound.check_message`."""
        until = time.monotonic() + (self._core.timeout if timeout is None else usable_timeout(timeout))
        return await self._take(self._pacer.for_message(domain, binding, binding_group, cost), cost, until)

    async def _take(self, rules: Sequence[RateRule], cost: int, until: float) -> Decision:
        for rule in self._pacer.missing(rules):
            await self._throttles.throttle(rule.throttle, rule.spec, {}, define=False)  # no I/O
        return await self._throttles.run(self._pacer.take(rules, cost, until))

    async def _paced(self, rules: Sequence[RateRule], flow: TakeFlow[A], until: float, kind: type[A]) -> A:
        """Ask the rates, then the caps; tokens of the rates go back when a cap refuses."""
        decision = await self._take(rules, 1, until)
        if not decision:
            refusal = self._pacer.refusal(decision, rules)
            return kind(False, str(decision.decided_by), refusal, decision.retry_after)
        try:
            answer = await self._drive(flow, until)
        except BaseException:
            # Nobody waits any more, the task may be cancelled: the tokens go back by themselves.
            back = asyncio.ensure_future(self._throttles.run(self._pacer.give_back(rules, until)))
            self._returning.add(back)
            back.add_done_callback(self._returning.discard)
            raise
        if not answer:
            await self._throttles.run(self._pacer.give_back(rules, until))
        return with_rate(answer, decision)

    async def _drive(self, flow: TakeFlow[R], until: float) -> R:
        try:
            step = next(flow)
            while True:
                if isinstance(step, Wait):
                    await self._wait(step)
                    step = flow.send(None)
                else:
                    step = flow.send(await self._link.execute(step, until - time.monotonic()))
        except StopIteration as end:
            result: R = end.value
            return result
        except BaseException:
            flow.close()
            self._core.gave_up()
            raise

    async def _wait(self, wait: Wait) -> None:
        if self._core.board.turn != wait.turn:
            return
        bell: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(bell)
        try:
            async with asyncio.timeout(wait.seconds):
                await bell
        except TimeoutError:
            return
        finally:
            self._waiting.discard(bell)

    def _ring(self) -> None:
        for bell in self._waiting:
            if not bell.done():
                bell.set_result(None)
