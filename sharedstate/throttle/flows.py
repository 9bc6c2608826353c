"""What a throttle does, as flows: generators that yield what they need (an answer, a pause) and do no I/O themselves.

The faces (`sync`, `aio`) drive them and differ only in how they wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from sharedstate.call import Call
from sharedstate.errors import AmbiguousError, ClosedError, LinkError, UnreachableError
from sharedstate.objects import throttle as calls
from sharedstate.objects.throttle import Grant, How

from .bucket import Bucket
from .decision import Decision
from .engine import Claim, ThrottleEngine, tightest
from .lease import LeasedBucket
from .spec import check_cost, check_count

__all__ = ["Ask", "Pause", "Settlement", "Steps", "ThrottleFlows"]

R = TypeVar("R")
#: Questions asked in one go: few enough that a busy machine answers them within one check's time.
_AT_ONCE = 100
T = TypeVar("T")


@dataclass(slots=True)
class Ask:
    """Carry out calls within so many seconds; resumed with their outcomes."""

    calls: Sequence[Call[Any]]
    timeout: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Settlement:
    """Wait until the request of a lease that somebody else made is settled, so many seconds at most."""

    bucket: LeasedBucket
    seconds: float

    def over(self) -> bool:
        """Whether nobody asks for the lease any more."""
        return not self.bucket.asking


Steps: TypeAlias = Generator[Ask | Pause | Settlement, Any, R]


class ThrottleFlows:
    """The flows over one process's throttles.

    Args:
        engine: the throttles.
        owner: tells which primary a slot belongs to.
        settled: called when a lease's request was settled.
    """

    def __init__(
        self,
        engine: ThrottleEngine,
        owner: Callable[[int | None], Hashable],
        settled: Callable[[LeasedBucket], None],
    ) -> None:
        self.engine = engine
        self._owner = owner
        self._settled = settled

    # -- one throttle ----------------------------------------------------------------------------------------

    def decide(self, bucket: Bucket, cost: int, until: float | None = None) -> Steps[Decision]:
        """A check that no lease at hand answers."""
        check_cost(cost, bucket.offered, bucket.spec, bucket.name)
        refusal = bucket.beyond(cost)
        if refusal is not None:
            return refusal
        if bucket.leased:
            assert isinstance(bucket, LeasedBucket)
            until = time.monotonic() + bucket.timeout if until is None else until
            return (yield from self._by_lease(bucket, cost, until))
        # `_strictly`, written out: this is the path of every strict check.
        left = bucket.timeout if until is None else until - time.monotonic()
        call, owed = bucket.ask(cost)
        address = self._owner(call.slot)
        if left > 0 and self.engine.breaker.allow(address):
            (outcome,) = yield Ask((call,), left)
            taken = self._heard(address, outcome)
            if taken is not None:
                return bucket.answered(taken, owed, cost)
        return bucket.decide_alone(cost, hint=self._hint(call))[0]

    def peek(self, bucket: Bucket) -> Steps[Decision]:
        """What a check would be told."""
        found = bucket.peek() if isinstance(bucket, LeasedBucket) else None
        if found is not None:
            return found
        call, owed = bucket.ask(0)
        taken = yield from self._ask(call, time.monotonic() + bucket.timeout)
        return bucket.guess() if taken is None else bucket.answered(taken, owed, 0)

    def inc(self, bucket: Bucket, n: int) -> Steps[Decision]:
        """Count what has happened already."""
        check_count(n, bucket.name)
        spent = bucket.spend(n) if isinstance(bucket, LeasedBucket) and bucket.holds(n) else None
        if spent:
            return spent
        call, owed = bucket.ask(n, How.FORCE)
        taken = yield from self._ask(call, time.monotonic() + bucket.timeout)
        if taken is not None:
            return bucket.answered(taken, owed, n)
        bucket.charge_later(n)
        return bucket.guess()

    def dec(self, bucket: Bucket, n: int) -> Steps[None]:
        """Give back what was not used."""
        check_count(n, bucket.name)
        if isinstance(bucket, LeasedBucket):
            n = bucket.put_back(n)
        if n:
            yield from self._refund([(bucket, n)], time.monotonic() + bucket.timeout)

    def tarpit(self, bucket: Bucket, max_wait: float, cost: int) -> Steps[Decision]:
        """Take tokens and wait for them."""
        check_cost(cost, bucket.offered, bucket.spec, bucket.name)
        spent = bucket.spend(cost) if isinstance(bucket, LeasedBucket) and bucket.holds(cost) else None
        if spent:
            return spent
        until = time.monotonic() + bucket.timeout
        decision, wait = yield from self._strictly(bucket, cost, until, How.AHEAD, max(max_wait, 0.0))
        if wait > 0:
            yield Pause(wait)
        return decision

    def define(self, bucket: Bucket, *, configured: bool = False, until: float | None = None) -> Steps[bool]:
        """Make the bucket unless the fleet has it, learn the spec in force, and put the name on the list.

        A `configured` spec replaces the fleet's, unless that was set by hand. Answers whether Redis did it in time.
        """
        until = time.monotonic() + bucket.timeout if until is None else until
        call = calls.define(self.engine.keys, bucket.name, bucket.offered, configured=configured)
        defined = yield from self._ask(call, until)
        if defined is not None:
            bucket.learnt(defined[1])
            yield from self._ask(self.engine.note(bucket.name, time.time()), until)
        return defined is not None

    # -- several ---------------------------------------------------------------------------------------------

    def check_all(self, wanted: Sequence[tuple[Bucket, int]], timeout: float) -> Steps[Decision]:
        """All or nothing: in order, and back with what was taken when a later one refuses."""
        for bucket, cost in wanted:
            check_cost(cost, bucket.offered, bucket.spec, bucket.name)
        until = time.monotonic() + timeout
        decisions: list[Decision] = []
        for bucket, cost in wanted:
            decision = bucket.spend(cost) if isinstance(bucket, LeasedBucket) else None
            if decision is None:
                decision = yield from self.decide(bucket, cost, until)
            if not decision:
                yield from self.give_back(wanted[: len(decisions)], until)
                return decision
            decisions.append(decision)
        return tightest(decisions)

    def give_back(self, taken: Sequence[tuple[Bucket, int]], until: float | None = None) -> Steps[None]:
        """Return what `check_all` took, because what it was for does not happen.

        What cannot be returned until then the keeper returns later.
        """
        until = time.monotonic() + self.engine.defaults.timeout if until is None else until
        rest: list[tuple[Bucket, int]] = []
        for bucket, cost in taken:
            left = bucket.put_back(cost) if isinstance(bucket, LeasedBucket) else cost
            if left and bucket.owed >= left:
                bucket.charge_later(-left)
            elif left:
                rest.append((bucket, left))
        if rest:
            yield from self._refund(rest, until)

    def _refund(self, back: Sequence[tuple[Bucket, int]], until: float) -> Steps[None]:
        asked = [(bucket, tokens, *bucket.ask(tokens, How.BACK)) for bucket, tokens in back]
        left = until - time.monotonic()
        if left <= 0:
            for bucket, tokens in back:
                bucket.back_later(tokens)
            return
        answers = yield from self._ask_many([call for _, _, call, _ in asked], left)
        for (bucket, _, _, owed), answer in zip(asked, answers, strict=True):
            # Without an answer they may be back or not: given back twice they would be too many.
            if answer is not None:
                bucket.refunded(answer, owed)

    def tell_news(self) -> Steps[None]:
        """Charge what strict throttles let pass without Redis, and give back what could not be in time."""
        told = self.engine.news()
        asked = []
        for bucket in told:
            back = bucket.take_back()
            asked.append((bucket, *(bucket.ask(back, How.BACK) if back else bucket.ask(0))))
        if asked:
            answers = yield from self._ask_many([call for _, call, _ in asked], self.engine.defaults.timeout)
            for (bucket, _, owed), answer in zip(asked, answers, strict=True):
                if answer is not None:
                    bucket.refunded(answer, owed)

    # -- leases ----------------------------------------------------------------------------------------------

    def settle(self, work: Sequence[Claim]) -> Steps[None]:
        """Bring claimed leases' requests to Redis, all at once."""
        answers: list[Grant | None] = [None] * len(work)
        try:
            timeout = max((claim.bucket.timeout for claim in work), default=0.0)
            answers = yield from self._ask_many([claim.call for claim in work], timeout)
        finally:
            for claim, answer in zip(work, answers, strict=True):
                try:
                    self._tell(claim, answer)
                except ClosedError:  # closed meanwhile; the others still wait
                    continue

    def say_in_use(self) -> Steps[None]:
        """Put throttles in use on the list of names, once an hour each."""
        notes = self.engine.notes(time.time())
        if notes:
            yield from self._ask_many(notes, self.engine.defaults.timeout)

    def _by_lease(self, bucket: LeasedBucket, cost: int, until: float) -> Steps[Decision]:
        while True:
            decision = bucket.consider(cost)
            if decision is not None:
                return decision
            claim = self.engine.claim(bucket, cost)
            if claim is not None:
                grant = None
                try:
                    grant = yield from self._ask(claim.call, until)
                finally:
                    self._tell(claim, grant)
                if grant is None:
                    return bucket.decide_alone(cost, hint=self._hint(claim.call))[0]
                decision = bucket.consider(cost)
                return bucket.refuse(cost) if decision is None else decision
            left = until - time.monotonic()
            if left <= 0:
                return bucket.decide_alone(cost)[0]
            yield Settlement(bucket, left)

    def _tell(self, claim: Claim, grant: Grant | None) -> None:
        if grant is None:
            claim.bucket.gave_up()
        else:
            claim.bucket.granted(grant, claim.owed)
        self._settled(claim.bucket)

    # -- asking ----------------------------------------------------------------------------------------------

    def _strictly(
        self, bucket: Bucket, cost: int, until: float, how: How = How.ALL, longest: float = 0.0
    ) -> Steps[tuple[Decision, float]]:
        """Ask the bucket itself, else the policy: the decision, and the seconds until it holds."""
        call, owed = bucket.ask(cost, how, longest)
        taken = yield from self._ask(call, until)
        if taken is None:
            return bucket.decide_alone(cost, longest, self._hint(call))
        return bucket.answered(taken, owed, cost), taken.wait / 1e6 if how is How.AHEAD and taken.got else 0.0

    def _hint(self, call: Call[Any]) -> float:
        return self.engine.breaker.wait(self._owner(call.slot))

    def _ask(self, call: Call[T], until: float) -> Steps[T | None]:
        """The answer, or None when there is none in time, or when the server is not to be asked."""
        breaker = self.engine.breaker
        address = self._owner(call.slot)
        left = until - time.monotonic()
        if left <= 0 or not breaker.allow(address):
            return None
        (outcome,) = yield Ask((call,), left)
        answer: T | None = self._heard(address, outcome)
        return answer

    def _ask_many(self, wanted: Sequence[Call[T]], timeout: float) -> Steps[list[T | None]]:
        """The same for several calls, side by side."""
        allowed: dict[Hashable, bool] = {}
        places: list[tuple[int, Hashable]] = []
        for index, call in enumerate(wanted):
            address = self._owner(call.slot)
            if address not in allowed:
                allowed[address] = self.engine.breaker.allow(address)
            if allowed[address]:
                places.append((index, address))
        answers: list[T | None] = [None] * len(wanted)
        for first in range(0, len(places), _AT_ONCE):
            some = places[first : first + _AT_ONCE]
            outcomes = yield Ask([wanted[index] for index, _ in some], timeout)
            # One that answers some of many is slow, not gone.
            well = {
                address
                for (_, address), outcome in zip(some, outcomes, strict=True)
                if not isinstance(outcome, LinkError)
            }
            for (index, address), outcome in zip(some, outcomes, strict=True):
                answers[index] = self._heard(address, outcome, well=address in well)
        return answers

    def _heard(self, address: Hashable, outcome: Any, *, well: bool = False) -> Any:
        """An answer, or None for an error, which the breaker and the counters are told of."""
        if not isinstance(outcome, LinkError):
            self.engine.breaker.ok(address)
            return outcome
        self.engine.failed(outcome)
        if isinstance(outcome, (UnreachableError, AmbiguousError)) and not well:
            self.engine.breaker.failed(address)
        else:
            self.engine.breaker.ok(address)
        return None
