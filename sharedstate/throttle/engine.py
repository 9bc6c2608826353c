"""The throttles of one process, without I/O: which there are, which lease needs care, and who may be asked."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from sharedstate.breaker import Breaker
from sharedstate.call import Call
from sharedstate.clock import awake_clock
from sharedstate.errors import ClosedError, InvalidValueError, LinkError, UnknownThrottleError
from sharedstate.keys import Keys
from sharedstate.objects import throttle as calls

from .bucket import Bucket, Tally
from .decision import DecidedBy, Decision, Mode, Policy
from .defaults import Defaults
from .lease import AHEAD, LEASE_TIME, TURN, LeasedBucket
from .spec import ThrottleSpec, check_throttle_name, parse_spec

E = TypeVar("E", Mode, Policy)

__all__ = ["CARE_EVERY", "Claim", "ThrottleEngine", "ThrottleStats", "tightest"]

#: Leases are looked after this often, seconds.
CARE_EVERY = 0.25
#: Leases settled in one go.
_AT_ONCE = 500
#: Lease requests a second that one process aims at, however many throttles it uses.
_REQUESTS = 2000.0
#: Seconds a lease lasts at most; the scripts count on it when a clock steps back.
LONGEST_LEASE = 10.0
#: How often a throttle in use says so in the list of names, seconds.
_NOTE_EVERY = 3600.0


class Claim(NamedTuple):
    """A lease's request on its way, and who made it: it ends in `LeasedBucket.granted` or `gave_up`."""

    bucket: LeasedBucket
    call: Call[calls.Grant]
    owed: int


@dataclass(frozen=True, slots=True)
class ThrottleStats:
    """What the throttles of one process decided since it was connected.

    Attributes:
        decided: checks allowed and refused, by who decided; of leases, what was spent.
        owed: tokens let pass while Redis was away that it was not told of yet.
        failures: questions that Redis did not answer, or refused.
        breaker_opened: times a primary was given up for a while.
        last_error: sentence of the last failure, or "".
    """

    decided: Mapping[DecidedBy, Tally]
    owed: int
    failures: int
    breaker_opened: int
    last_error: str


