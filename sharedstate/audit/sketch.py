"""Durations as a DDSketch: mergeable by adding, quantiles to 1 % of their value.

The scheme is that of DDSketch (Masson, Rim and Lee, VLDB 2019) with relative accuracy alpha = 0.01: bucket i counts
values in (gamma^(i-1), gamma^i], gamma = (1 + alpha) / (1 - alpha), so any two sketches add bucket by bucket, over
nodes and windows, and nothing is lost. Values are clamped to 1 microsecond and 1 year. The exact sum is kept beside
it, for the mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sharedstate.errors import InvalidValueError

__all__ = ["COUNTS", "SUM", "Durations", "bucket_of"]

#: First byte of the fields that hold a key's buckets, and its sum in microseconds.
COUNTS, SUM = b"q", b"s"

_ALPHA = 0.01
_GAMMA = (1 + _ALPHA) / (1 - _ALPHA)
_LOG_GAMMA = math.log(_GAMMA)
_LEAST, _MOST = 1e-6, 366 * 86_400.0
_OFFSET = 1024  # bucket numbers are stored as two bytes without a sign


def bucket_of(seconds: float) -> tuple[bytes, int]:
    """Key of the bucket of a duration, and the duration in whole microseconds.

    Raises:
        InvalidValueError: it is negative or no number.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf:
        raise InvalidValueError(f"a duration is a number of seconds that is not negative, not {seconds!r}.")
    seconds = min(seconds, _MOST)
    index = math.ceil(math.log(max(seconds, _LEAST)) / _LOG_GAMMA)
    return (index + _OFFSET).to_bytes(2), round(seconds * 1e6)


@dataclass(frozen=True, slots=True)
class Durations:
    """Durations of one key, added up over windows, nodes or both.

    Attributes:
        count: how many.
        total: their sum in seconds, to the microsecond each.
        buckets: bucket number to how many.
    """

    count: int
    total: float
    buckets: Mapping[int, int]

    @classmethod
    def of(cls, buckets: Mapping[bytes, int], micros: int) -> Durations:
        """From what is stored."""
        found = {int.from_bytes(key) - _OFFSET: count for key, count in sorted(buckets.items()) if count}
        return cls(sum(found.values()), micros / 1e6, found)

    def __add__(self, other: Durations) -> Durations:
        """Both together."""
        buckets = dict(self.buckets)
        for index, count in other.buckets.items():
            buckets[index] = buckets.get(index, 0) + count
        return Durations(self.count + other.count, self.total + other.total, dict(sorted(buckets.items())))

    @property
    def mean(self) -> float:
        """Mean in seconds; 0.0 of none."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """Seconds that this share (0 to 1) of the durations did not exceed, to 1 % of the value; 0.0 of none.

        Raises:
            InvalidValueError: the share is not between 0 and 1.
        """
        if not 0 <= share <= 1:
            raise InvalidValueError(f"a quantile is asked by a share from 0 to 1, not {share!r}.")
        rank, seen = max(math.ceil(share * self.count), 1), 0
        for index, count in self.buckets.items():
            seen += count
            if seen >= rank:
                return 2 * _GAMMA**index / (_GAMMA + 1)
        return 0.0
