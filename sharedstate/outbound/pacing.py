"""Tokens of the configured rates for one message or connection, without I/O; both faces drive these flows.

A rate's bucket is a throttle like any other; it is made, with the configured spec, when it is first asked.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from sharedstate.errors import ClosedError, InvalidValueError
from sharedstate.names import canonical_domain
from sharedstate.throttle.decision import DecidedBy, Decision
from sharedstate.throttle.flows import Steps, ThrottleFlows

from .slots import Answer, Refusal

if TYPE_CHECKING:
    from sharedstate.config import Limit

    from .rates import RateRule, RateTable

__all__ = ["Pacer", "with_rate"]

A = TypeVar("A", bound=Answer)

_POLICIES = (DecidedBy.LOCAL, DecidedBy.OPEN, DecidedBy.CLOSED)
_UNLIMITED = Decision(True, 0, 0, 0.0, 0.0, DecidedBy.UNLIMITED, "")


class Pacer:
    """The configured rates of one member.

    Args:
        limits: those of the configuration; what is no rate is left out.
        flows: the member's throttles.
    """

    def __init__(self, limits: Sequence[Limit], flows: ThrottleFlows) -> None:
        self._flows = flows
        self._messages: RateTable | None = None
        self._connections: RateTable | None = None
        #: Buckets that have got the configured rate.
        self._configured: set[str] = set()
        if any(limit.kind.is_rate for limit in limits):
            from sharedstate.config import LimitKind  # deferred: most processes have no rates

            from .rates import RateTable

            self._messages = RateTable(limits, LimitKind.THROTTLE_MESSAGES)
            self._connections = RateTable(limits, LimitKind.THROTTLE_CONNECTIONS)

    def for_message(
        self, domain: str, binding: str | None, group: str | None, cost: int
    ) -> tuple[RateRule, ...]:
        """The rates that a message has to keep to.

        Raises:
            InvalidDomainError, InvalidValueError: a name or the cost is not usable.
            ClosedError: the state was closed.
        """
        if self._flows.engine.closed:
            raise ClosedError(self._flows.engine.closed)
        if not isinstance(cost, int) or isinstance(cost, bool) or cost < 1:
            raise InvalidValueError(f"cost {cost!r} is not usable: give a whole number of at least 1.")
        if not self._messages:
            canonical_domain(domain)
            return ()
        return self._messages.applying(domain, binding, group)

    def for_connection(self, domain: str, binding: str | None, group: str | None) -> tuple[RateRule, ...]:
        """The rates that a connection has to keep to; raises as `for_message`."""
        return self._connections.applying(domain, binding, group) if self._connections else ()

    def missing(self, rules: Sequence[RateRule]) -> list[RateRule]:
        """Rates that this process has no throttle of yet."""
        buckets = self._flows.engine.buckets
        return [rule for rule in rules if rule.throttle not in buckets]

    def take(self, rules: Sequence[RateRule], cost: int, until: float) -> Steps[Decision]:
        """Take tokens of every rate, or of none.

        A bucket that could not be told its configured rate is told with the next question.

        Args:
            rules: the rates; none is missing.
            cost: tokens of each.
            until: when the policy decides, on `time.monotonic`.
        """
        if not rules:
            return _UNLIMITED
        find = self._flows.engine.find
        for rule in rules:
            if rule.throttle not in self._configured:
                told = yield from self._flows.define(find(rule.throttle), configured=True, until=until)
                if told:
                    self._configured.add(rule.throttle)
        wanted = [(find(rule.throttle), cost) for rule in rules]
        return (yield from self._flows.check_all(wanted, until - time.monotonic()))

    def give_back(self, rules: Sequence[RateRule], until: float) -> Steps[None]:
        """Return what one connection took, because it is not opened; what finds no time goes back later."""
        with contextlib.suppress(
            ClosedError
        ):  # the state left meanwhile: the rate is short by them, never over
            yield from self._flows.give_back(
                [(self._flows.engine.find(rule.throttle), 1) for rule in rules], until
            )

    def refusal(self, decision: Decision, rules: Sequence[RateRule]) -> Refusal:
        """Which rate refused."""
        rule = next(rule for rule in rules if rule.throttle == decision.throttle)
        spec = self._flows.engine.find(rule.throttle).spec
        used = max(decision.limit - max(decision.remaining, 0), 0)
        limit = rule.limit
        return Refusal(
            limit.kind, limit.scope, decision.limit, used, "throttle", rule.throttle, rate=str(spec)
        )


def with_rate(answer: A, decision: Decision) -> A:
    """The answer about the caps, with who decided about the rates where that says more."""
    if answer.decided_by == "uncapped" or (answer and decision.decided_by in _POLICIES):
        answer.decided_by = str(decision.decided_by)
    return answer