class ThrottleEngine:
    """The throttles of one process.

    Args:
        keys: key factory of the fleet.
        node: this node's name.
        pid: this process's.
        defaults: what throttles are made with.
        members: tells how many members the fleet has.
        wake: called, perhaps with a lock held, when a lease wants care at once.
    """

    def __init__(
        self,
        keys: Keys,
        node: str,
        pid: int,
        defaults: Defaults,
        members: Callable[[], int],
        wake: Callable[[], None],
    ) -> None:
        self.keys = keys
        self.defaults = defaults
        self.breaker = Breaker()
        self.buckets: dict[str, Bucket] = {}
        self.leased: dict[str, LeasedBucket] = {}
        self.closed = ""
        self.failures = 0
        self.last_error = ""
        #: One name for the whole life of this process: what it took outlives a rejoin of the member.
        self.who = f"{node}#{pid}#{secrets.token_hex(4)}"
        self._members = members
        self._wake = wake
        self._low: deque[LeasedBucket] = deque()
        self._noted: dict[str, float] = {}
        self._looked = 0.0
        self._making = threading.Lock()
        self._cared = 0.0

    def bucket(
        self,
        name: str,
        spec: str | ThrottleSpec,
        mode: str | None = None,
        policy: str | None = None,
        timeout: float | None = None,
        epsilon: float | None = None,
    ) -> tuple[Bucket, bool]:
        """The bucket of this name, made with these settings if this process has none; and whether it was made.

        Raises:
            InvalidNameError, InvalidThrottleError, InvalidValueError: one sentence each.
        """
        found = self.buckets.get(name)
        if found is not None:
            return found, False
        check_throttle_name(name)
        offered = spec if isinstance(spec, ThrottleSpec) else parse_spec(spec)
        defaults = self.defaults
        how = _choice(Mode, mode or defaults.mode, f"the mode of throttle {name!r}")
        rule = _choice(Policy, policy or defaults.policy, f"the policy of throttle {name!r}")
        limit = defaults.timeout if timeout is None else timeout
        if not 0.001 <= limit <= 60:
            raise InvalidValueError(
                f"throttle {name!r} has a timeout of {limit!r} s; give 0.001 to 60, such as 0.05."
            )
        share = defaults.epsilon if epsilon is None else epsilon
        if not 0 < share < 1:
            raise InvalidValueError(
                f"throttle {name!r} has epsilon {share!r}; give a number between 0 and 1."
            )
        key = self.keys.bucket(name)
        with self._making:
            if self.closed:
                raise ClosedError(self.closed)
            found = self.buckets.get(name)
            if found is not None:
                return found, False
            made: Bucket
            if how is Mode.LEASED:
                made = leased = LeasedBucket(
                    name, key, self.who, offered, rule, limit, self._members, share, self._runs_low
                )
                self.leased[name] = leased
            else:
                made = Bucket(name, key, self.who, offered, rule, limit, self._members)
            self.buckets[name] = made
        return made, True

    def find(self, name: str) -> Bucket:
        """A bucket this process has.

        Raises:
            UnknownThrottleError: it has none of this name.
        """
        found = self.buckets.get(name)
        if found is None:
            raise UnknownThrottleError(name, self.buckets)
        return found

    # -- care ------------------------------------------------------------------------------------------------

    def due(self) -> float:
        """Seconds until leases need care."""
        if self._low:
            return 0.0
        return max(self._cared + CARE_EVERY - awake_clock(), 0.0)

    def claim(self, bucket: LeasedBucket, cost: int = 0, *, leave: bool = False) -> Claim | None:
        """A lease's request, unless one is under way."""
        if not bucket.claim():
            return None
        try:
            return Claim(bucket, *bucket.request(cost, leave=leave))
        except BaseException:  # an interrupt between the two
            bucket.gave_up()
            raise

    def care(self) -> list[Claim]:
        """Leases that run low, end soon or have a debt, claimed."""
        now = awake_clock()
        wanted: dict[LeasedBucket, None] = {}
        while self._low and len(wanted) < _AT_ONCE:
            wanted[self._low.popleft()] = None
        if now >= self._cared + CARE_EVERY:
            self._cared = now
            busy = 0
            for bucket in list(self.leased.values()):
                busy += bucket.in_use
                if bucket.needs_care(now):
                    wanted[bucket] = None
            # Many throttles in use take longer turns and leases: the requests of one process stay within bounds.
            turn = max(TURN, busy / _REQUESTS)
            lasts = min(max(LEASE_TIME, 2 * busy / _REQUESTS), LONGEST_LEASE)
            ahead = min(max(AHEAD, busy / _REQUESTS), lasts * 0.45)
            for bucket in list(self.leased.values()):
                bucket.turn, bucket.ahead, bucket.lasts = turn, ahead, lasts
        return [claim for bucket in wanted if (claim := self.claim(bucket))]

    def leave(self) -> list[Claim]:
        """What is unspent goes back: as `care`, for every lease."""
        return [
            claim
            for bucket in list(self.leased.values())
            if (bucket.in_use or bucket.owed) and (claim := self.claim(bucket, leave=True))
        ]

    def notes(self, now: float) -> list[Call[int]]:
        """Signs of use for the list of names, hourly for each throttle.

        Args:
            now: wall clock, s.
        """
        if now < self._looked + 1.0:
            return []
        self._looked = now
        due: list[str] = []
        for name, bucket in list(self.buckets.items()):
            if bucket.used and self._noted.get(name, 0.0) <= now - _NOTE_EVERY:
                bucket.used = False
                due.append(name)
                if len(due) == _AT_ONCE:
                    break
        self._noted.update(dict.fromkeys(due, now))
        found = [calls.note(self.keys, name, int(now)) for name in due]
        for name in due[:1]:
            found += calls.trim(self.keys, name, int(now))
        return found

    def news(self) -> list[Bucket]:
        """Strict throttles that owe, or have something to give back."""
        return [bucket for bucket in list(self.buckets.values()) if bucket.has_news and not bucket.leased]

    def note(self, name: str, now: float) -> Call[int]:
        """The first sign of use of a throttle."""
        self._noted[name] = now
        return calls.note(self.keys, name, int(now))

    def close(self, reason: str) -> None:
        """Refuse every later use with ClosedError; what is leased lapses."""
        self.closed = reason  # before the list is made: what is made later is refused
        for bucket in list(self.buckets.values()):
            bucket.close(reason)

    def stats(self) -> ThrottleStats:
        """What this process's throttles decided so far."""
        decided = {decider: Tally() for decider in DecidedBy}
        for bucket in list(self.buckets.values()):
            for decider, tally in bucket.counts().items():
                decided[decider].allowed += tally.allowed
                decided[decider].refused += tally.refused
        owed = sum(bucket.owed for bucket in list(self.buckets.values()))
        return ThrottleStats(decided, owed, self.failures, self.breaker.opened, self.last_error)

    def failed(self, error: LinkError) -> None:
        """Redis did not decide."""
        self.failures += 1
        self.last_error = str(error)

    def _runs_low(self, bucket: LeasedBucket) -> None:
        self._low.append(bucket)
        self._wake()


def tightest(decisions: Sequence[Decision]) -> Decision:
    """The decision that stands for several that were all allowed: the one with the least left."""
    return min(decisions, key=lambda decision: decision.remaining)


def _choice(kind: type[E], told: str, what: str) -> E:
    try:
        return kind(told)
    except ValueError:
        known = ", ".join(repr(value.value) for value in kind)
        raise InvalidValueError(f"{what} is {told!r}; give one of {known}.") from None
