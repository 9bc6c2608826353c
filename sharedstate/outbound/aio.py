"""Slots for asyncio: the same flows as in `sync`; only the waiting differs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from sharedstate.link.aio import AsyncLink

from .slots import Answer, OutboundMetrics, Slot
from .taking import SlotCore, TakeFlow, Wait, usable_timeout

__all__ = ["AsyncOutbound"]

R = TypeVar("R")


class AsyncOutbound:
    """Outbound connections under the configured caps, for the tasks of one event loop."""

    def __init__(self, core: SlotCore, link: AsyncLink) -> None:
        self._core = core
        self._link = link
        self._waiting: set[asyncio.Future[None]] = set()
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
        return await self._drive(self._core.acquire(plan, until), until)

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
        return await self._drive(self._core.check(plan), until)

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
