"""A breaker for each Redis primary: a server that hangs costs one caller its deadline, not every caller.

The first question that a server leaves unanswered opens its breaker: for a pause nobody asks it, and every caller
falls back to its policy at once. After the pause one caller at a time is let through to probe. Its success closes the
breaker, its failure makes the next pause twice as long, up to a bound.

No I/O, no thread and no timer: callers ask before (`allow`) and tell afterwards (`ok`, `failed`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable

__all__ = ["Breaker"]

#: The first pause and the longest one, seconds.
PAUSES = (0.1, 2.0)
#: A probe that tells nothing for this long (its caller was cancelled or died) makes way for another, seconds.
PROBE_LIMIT = 2.0
#: A server nobody has asked for this long is forgotten, seconds: addresses come and go with failovers.
FORGET_AFTER = 60.0


class _Trouble:
    """One server that did not answer.

    Attributes:
        pause: seconds it is left alone for, this time.
        until: when the pause, or the time of the probe under way, is over.
        probing: a caller was let through and has told nothing yet.
    """

    __slots__ = ("pause", "probing", "until")

    def __init__(self, pause: float, until: float) -> None:
        self.pause = pause
        self.until = until
        self.probing = False


class Breaker:
    """Who may be asked. Safe to use from many threads; while all is well `allow` and `ok` are one dict lookup each.

    Only a question without any answer is a failure (nobody there, or nothing before the deadline): a server that
    answers an error is well enough to be asked again.

    Args:
        clock: monotonic seconds.
        pauses: the first pause and the longest one, seconds.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, pauses: tuple[float, float] = PAUSES
    ) -> None:
        self._clock = clock
        self._first, self._longest = pauses
        self._lock = threading.Lock()
        self._troubles: dict[Hashable, _Trouble] = {}
        #: How often a server's breaker opened after having been closed.
        self.opened = 0

    def allow(self, address: Hashable) -> bool:
        """Whether this caller may ask the server now. Whoever may then tells what came of it: `ok` or `failed`.

        Args:
            address: the server; anything hashable, None for "nobody serves this".
        """
        if address not in self._troubles:
            return True
        with self._lock:
            trouble = self._troubles.get(address)
            if trouble is None:
                return True
            now = self._clock()
            if now < trouble.until:
                return False
            trouble.probing = True
            trouble.until = now + PROBE_LIMIT
            return True

    def ok(self, address: Hashable) -> None:
        """The server answered: everybody may ask it again."""
        if address in self._troubles:
            with self._lock:
                self._troubles.pop(address, None)

    def failed(self, address: Hashable) -> None:
        """The server left a question without an answer."""
        with self._lock:
            now = self._clock()
            trouble = self._troubles.get(address)
            if trouble is None:
                self._forget(now)
                self._troubles[address] = _Trouble(self._first, now + self._first)
                self.opened += 1
            elif trouble.probing or now >= trouble.until:
                trouble.pause = min(trouble.pause * 2, self._longest)
                trouble.until = now + trouble.pause
                trouble.probing = False
            # Else it is late news of the failure that opened it: callers that were under way at that time.

    def wait(self, address: Hashable) -> float:
        """Seconds until the server may be asked again, 0 when it may now: a hint for whoever was sent away."""
        trouble = self._troubles.get(address)
        return 0.0 if trouble is None else max(trouble.until - self._clock(), 0.0)

    def _forget(self, now: float) -> None:
        for address in [who for who, what in self._troubles.items() if now > what.until + FORGET_AFTER]:
            del self._troubles[address]
