"""What a throttle allows: so many in so long, and how many at once. A value that parses and prints back."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass

from sharedstate.errors import InvalidNameError, InvalidThrottleError, InvalidValueError

__all__ = ["ThrottleSpec", "check_cost", "check_count", "check_throttle_name", "parse_spec"]

#: Most tokens a throttle may hold or hand out in one period.
MOST = 10**9
#: Longest period, µs: a leap year.
LONGEST = 366 * 86_400 * 10**6
#: The scripts reckon in doubles; every number of theirs stays a whole number below this, so nothing is ever rounded.
_EXACT = 1 << 52
_CENTURY = 100 * LONGEST

_UNITS = {
    "ms": 1_000,
    "s": 10**6,
    "sec": 10**6,
    "second": 10**6,
    "m": 60 * 10**6,
    "min": 60 * 10**6,
    "minute": 60 * 10**6,
    "h": 3600 * 10**6,
    "hr": 3600 * 10**6,
    "hour": 3600 * 10**6,
    "d": 86_400 * 10**6,
    "day": 86_400 * 10**6,
}
#: How a period is printed: the largest of these that divides it.
_PRINTED = (("day", 86_400 * 10**6), ("hr", 3600 * 10**6), ("min", 60 * 10**6), ("", 10**6), ("ms", 1_000))

_NUMBER = r"[0-9][0-9_,]*"
_SPEC = re.compile(
    rf"\s*(?P<limit>{_NUMBER})\s*(?:/\s*(?P<count>{_NUMBER})?\s*(?P<unit>[A-Za-z]+)?)?\s*"
    rf"(?:,\s*max_burst\s*=\s*(?P<burst>{_NUMBER})\s*)?\Z"
)
_REMEDY = (
    "write how many in how long, such as '30' (a second), '30/1', '1/60', '1,000/hr', '20/30min' or "
    "'60/min,max_burst=1'"
)
_NAME = re.compile(r"[^\x00-\x20\x7f]{1,1024}\Z")


@dataclass(frozen=True, slots=True)
class ThrottleSpec:
    """`limit` tokens in `period` µs, at most `burst` of them at once.

    The bucket holds `burst` tokens at most and refills at `limit` / `period`, so any interval of t µs sees at most
    burst + limit * t / period admissions.

    Attributes:
        limit: tokens that come back in one period.
        period: its length, µs.
        burst: capacity of the bucket, tokens; the limit unless `max_burst` says otherwise.

    Raises:
        InvalidThrottleError: a number is not positive, or beyond all use.
    """

    limit: int
    period: int
    burst: int

    def __post_init__(self) -> None:
        for noun, value in (("limit", self.limit), ("burst", self.burst)):
            if not 1 <= value <= MOST:
                raise InvalidThrottleError(f"a throttle's {noun} of {value} is not usable: give 1 to {MOST}.")
        if not 1_000 <= self.period <= LONGEST or self.period % 1_000:
            raise InvalidThrottleError(
                f"a throttle's period of {self.period / 1e6:g} s is not usable: give whole milliseconds, "
                "1 ms to 366 days."
            )
        if self._units() is None:
            raise InvalidThrottleError(
                f"a throttle of {self.limit} in {self.period / 1e6:g} s with a burst of {self.burst} cannot be "
                "reckoned exactly: give a limit that divides the period evenly, or a smaller burst."
            )

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.limit * 1e6 / self.period

    @property
    def interval(self) -> float:
        """Seconds until one more token comes back."""
        return self.period / 1e6 / self.limit

    @property
    def wire(self) -> str:
        """What the scripts reckon with: units that come back in a tick, units of a token, µs of a tick, burst, text."""
        units = self._units()
        assert units is not None, "checked when the spec was made"
        refill, cost, tick = units
        return f"{refill} {cost} {tick} {self.burst} {self}"

    def _units(self) -> tuple[int, int, int] | None:
        """Whole units that make refilling exact: (units a tick, units a token, µs a tick).

        A tick of 1 µs serves all but odd rates with large bursts over long periods (999,983 a day); those are
        reckoned in coarser ticks, whose remainder is carried, not lost.
        """
        for tick in (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000):
            if self.period % tick:
                break
            period = self.period // tick
            shared = math.gcd(self.limit, period)
            refill, cost = self.limit // shared, period // shared
            # Times come back as 64-bit numbers of µs: a bucket that takes a century to fill is no throttle.
            if self.burst * cost + refill < _EXACT and self.burst * self.period // self.limit < _CENTURY:
                return refill, cost, tick
        return None

    def __str__(self) -> str:
        unit, size = next((unit, size) for unit, size in _PRINTED if self.period % size == 0)
        count = self.period // size
        period = unit if count == 1 and unit else f"{count}{unit}"
        burst = "" if self.burst == self.limit else f",max_burst={self.burst}"
        return f"{self.limit}/{period}{burst}"


@functools.lru_cache(maxsize=65_536)
def parse_spec(text: str) -> ThrottleSpec:
    """Parse a spec: ``N``, ``N/S``, ``N/unit`` or ``N/Munit``, then ``,max_burst=B`` if wished.

    A number may be grouped by ``,`` or ``_``. Units: ms, s, min, hr, day and their longer forms.

    Raises:
        InvalidThrottleError: it is none of these; zero, negative and absurd numbers are refused.
    """
    match = _SPEC.match(text) if isinstance(text, str) and len(text) <= 100 else None
    if match is None:
        raise InvalidThrottleError(f"{str(text)[:60]!r} is not a throttle: {_REMEDY}.")
    unit = (match["unit"] or "s").lower()
    size = _UNITS.get(unit) or _UNITS.get(unit.removesuffix("s"))
    if size is None:
        raise InvalidThrottleError(
            f"{text!r} is not a throttle: {match['unit']!r} is no unit of time; use ms, s, min, hr or day."
        )
    slash = "/" in text
    if slash and match["count"] is None and match["unit"] is None:
        raise InvalidThrottleError(f"{text!r} is not a throttle: nothing stands after the slash; {_REMEDY}.")
    limit = _whole(match["limit"])
    count = _whole(match["count"]) if match["count"] else 1
    burst = _whole(match["burst"]) if match["burst"] else limit
    for noun, value in (("number", limit), ("period", count), ("max_burst", burst)):
        if value < 1:
            raise InvalidThrottleError(f"{text!r} is not a throttle: its {noun} is zero; {_REMEDY}.")
    try:
        return ThrottleSpec(limit, count * size, burst)
    except InvalidThrottleError as error:
        raise InvalidThrottleError(f"{text!r}: {error}") from None


def _whole(digits: str) -> int:
    return int(re.sub(r"[,_]", "", digits))


def check_throttle_name(name: str) -> str:
    """Return `name` if it can be a throttle's: 1 to 1024 characters, no blanks or control characters.

    Raises:
        InvalidNameError: it cannot.
    """
    if not isinstance(name, str) or not _NAME.match(name) or not name.isprintable():
        raise InvalidNameError(
            f"throttle name {str(name)[:60]!r} is not usable: 1 to 1024 printable characters without blanks."
        )
    return name


def check_count(n: object, name: str) -> None:
    """Whether n can be counted.

    Raises:
        InvalidValueError: not a positive whole number.
    """
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= MOST:
        raise InvalidValueError(f"throttle {name!r} takes a whole number of at least 1, not {n!r}.")


def check_cost(cost: object, offered: ThrottleSpec, spec: ThrottleSpec, name: str) -> None:
    """Whether a throttle could ever allow this many tokens at once: by the spec offered, or the one in force.

    Raises:
        InvalidValueError: not a positive whole number, or more than the bucket holds.
    """
    check_count(cost, name)
    assert isinstance(cost, int)
    if cost > max(spec.burst, offered.burst):
        raise InvalidValueError(
            f"throttle {name!r} ({spec}) never has {cost} tokens at once: ask for at most {spec.burst}, or raise "
            "max_burst."
        )
