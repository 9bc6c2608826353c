"""Leases: tokens taken in advance, spent without asking. See docs/throttles.md for why the bound holds.

Rules, each of which a test shows:

1. A token is spent only between the time from which the lease may be spent and its deadline. The deadline runs from
   before the request was sent, the server's from after it came; the start runs from after the answer came, the server's
   from before. So a lease here lies inside the same lease there, whatever the network and the scheduler do.
2. At most one request of a lease is under way. Each has a larger number than the one before and tells how many tokens
   were granted as far as answers came, so a lost answer and a forgotten grant are both found out.
3. Tokens given back are out of reach before the request is sent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from sharedstate.call import Call
from sharedstate.clock import AWAKE, awake_clock
from sharedstate.objects import throttle as calls
from sharedstate.objects.throttle import Grant

from .bucket import _FORGETS, Bucket, Tally
from .decision import DecidedBy, Decision, Policy
from .spec import ThrottleSpec, check_cost

__all__ = ["LEASE_TIME", "LeasedBucket"]

#: Seconds a lease lasts, from when it may be spent.
LEASE_TIME = 3.0
#: A lease is for so many seconds of this process's own demand, when there is plenty …
AHEAD = 1.0
#: … and for so many of the whole rate, when it must be booked ahead: short turns for everybody.
TURN = 0.01
#: With less time left than this share, a lease is renewed or given back.
_LATE = 0.5
#: From this many tokens on, more are fetched before they run out.
_WORTH_FETCHING = 8
#: Beyond its timeout a claim lasts so long, seconds.
_GRACE = 1.0
#: What is this far ahead is asked for again meanwhile, seconds.
_FAR = 1.0
#: Of a bucket this small, each token spent is reported at once.
_SMALL = 64
#: How much larger a lease may be than the one before.
_GROWTH = 4

_clock = time.clock_gettime
_new: Callable[..., Decision] = tuple.__new__
_LEASE = DecidedBy.LEASE


class LeasedBucket(Bucket):
    """A throttle that is asked in advance.

    Args:
        epsilon: share of the tokens left that one lease may take, between 0 and 1.
        low: called, with the lock held, when a lease runs low.
        name, key, who, offered, policy, timeout, members: as for `Bucket`.
    """

    leased = True

    def __init__(
        self,
        name: str,
        key: str,
        who: str,
        offered: ThrottleSpec,
        policy: Policy,
        timeout: float,
        members: Callable[[], int],
        epsilon: float,
        low: Callable[[LeasedBucket], None],
    ) -> None:
        super().__init__(name, key, who, offered, policy, timeout, members)
        self.turn = TURN
        self.ahead = AHEAD
        self.lasts = LEASE_TIME
        self.asking = False
        self._epsilon = epsilon
        self._runs_low = low
        self._limit = offered.limit
        self._burst = offered.burst
        self._interval = offered.interval
        self._here = 0  # tokens that may be spent now
        self._until = 0.0
        self._ahead = 0  # tokens booked, to be spent from _starts on
        self._starts = 0.0
        self._again = 0.0  # before this time asking makes no sense
        self._low = -1
        self._seq = 0
        self._granted = 0
        self._lease_born = b""
        self._held = 0  # tokens held just after the last answer
        self._base = 0  # tokens the server knows to be held: what may be put back up to
        self._claimed = 0.0
        self._lasts = LEASE_TIME  # as the last request said
        self._returned = 0
        self._refusals = 0  # since the last request
        self._asked = 0.0
        self._size = 1
        self._sent: tuple[float, int] = (0.0, 0)

    def spend(self, cost: int = 1) -> Decision | None:
        """Decide from the lease, or None when it does not tell. No I/O; the hot path.

        Raises:
            InvalidValueError: the cost is not usable.
        """
        if cost != 1:
            check_cost(cost, self.offered, self.spec, self.name)
        with self.lock:
            now = _clock(AWAKE)
            left = self._here - cost
            if left >= 0:
                if now < self._until:
                    self._here = left
                    if left <= self._low:
                        self._low = -1
                        self._runs_low(self)
                    return _new(
                        Decision,
                        (
                            True,
                            self._limit,
                            left,
                            0.0,
                            (self._burst - left) * self._interval,
                            _LEASE,
                            self.name,
                        ),
                    )
            elif now < self._until:
                # What `consider` would say, without a flow: nearly every check of a throttle that is used up.
                due = self._starts if self._ahead and left + self._ahead >= 0 else self._again
                if now < due:
                    self._refusals += cost
                    self._count(_LEASE, False)
                    full = (self._burst - self._here) * self._interval
                    return _new(
                        Decision, (False, self._limit, self._here, due - now, full, _LEASE, self.name)
                    )
        return None

    def holds(self, cost: int) -> bool:
        """Whether the lease has that much at hand; others may be faster."""
        return self._here >= cost

    def consider(self, cost: int) -> Decision | None:
        """Decide without asking, if that is possible: from tokens booked ahead, when they are due and until then."""
        now = awake_clock()
        with self.lock:
            self._lapse(now)
            if self._ahead and now >= self._starts:
                self._here, self._ahead = self._here + self._ahead, 0
            if self._here >= cost:
                self._here -= cost
                if self._here <= self._low:
                    self._low = -1
                    self._runs_low(self)
                return self._decision(True, 0.0)
            due = self._starts if self._ahead and self._here + self._ahead >= cost else self._again
            if now < due:
                self._refusals += cost
                self._count(_LEASE, False)
                return self._decision(False, due - now)
        return None

    def claim(self) -> bool:
        """Become the one who asks; then `request`, and `granted` or `gave_up`."""
        now = awake_clock()
        with self.lock:
            # One who claimed it and never told (a signal's exception in between) makes way: numbers keep that safe.
            if self.asking and now < self._claimed + self.timeout + _GRACE:
                return False
            self.asking, self._claimed = True, now
            return True

    def request(self, cost: int, *, leave: bool = False) -> tuple[Call[Grant], int]:
        """The question of who claimed it, and what of the debt it carries.

        Args:
            cost: tokens a caller waits for, 0 when nobody does.
            leave: give everything back and want nothing.
        """
        now = awake_clock()
        with self.lock:
            self._lapse(now)
            held = self._here + self._ahead
            demand = self._held - held + self._refusals
            rate = demand / max(now - self._asked, 1e-4)
            size = self._next_size(cost, now - self._asked, held, math.ceil(rate * self.ahead))
            idle = leave or (not cost and not demand)
            # All or nothing: who keeps a part of what it waits for may wait for another who does the same.
            short = cost > held
            back = held if idle or short else 0
            # What is booked comes first: whoever has something coming does not book more.
            want = (
                0 if idle or (self._ahead and not short) else max(size - held + back, cost if short else 0, 0)
            )
            turn = max(math.ceil(min(self.spec.rate * self.turn, rate * self.ahead)), 1)
            self._size = max(min(size, self.spec.burst), 1)
            if back:
                self._here = self._ahead = 0
                self._returned += back
            self._seq += 1
            self._refusals = 0
            self._asked = now
            self._sent = (now, held - back)
            self._lasts = self.lasts
            self._base = held - back
            self.used = True
            if now > self._heard + _FORGETS:
                self._lease_born = b""
            owed = self._debt
            call = calls.lease(
                self.key, self._wire, self.who, self._lease_born, self._seq, self._granted, held, back,
                self._refused, owed, self._paid, min(want, self.spec.burst), turn, self._epsilon,
                int(self._lasts * 1e6), cost if short else 0,
            )  # fmt: skip
        return call, owed

    def granted(self, grant: Grant, owed: int) -> None:
        """The answer came."""
        now = awake_clock()
        with self.lock:
            self.asking = False
            self._settled(owed, grant.left, grant.spec)
            if grant.status < 0:
                return
            sent, held = self._sent
            self._lease_born, self._granted = grant.born, grant.total
            void = held - grant.kept
            if void > 0:
                # The server holds some of them for over: they are, and their time here is up as well.
                ahead = min(void, self._ahead)
                self._ahead -= ahead
                self._here = max(self._here - void + ahead, 0)
            wait = grant.wait / 1e6
            self._again = now + grant.again / 1e6
            self._ahead += grant.tokens
            self._starts = now + wait
            if not wait:
                self._here, self._ahead = self._here + self._ahead, 0
            self._until = sent + wait + self._lasts
            self._held = self._base = self._here + self._ahead
            if self._held >= _WORTH_FETCHING:
                self._low = self._held // 2
            else:
                # Of a small bucket, others wait for the news that these were spent.
                self._low = 0 if self._burst <= _SMALL and self._held else -1

    def gave_up(self) -> None:
        """No answer came in time. What is held stays good until its deadline."""
        with self.lock:
            self.asking = False

    def put_back(self, tokens: int) -> int:
        """Take tokens back that were spent and not used; answers how many did not fit into the lease."""
        now = awake_clock()
        with self.lock:
            # No further than what the last question told: what it left out is spent, and has come back to the bucket.
            room = self._base - self._here - self._ahead if now < self._until else 0
            fits = max(min(tokens, room), 0)
            self._here += fits
        return tokens - fits

    def refuse(self, cost: int) -> Decision:
        """The lease was asked for and is not enough."""
        with self.lock:
            self._refusals += cost
            self._count(_LEASE, False)
            wait = (cost - self._here - self._ahead - self._left) * self._interval
            return self._decision(False, wait)

    def peek(self) -> Decision | None:
        """What a check would be told without asking, None when it would have to ask."""
        now = awake_clock()
        with self.lock:
            self._lapse(now)
            here = self._here + (self._ahead if now >= self._starts else 0)
            return self._decision(True, 0.0, here) if here else None

    def needs_care(self, now: float) -> bool:
        """Whether the lease should be renewed or given back now."""
        held = self._here + self._ahead
        if not held or self.asking or now >= self._until:
            return self.has_news and not self.asking
        waits = max(self._starts if self._ahead else 0.0, self._again) - now
        # Far ahead things may change: another spec, a reset, tokens given back.
        return self._until - now < self._lasts * _LATE or (waits > _FAR and now - self._asked > _FAR)

    def counts(self) -> dict[DecidedBy, Tally]:
        """As of every bucket; what a lease allowed is what was spent of it."""
        found = super().counts()
        found[_LEASE].allowed = self.spent
        return found

    @property
    def in_use(self) -> bool:
        """Whether tokens are held or booked."""
        return self._here > 0 or self._ahead > 0

    @property
    def spent(self) -> int:
        """Tokens of all leases that were spent, or lapsed."""
        return self._granted - self._here - self._ahead - self._returned

    # -- inside, with the lock held --------------------------------------------------------------------------

    def _next_size(self, cost: int, passed: float, held: int, demand: int) -> int:
        """How large the next lease is, from what became of this one: it follows demand, up faster than down.

        Who waits for tokens asks for few, so demand alone would keep small leases small: one that was used up within
        its time, with somebody waiting and nothing refused, makes a larger one.
        """
        most = self._size * _GROWTH
        if 2 * held > self._held or not self._held:
            return min(demand, most)
        if cost and passed < self._lasts and not self._refusals:
            return most
        return max(min(demand, most), self._size)

    def _lapse(self, now: float) -> None:
        if now >= self._until:
            self._here = self._ahead = 0

    def _decision(self, allowed: bool, wait: float, left: int | None = None) -> Decision:
        left = self._here if left is None else left
        full = (self._burst - left) * self._interval
        return Decision(allowed, self._limit, left, max(wait, 0.0), full, _LEASE, self.name)

    def _install(self, stored: bytes) -> None:
        super()._install(stored)
        spec = self.spec
        self._limit, self._burst, self._interval = spec.limit, spec.burst, spec.interval
