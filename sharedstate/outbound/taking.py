"""Taking slots, without I/O: flows that ask Redis for each capped count, and decide by policy when it can't be asked.

A flow yields calls and receives their outcomes, or yields a `Wait` for something the member's publisher settles. The
sync and asyncio faces share it. What keeps takes and publishes from spoiling each other is in `objects/takes.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar

from sharedstate.breaker import Breaker
from sharedstate.call import Call, Outcome, key_slot
from sharedstate.errors import (
    AmbiguousError,
    ClosedError,
    CountBelowZeroError,
    InvalidValueError,
    UnreachableError,
)
from sharedstate.keys import Keys
from sharedstate.member import MemberEngine
from sharedstate.objects import gauge

from .slots import Answer, OutboundMetrics, Refusal, Slot
from .targets import Capped, Connection, Plan, Targets

__all__ = ["DEADLINE", "POLICY", "SlotCore", "TakeFlow", "Wait"]

#: How long a question may take, seconds, and who decides when that was not enough, unless told otherwise.
DEADLINE = 0.05
POLICY = "local"
POLICIES = ("local", "open", "closed")
#: What a refused caller is told to wait when nothing better is known, seconds.
RETRY_AFTER = 1.0
#: Between two questions for a slot whose item is just being published, at first, seconds; doubles.
_ARRIVAL = 0.002

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the member's board is past `turn`, at most `seconds`."""

    turn: int
    seconds: float


#: Yields calls (and receives their outcomes) or waits (and receives None).
TakeFlow: TypeAlias = Generator["Sequence[Call[Any]] | Wait", "list[Outcome] | None", T]


@dataclass(slots=True)
class _Verdict:
    """What came of one capped count."""

    granted: bool
    decided_by: str
    count: int = 0
    retry_after: float = 0.0


@dataclass(slots=True)
class _Attempt:
    """What one take has learnt so far.

    Attributes:
        incarnation: whom `last` is about.
        last: sequence the server told with a gap, -1 for none.
        pause: seconds until it asks again for an item that is being published.
        doubts: the answer does not fit what was acknowledged.
        waits_for: what it waits for, or None; the breaker knows the same name.
    """

    incarnation: str = ""
    last: int = -1
    pause: float = _ARRIVAL
    doubts: bool = False
    waits_for: Hashable = None


