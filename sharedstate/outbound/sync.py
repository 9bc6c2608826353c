"""Slots for ordinary (blocking) code: drives the flows of `taking`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from sharedstate.link.sync import Link
from sharedstate.throttle.decision import Decision
from sharedstate.throttle.sync import Throttles

from .pacing import Pacer, with_rate
from .slots import Answer, OutboundMetrics, Slot
from .taking import SlotCore, TakeFlow, Wait, usable_timeout

if TYPE_CHECKING:
    from sharedstate.config import Limit

    from .rates import RateRule

__all__ = ["Outbound"]

R = TypeVar("R")
A = TypeVar("A", bound=Answer)


class Outbound:
    """Outbound connections under the configured caps. Safe to use from many threads."""

    def __init__(
        self, core: SlotCore, link: Link, throttles: Throttles, limits: Sequence[Limit] = ()
    ) -> None:
        self._core = core
        self._link = link
        self._throttles = throttles
        self._pacer = Pacer(limits, throttles.flows)
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
        process gave back such a slot within the last 0.1 s. Configured rates of connections are asked first, at the
        cost of `check_message`; their tokens go back when a cap refuses.

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
        rules = self._pacer.for_connection(domain, binding, binding_group)
        flow = self._core.acquire(plan, until)
        return self._paced(rules, flow, until, Slot) if rules else self._drive(flow, until)

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
        """Whether a slot would be granted now; none is taken. One round trip; arguments and errors as for `acquire`.

        Of configured rates of connections tokens are taken when the answer is yes, for the connection that is opened
        now: so ask either this, and tell events of the connection, or `acquire`, not both.
        """
        plan = self._core.plan((ip, domain, host, binding, binding_group))
        until = time.monotonic() + (self._core.timeout if timeout is None else usable_timeout(timeout))
        rules = self._pacer.for_connection(domain, binding, binding_group)
        flow = self._core.check(plan)
        return self._paced(rules, flow, until, Answer) if rules else self._drive(flow, until)

    def check_message(
        self,
        *,
        domain: str,
        binding: str | None = None,
        binding_group: str | None = None,
        cost: int = 1,
        timeout: float | None = None,
    ) -> Decision:
        """Take tokens of every configured rate of messages that applies, or of none: before a message is sent.

        Strict: one round trip for each rate, and two more the first time this process uses it. Leased: mostly none.
        None when no rate applies.

        Args:
            domain: destination domain.
            binding: outbound binding used.
            binding_group: its group.
            cost: messages, or recipients: tokens taken of each rate.
            timeout: seconds after which the policy decides, 0.05 by default.

        Returns:
            The decision of the rate that refused, or has the least left; ``unlimited`` when none applies.

        Raises:
            InvalidValueError: a name, the cost or the timeout is not usable; nothing was taken.
            ClosedError: the state was closed.
        """
        until = time.monotonic() + (self._core.timeout if timeout is None else usable_timeout(timeout))
        return self._take(self._pacer.for_message(domain, binding, binding_group, cost), cost, until)

    def _take(self, rules: Sequence[RateRule], cost: int, until: float) -> Decision:
        for rule in self._pacer.missing(rules):
            self._throttles.throttle(rule.throttle, rule.spec, {}, define=False)  # no I/O
        return self._throttles.run(self._pacer.take(rules, cost, until))

    def _paced(self, rules: Sequence[RateRule], flow: TakeFlow[A], until: float, kind: type[A]) -> A:
        """Ask the rates, then the caps; tokens of the rates go back when a cap refuses."""
        decision = self._take(rules, 1, until)
        if not decision:
            refusal = self._pacer.refusal(decision, rules)
            return kind(False, str(decision.decided_by), refusal, decision.retry_after)
        try:
            answer = self._drive(flow, until)
        except BaseException:
            self._throttles.run(self._pacer.give_back(rules, until))
            raise
        if not answer:
            self._throttles.run(self._pacer.give_back(rules, until))
        return with_rate(answer, decision)

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
