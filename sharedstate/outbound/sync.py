"""Slots for ordinary (blocking) code: drives the flows of `taking`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from sharedstate.link.sync import Link

from .slots import Answer, OutboundMetrics, Slot
from .taking import SlotCore, TakeFlow, Wait, usable_timeout

__all__ = ["Outbound"]

R = TypeVar("R")


class Outbound:
    """Outbound connections under the configured caps. Safe to use from many threads."""

    def __init__(self, core: SlotCore, link: Link) -> None:
        self._core = core
        self._link = link
        self._bell = threading.Condition()
        core.board.ring = self._ring

    @property
    def metrics(self) -> OutboundMetrics:
        """What came of the questions so far."""
        return self._core.metrics

    @contextmanager
    def connection(
        self,
        *,
        domain: str,
        ip: str | None = None,
        host: str | None = None,
        binding: str | None = None,
        binding_group: str | None = None,
        timeout: float | None = None,
    ) -> Iterator[Slot]:
        """Hold a slot for as long as the block runs; arguments, costs and errors as for `acquire`.

        The block runs in any case: ask the slot whether it may open the connection.
        """
        slot = self.acquire(
            domain=domain, ip=ip, host=host, binding=binding, binding_group=binding_group, timeout=timeout
        )
        try:
            yield slot
        finally:
            slot.release()

    def acquire(
        self,
        *,
        domain: str,
        ip: str | None = None,
        host: str | None = None,
        binding: str | None = None,
        binding_group: str | None = None,
        timeout: float | None = None,
    ) -> Slot:
        """Take a slot for a connection: counted at once in every object that counts it, until `Slot.release`.

        One round trip for each cap that applies, one after the other; none when no cap applies, and none when this
        process gave back such a slot within the last 0.1 s.

        Args:
            domain: destination domain.
            ip: address to connect to, counted in outbound_cidr.
            host: MX host; without one, the domain stands for it.
            binding: outbound binding used.
            binding_group: its group.
            timeout: seconds after which the policy decides, 0.05 by default.

        Returns:
            A slot, true when it was granted.

        Raises:
            InvalidValueError: a name or the timeout is not usable; nothing was counted.
            ClosedError: the state was closed.
        """
        plan = self._core.plan((ip, domain, host, binding, binding_group))
        until = time.monotonic() + (self._core.timeout if timeout is None else usable_timeout(timeout))
        return self._drive(self._core.acquire(plan, until), until)

    def check_connection(
        self,
        *,
        domain: str,
        ip: str | None = None,
        host: str | None = None,
        binding: str | None = None,
        binding_group: str | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Whether a slot would be granted now; none is taken. One round trip; arguments and errors as for `acquire`."""
        plan = self._core.plan((ip, domain, host, binding, binding_group))
        until = time.monotonic() + (self._core.timeout if timeout is None else usable_timeout(timeout))
        return self._drive(self._core.check(plan), until)

    def _drive(self, flow: TakeFlow[R], until: float) -> R:
        try:
            step = next(flow)
            while True:
                if isinstance(step, Wait):
                    self._wait(step)
                    step = flow.send(None)
                else:
                    step = flow.send(self._link.execute(step, until - time.monotonic()))
        except StopIteration as end:
            result: R = end.value
            return result
        except BaseException:
            flow.close()
            self._core.gave_up()
            raise

    def _wait(self, wait: Wait) -> None:
        board = self._core.board
        with self._bell:
            self._bell.wait_for(lambda: board.turn != wait.turn, wait.seconds)

    def _ring(self) -> None:
        with self._bell:
            self._bell.notify_all()
