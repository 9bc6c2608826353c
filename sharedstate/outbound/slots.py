"""What whoever asks for an outbound connection is told: an answer, and a slot that can be given back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sharedstate.config import LimitKind, Scope

    from .targets import Plan

__all__ = ["Answer", "OutboundMetrics", "Refusal", "Slot"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The cap that is full, or the rate that is used up.

    Attributes:
        kind: the option it was configured with.
        scope: the scope it was configured in.
        limit: connections that may be open; of a rate, that may be opened in its period.
        count: connections that were open when it refused; of a rate, tokens that were taken. Of this member alone when
            a policy decided.
        object: the shared object that counts them; ``throttle`` for a rate.
        item: their item in it; of a rate, the throttle's name.
        rate: the rate in force, such as ``3/hr``; "" for a cap.
    """

    kind: LimitKind
    scope: Scope
    limit: int
    count: int
    object: str
    item: str
    rate: str = ""

    def __str__(self) -> str:
        if self.rate:
            return f"{self.kind} {self.rate} ({self.scope}) is used up, {self.object} {self.item}"
        return f"{self.kind} {self.limit} ({self.scope}) is reached: {self.count} open, {self.object} {self.item}"


@dataclass(slots=True)
class OutboundMetrics:
    """What came of the questions; plain numbers, read them at any time.

    Attributes:
        taken: slots granted by Redis, those taken over from a connection that had just ended included.
        reused: of these, slots taken over without a round trip.
        refused: connections refused because a cap was full.
        policy_allowed, policy_refused: answers of the policy, because Redis did not answer in time.
        uncertain: takes of unknown fate; the next publish put them right.
        gaps: takes that came in another order than a publish of the same shard and were made again.
        unmatched: slots given back whose count was gone already (somebody counted a disconnect for them too).
    """

    taken: int = 0
    reused: int = 0
    refused: int = 0
    policy_allowed: int = 0
    policy_refused: int = 0
    uncertain: int = 0
    gaps: int = 0
    unmatched: int = 0


class Answer:
    """Whether a connection may be opened; true when it may.

    Attributes:
        allowed: the same as its truth value.
        decided_by: ``redis``; ``local``, ``open`` or ``closed`` when the policy had to decide at least one cap or rate;
            ``lease`` when only rates apply and a lease decided; ``uncapped`` when neither cap nor rate applies.
        refused_by: the cap or rate that is full, or that the policy ``closed`` did not answer for; None when allowed.
        retry_after: seconds after which asking again makes sense, 0 when allowed. A hint for a cap: nobody knows when
            a connection ends.
    """

    __slots__ = ("allowed", "decided_by", "refused_by", "retry_after")

    def __init__(
        self, allowed: bool, decided_by: str, refused_by: Refusal | None = None, retry_after: float = 0.0
    ) -> None:
        self.allowed = allowed
        self.decided_by = decided_by
        self.refused_by = refused_by
        self.retry_after = retry_after

    def __bool__(self) -> bool:
        return self.allowed

    def __repr__(self) -> str:
        what = "allowed" if self.allowed else f"refused, retry_after={self.retry_after:g}"
        reason = f", {self.refused_by}" if self.refused_by else ""
        return f"<{type(self).__name__} {what}, decided_by={self.decided_by}{reason}>"


class Slot(Answer):
    """A place for one outbound connection, held until it is released; false when it was refused.

    Releasing changes memory only and is published within 0.1 s. Any thread may release; twice is once. A slot that is
    never released counts until this process leaves the fleet.
    """

    __slots__ = ("_give_back", "_held")

    def __init__(
        self,
        allowed: bool,
        decided_by: str,
        refused_by: Refusal | None = None,
        retry_after: float = 0.0,
        *,
        plan: Plan | None = None,
        give_back: Callable[[Plan], None] | None = None,
    ) -> None:
        super().__init__(allowed, decided_by, refused_by, retry_after)
        self._give_back = give_back
        self._held = [] if plan is None else [plan]

    def release(self) -> None:
        """Give the slot back: every count it was counted in goes down by 1. Of a refused slot, nothing."""
        try:
            plan = self._held.pop()  # one step, so that of two threads one gives back
        except IndexError:
            return
        assert self._give_back is not None
        self._give_back(plan)
