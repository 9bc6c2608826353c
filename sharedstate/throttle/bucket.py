"""What one process knows about one throttle, without I/O: what it asks, and what it makes of the answers.

`Bucket` asks strictly, once for each check; `sharedstate.throttle.lease` adds leases. Safe to use from many threads.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass

from sharedstate.call import Call, key_slot
from sharedstate.clock import awake_clock
from sharedstate.closing import ClosedLock
from sharedstate.errors import ServerRefusedError
from sharedstate.objects import throttle as calls
from sharedstate.objects.throttle import How, Taken

from .decision import DecidedBy, Decision, Policy
from .share import Share
from .spec import ThrottleSpec

__all__ = ["Bucket", "Tally"]

#: After so long without an answer a member trusts Redis about what it took: its record may have been dropped, seconds.
_FORGETS = 3600.0
#: Longest wait the scripts are asked for, seconds.
_LONGEST = 1e9


@dataclass(slots=True)
class Tally:
    """How many checks of a throttle one decider allowed and refused."""

    allowed: int = 0
    refused: int = 0


class Bucket:
    """One throttle in one process.

    Args:
        name: the throttle's.
        key: of its bucket in Redis.
        who: this process, the same name for its whole life.
        offered: the spec it gets if the fleet has none for it yet.
        policy: what decides when Redis cannot be asked in time.
        timeout: seconds one check may take.
        members: tells among how many the rate is shared while Redis is away.
    """

    leased = False

    def __init__(
        self,
        name: str,
        key: str,
        who: str,
        offered: ThrottleSpec,
        policy: Policy,
        timeout: float,
        members: Callable[[], int],
    ) -> None:
        self.name = name
        self.key = key
        self.who = who
        self.offered = offered
        self.spec = offered
        self.policy = policy
        self.timeout = timeout
        self.lock: threading.Lock | ClosedLock = threading.Lock()
        self.tallies = {decider: Tally() for decider in DecidedBy}
        self._members = members
        self._wire = offered.wire
        self._stored = self._wire.encode()
        self._slot = key_slot(key)
        self._refused = 0
        self._born = b""
        self._known = 0
        self._debt = 0  # tokens ever let pass without Redis
        self._paid = 0  # of these, what Redis is known to have charged
        self._back = 0  # tokens to be given back when Redis answers
        self._heard = 0.0
        self.used = False  # since the last note
        self._left = offered.burst
        self._share: Share | None = None

    def close(self, reason: str) -> None:
        """Refuse every later use with ClosedError."""
        self.lock = ClosedLock(reason)

    # -- asking strictly -------------------------------------------------------------------------------------

    def ask(self, wanted: int, how: How = How.ALL, longest: float = 0.0) -> tuple[Call[Taken], int]:
        """The question, and what of the debt it carries; both go to `answered`."""
        with self.lock:
            owed = self._debt
            self.used = True
            if awake_clock() > self._heard + _FORGETS:
                self._born = b""  # the record may have been dropped: what it says holds, not what we know
            call = calls.take(
                self.key, self._wire, self.who, self._born, self._known, self._refused, owed, self._paid, wanted, how,
                int(min(longest, _LONGEST) * 1e6), self._slot,
            )  # fmt: skip
        return call, owed

    def answered(self, taken: Taken, owed: int, wanted: int) -> Decision:
        """What the answer means for who asked for so many."""
        with self.lock:
            if taken.born == self._born:
                self._known = max(self._known, taken.total)
            else:
                self._born, self._known = taken.born, taken.total
            self._settled(owed, taken.left, taken.spec)
            allowed = taken.got >= wanted if wanted else not taken.wait
            if wanted:
                self._count(DecidedBy.REDIS, allowed)
            spec = self.spec
        wait = 0.0 if allowed else taken.wait / 1e6
        return Decision(allowed, spec.limit, taken.left, wait, taken.full / 1e6, DecidedBy.REDIS, self.name)

    # -- when Redis is away ----------------------------------------------------------------------------------

    def decide_alone(self, cost: int, longest: float = 0.0, hint: float = 0.0) -> tuple[Decision, float]:
        """Decide by the policy; answers the decision and the seconds to wait before it holds (tarpit).

        Args:
            cost: tokens wanted.
            longest: seconds the caller would wait.
            hint: seconds after which asking again makes sense, for a closed throttle.
        """
        now = awake_clock()
        with self.lock:
            spec = self.spec
            if self.policy is Policy.LOCAL:
                if self._share is None:
                    self._share = Share(spec, self._members(), self._left, now)
                allowed, wait = self._share.take(cost, now, longest)
                left, full, decider = self._share.left, self._share.full_in(), DecidedBy.LOCAL
            elif self.policy is Policy.OPEN:
                allowed, wait, left, full, decider = True, 0.0, spec.burst, 0.0, DecidedBy.OPEN
            else:
                allowed, wait, left, full = False, max(hint, 0.1), 0, spec.burst * spec.interval
                decider = DecidedBy.CLOSED
            if allowed:
                self._debt += cost
            self._count(decider, allowed)
        retry = 0.0 if allowed else wait
        return Decision(allowed, spec.limit, left, retry, full, decider, self.name), wait if allowed else 0.0

    def charge_later(self, tokens: int) -> None:
        """Tokens that were used and that Redis could not be told of; negative: that were not used after all."""
        with self.lock:
            self._debt = max(self._debt + tokens, 0)
            if tokens < 0 and self._share is not None:
                self._share.give_back(-tokens)

    def refunded(self, taken: Taken, owed: int) -> None:
        """Tokens were given back."""
        with self.lock:
            if taken.born == self._born:
                self._known = max(self._known, taken.total)
            self._settled(owed, taken.left, taken.spec)

    def guess(self) -> Decision:
        """What is known without asking: for a look, or a count that was taken down, while Redis is away."""
        with self.lock:
            spec, left = self.spec, self._left
            decider = DecidedBy(self.policy.value)
        return Decision(
            left > 0, spec.limit, left, 0.0, (spec.burst - left) * spec.interval, decider, self.name
        )

    def learnt(self, spec: ThrottleSpec) -> None:
        """The fleet has this spec."""
        with self.lock:
            self._install(spec.wire.encode())

    def counts(self) -> dict[DecidedBy, Tally]:
        """How many checks each decider allowed and refused in this process."""
        with self.lock:
            return {decider: Tally(tally.allowed, tally.refused) for decider, tally in self.tallies.items()}

    @property
    def owed(self) -> int:
        """Tokens let pass while Redis was away and not known to be charged yet."""
        return max(self._debt - self._paid, 0)

    def back_later(self, tokens: int) -> None:
        """Tokens that were not used, and that could not be given back in time."""
        with self.lock:
            self._back += tokens

    def take_back(self) -> int:
        """What is to be given back now; the caller does it, or calls `back_later` again."""
        with self.lock:
            back, self._back = self._back, 0
        return back

    @property
    def has_news(self) -> bool:
        """Whether Redis should be told something though nobody asks."""
        return self._debt > self._paid or self._back > 0

    def beyond(self, cost: int) -> Decision | None:
        """A refusal for what the bucket never holds, while the spec this process came with would: it was set lower."""
        spec = self.spec
        if cost <= spec.burst:
            return None
        with self.lock:
            self._count(DecidedBy.LEASE if self.leased else DecidedBy.REDIS, False)
        wait = cost * spec.interval
        decider = DecidedBy.LEASE if self.leased else DecidedBy.REDIS
        return Decision(False, spec.limit, self._left, wait, wait, decider, self.name)

    # -- inside, with the lock held --------------------------------------------------------------------------

    def _settled(self, owed: int, left: int, stored: bytes) -> None:
        """Redis answered: the debt it was told of is paid, and it decides again."""
        self._paid = max(self._paid, owed)
        self._heard = awake_clock()
        self._left = left
        self._share = None
        if stored != self._stored:
            self._install(stored)

    def _install(self, stored: bytes) -> None:
        self._stored = stored
        with contextlib.suppress(
            ServerRefusedError
        ):  # another version's words: Redis goes by its numbers all the same
            self.spec = calls.stored_spec(stored)

    def _count(self, decider: DecidedBy, allowed: bool) -> None:
        tally = self.tallies[decider]
        if allowed:
            tally.allowed += 1
        else:
            tally.refused += 1
            self._refused += 1
