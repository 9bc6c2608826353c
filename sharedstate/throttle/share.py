"""What decides while Redis is away: this process's share of a throttle, in its own memory."""

from __future__ import annotations

from .spec import ThrottleSpec

__all__ = ["Share"]


class Share:
    """A token bucket with one member's share of the rate and capacity. Not thread-safe: its owner holds a lock.

    Args:
        spec: the fleet's throttle.
        members: among how many it is shared.
        left: tokens the fleet's bucket had when it was last seen; this member starts with its share of them.
        now: seconds on the clock that `take` is given.
    """

    __slots__ = ("_capacity", "_level", "_rate", "_since")

    def __init__(self, spec: ThrottleSpec, members: int, left: float, now: float) -> None:
        share = 1 / max(members, 1)
        self._rate = spec.rate * share
        self._capacity = max(spec.burst * share, 1.0)
        self._level = min(max(left, 0.0) * share, self._capacity)
        self._since = now

    @property
    def left(self) -> int:
        """Whole tokens left, negative when some are promised ahead."""
        return int(self._level // 1)

    def take(self, cost: int, now: float, longest: float = 0.0) -> tuple[bool, float]:
        """Take tokens if they are there, or will be within `longest` seconds.

        Returns:
            Whether they were taken, and the seconds until they are there.
        """
        # A cost beyond the share must not be refused for ever: the level may rise to it.
        capacity = max(self._capacity, float(cost))
        self._level = min(self._level + max(now - self._since, 0.0) * self._rate, capacity)
        self._since = now
        wait = max(cost - self._level, 0.0) / self._rate
        if wait > longest:
            return False, wait
        self._level -= cost
        return True, wait

    def give_back(self, tokens: int) -> None:
        """Tokens that were taken and not used."""
        self._level = min(self._level + tokens, self._capacity)

    def full_in(self) -> float:
        """Seconds until it is full."""
        return max(self._capacity - self._level, 0.0) / self._rate