class SlotCore:
    """Decides about outbound connections of one member; both faces drive it.

    Args:
        keys: key factory of the fleet.
        engine: the member.
        targets: where connections are counted, and under which caps.
        owner: who serves a hash slot, for the breaker.
        timeout: seconds a question may take.
        policy: ``local`` (this member's share of the cap), ``open`` or ``closed``, when Redis can't be asked.
        breaker: shared with others that ask the same servers.

    Raises:
        InvalidValueError: timeout or policy is not usable.
    """

    def __init__(
        self,
        keys: Keys,
        engine: MemberEngine,
        targets: Targets,
        owner: Callable[[int | None], Hashable],
        *,
        timeout: float = DEADLINE,
        policy: str = POLICY,
        breaker: Breaker | None = None,
    ) -> None:
        if policy not in POLICIES:
            raise InvalidValueError(f"policy {policy!r} is not known: give one of {', '.join(POLICIES)}.")
        self.timeout = usable_timeout(timeout)
        self.policy = policy
        self.breaker = Breaker() if breaker is None else breaker
        self.metrics = OutboundMetrics()
        self.board = engine.board
        self._keys = keys
        self._engine = engine
        self._targets = targets
        self._owner = owner

    def plan(self, connection: Connection) -> Plan:
        """How a slot for this connection is taken; raises InvalidValueError for names that are not usable."""
        return self._targets.plan(connection)

    def acquire(self, plan: Plan, until: float) -> TakeFlow[Slot]:
        """Take a slot, or none at all. One round trip for each cap that applies; none when there is no cap."""
        decided = "redis" if plan.capped else "uncapped"
        taken: list[Capped] = []
        try:
            for capped in plan.capped:
                verdict = yield from self._take(capped, until)
                if verdict.decided_by != "redis":
                    decided = verdict.decided_by
                if not verdict.granted:
                    self._return(taken)
                    return Slot(False, decided, _refusal(capped, verdict), verdict.retry_after)
                taken.append(capped)
            for number, (store, key) in enumerate(plan.counted):
                try:
                    store.increment(key)
                except BaseException:
                    for earlier, counted in plan.counted[:number]:
                        earlier.decrement(counted)
                    raise
        except GeneratorExit:  # given up: no half slot stays behind
            self.board.given_up.append(partial(self._return, taken))
            raise
        except BaseException:
            self._return(taken)
            raise
        return Slot(True, decided, plan=plan, give_back=self._give_back)

    def gave_up(self) -> None:
        """A flow was closed half-way: have what it left behind seen to soon."""
        self._engine.urge()

    def check(self, plan: Plan) -> TakeFlow[Answer]:
        """Whether a slot would be granted now; takes none. One round trip for all caps together."""
        answers: dict[int, _Verdict] = {}
        asked: list[tuple[int, Capped, Call[int], Hashable]] = []
        for number, capped in enumerate(plan.capped):
            capped.store.own(capped.key)  # raises when the state is closed
            key = self._keys.sums(capped.store.spec.name, capped.shard.index)
            (call,) = gauge.count(key, (capped.field,))
            address = self._owner(call.slot)
            if self.breaker.allow(address):
                asked.append((number, capped, call, address))
            else:
                answers[number] = self._by_policy(capped, address, take=False)
        if asked:
            outcomes = yield [call for _, _, call, _ in asked]
            assert outcomes is not None
            for (number, capped, _, address), outcome in zip(asked, outcomes, strict=True):
                self._tell(address, outcome)
                if isinstance(outcome, BaseException):
                    answers[number] = self._by_policy(capped, address, take=False)
                else:
                    answers[number] = self._judged(capped, outcome)
        decided = "redis" if plan.capped else "uncapped"
        for number, capped in enumerate(plan.capped):
            verdict = answers[number]
            if verdict.decided_by != "redis":
                decided = verdict.decided_by
            if not verdict.granted:
                return Answer(False, decided, _refusal(capped, verdict), verdict.retry_after)
        return Answer(True, decided)

    # -- one capped count --------------------------------------------------------------------------------------

    def _take(self, capped: Capped, until: float) -> TakeFlow[_Verdict]:
        attempt = _Attempt()
        while True:
            # Before the lock: in a forked child, where it may be held for ever, this raises ClosedError.
            held = capped.store.own(capped.key)
            now = time.monotonic()
            with self.board.lock:
                if self._take_over(capped):
                    self._waited(attempt, well=True)
                    return _Verdict(True, "redis")
                if now >= until:
                    self._waited(attempt, well=False)
                    return self._by_policy(capped, self._address(capped))
                turn = self.board.turn
                believed, obstacle, seconds = self._obstacle(capped, attempt, now)
            if obstacle is not None and obstacle != attempt.waits_for:
                self._waited(attempt, well=True)
                if not self.breaker.allow(obstacle):
                    return self._by_policy(capped, obstacle)
                attempt.waits_for = obstacle
                self._engine.urge(at_once=True)
            if obstacle is not None or seconds:
                yield Wait(turn, min(seconds or until - now, until - now))
                continue
            self._waited(attempt, well=True)
            verdict = yield from self._ask(capped, attempt, believed, held)
            if verdict is not None:
                return verdict
            if attempt.doubts:
                # The server has less than it acknowledged: that is looked at before the question is put again.
                attempt.doubts = False
                self._engine.doubt()
                yield Wait(turn, until - now)

    def _obstacle(self, capped: Capped, attempt: _Attempt, now: float) -> tuple[int, Hashable, float]:
        """What keeps a take from going out: (sequence to believe, what the publisher has to settle, seconds to wait).

        Called under the board's lock.
        """
        engine, shard, field = self._engine, capped.shard, capped.field
        takes = shard.takes
        assert takes is not None
        if engine.lost:
            return 0, "membership", 0.0
        if attempt.incarnation != engine.member.incarnation:
            attempt.incarnation, attempt.last = engine.member.incarnation, -1
        if takes.late or field in takes.forgotten:
            return 0, (capped.store.spec.name, shard.index), 0.0
        stands_back = takes.stands_back(field, now)
        if stands_back:
            return 0, None, stands_back
        if takes.flying is not None and field in takes.flying:
            # Only after that batch: it would overwrite what was taken before it.
            if 0 <= attempt.last < takes.flight:
                attempt.pause, attempt.last = attempt.pause * 2, -1
                return 0, None, attempt.pause / 2
            believed = takes.flight
        else:
            believed = max(shard.acknowledged, attempt.last)
        takes.begin(field)
        return believed, None, 0.0

    def _ask(self, capped: Capped, attempt: _Attempt, believed: int, held: int) -> TakeFlow[_Verdict | None]:
        """One question; None when it has to be put again."""
        store, shard, field, incarnation = capped.store, capped.shard, capped.field, attempt.incarnation
        takes = shard.takes
        assert takes is not None
        address = self._address(capped)
        if not self.breaker.allow(address):
            with self.board.lock:
                takes.end(field)
            return self._by_policy(capped, address)
        call = gauge.take(
            self._keys,
            store.spec.name,
            shard.index,
            incarnation,
            believed,
            field,
            1,
            capped.cap.limit,
            held,
        )
        try:
            outcomes = yield [call]
        except GeneratorExit:  # nobody waits for the answer: it may have been taken
            self.board.given_up.append(partial(self._forsaken, capped))
            raise
        assert outcomes is not None
        outcome = outcomes[0]
        self._tell(address, outcome)
        with self.board.lock:
            takes.end(field)
            if isinstance(outcome, BaseException):
                if not isinstance(outcome, UnreachableError):
                    self._uncertain(capped)
                return self._by_policy(capped, address)
            status, total, last, own = outcome
            same = incarnation == self._engine.member.incarnation
            if status in (0, 1) and same:
                # Beyond the cap (events and policies do not ask) nothing is taken over, so that it comes down.
                takes.server[field] = own if total <= capped.cap.limit else 0
            if status == 1:
                store.increment(capped.key)
                # It goes into a batch even if it ends and is forgotten before the next one is made.
                store.touch(capped.key)
                self.metrics.taken += 1
                return _Verdict(True, "redis", total)
            if status == 0:
                if self._take_over(capped):
                    return _Verdict(True, "redis", total)
                self.metrics.refused += 1
                return _Verdict(False, "redis", total, RETRY_AFTER)
            self.metrics.gaps += 1
            if status < 0:
                self._engine.doubt(incarnation)
            elif same:
                flying = takes.flying is not None and field in takes.flying
                attempt.doubts = (last < believed and not flying) or last > shard.sent
                attempt.last = min(last, shard.sent)
        return None

    def _take_over(self, capped: Capped) -> bool:
        """Take a slot that this member gave back and the server still counts as its own. Under the board's lock."""
        takes = capped.shard.takes
        assert takes is not None
        credit = min(takes.credit(capped.field), capped.cap.limit)
        if credit <= 0 or self._engine.lost or not capped.store.increment_within(capped.key, 1, credit):
            return False
        self.metrics.taken += 1
        self.metrics.reused += 1
        return True

    def _judged(self, capped: Capped, total: int) -> _Verdict:
        """Whether a count leaves room; slots given back that the server still counts are room."""
        own = capped.store.own(capped.key)
        with self.board.lock:
            takes = capped.shard.takes
            assert takes is not None
            given_back = max(takes.credit(capped.field) - own, 0)
        if total - given_back < capped.cap.limit:
            return _Verdict(True, "redis", total)
        return _Verdict(False, "redis", total, RETRY_AFTER)

    def _by_policy(self, capped: Capped, asked: Hashable, *, take: bool = True) -> _Verdict:
        """Decide without Redis: a share of the cap, always, or never."""
        policy, limit = self.policy, capped.cap.limit
        own = capped.store.own(capped.key)
        if policy == "local":
            share = min(limit, max(1, limit // self._engine.live_members))
            allowed = capped.store.increment_within(capped.key, 1, share) if take else own < share
        elif policy == "open":
            allowed = True
            if take:
                capped.store.increment(capped.key)
        else:
            allowed = False
        if allowed:
            self.metrics.policy_allowed += take
            return _Verdict(True, policy, own)
        self.metrics.policy_refused += take
        return _Verdict(False, policy, own, max(self.breaker.wait(asked), RETRY_AFTER / 10))

    # -- bookkeeping -------------------------------------------------------------------------------------------

    def _address(self, capped: Capped) -> Hashable:
        return self._owner(key_slot(self._keys.registry(capped.store.spec.name, capped.shard.index)))

    def _tell(self, address: Hashable, outcome: Outcome) -> None:
        if isinstance(outcome, (UnreachableError, AmbiguousError)):
            self.breaker.failed(address)
        else:
            self.breaker.ok(address)

    def _waited(self, attempt: _Attempt, *, well: bool) -> None:
        """A wait for the publisher is over, or its time is up."""
        if attempt.waits_for is not None:
            (self.breaker.ok if well else self.breaker.failed)(attempt.waits_for)
            attempt.waits_for = None

    def _uncertain(self, capped: Capped) -> None:
        """A slot may have been taken unseen: the next publish tells the server what this member has."""
        self.metrics.uncertain += 1
        try:
            capped.store.touch(capped.key)
        except ClosedError:
            return  # the member leaves, and all its counts with it

    def _forsaken(self, capped: Capped) -> None:
        with self.board.lock:
            takes = capped.shard.takes
            assert takes is not None
            takes.end(capped.field)
            self._uncertain(capped)

    def _return(self, taken: Sequence[Capped]) -> None:
        for capped in taken:
            self._decrement(capped)

    def _give_back(self, plan: Plan) -> None:
        for store, key in plan.counted:
            try:
                store.decrement(key)
            except CountBelowZeroError:
                self.metrics.unmatched += 1
            except ClosedError:
                return  # leaving gave everything back
        self._return(plan.capped)

    def _decrement(self, capped: Capped) -> None:
        try:
            capped.store.decrement(capped.key)
        except CountBelowZeroError:
            self.metrics.unmatched += 1
        except ClosedError:
            return
        self._engine.urge()


def usable_timeout(timeout: float) -> float:
    """The timeout itself.

    Raises:
        InvalidValueError: it is no number of seconds from 0.001 to 60.
    """
    if not isinstance(timeout, (int, float)) or not 0.001 <= timeout <= 60:
        raise InvalidValueError(f"timeout {timeout!r} is not usable: give 0.001 to 60 seconds.")
    return timeout


def _refusal(capped: Capped, verdict: _Verdict) -> Refusal:
    cap, key = capped.cap, capped.key
    item = key if isinstance(key, str) else "/".join(key)
    return Refusal(cap.kind, cap.scope, cap.limit, verdict.count, capped.store.spec.name, item)
