"""A series that stays in this process (replicate none): the same windows and questions, no Redis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from sharedstate import cidr
from sharedstate.errors import ClosedError, InvalidValueError
from sharedstate.names import parse_block

from . import sketch
from .clock import ServerClock
from .series import Monitor, SeriesSpec, SeriesType
from .sketch import Durations
from .store import check_count

__all__ = ["LocalSeries"]

T = TypeVar("T")


class LocalSeries:
    """One process's own series. Safe to use from many threads; memory grows with the distinct keys of its windows.

    Args:
        spec: the series.
        clock: the server's clock, so that windows end when the fleet's do.
    """

    def __init__(self, spec: SeriesSpec, clock: ServerClock) -> None:
        self.spec = spec
        self._clock = clock
        self._lock = threading.Lock()
        self._closed: str | None = None
        self._windows: dict[tuple[int, int], dict[bytes, int]] = {}

    def add(self, key: str, count: int = 1) -> None:
        """Count something, now.

        Raises:
            InvalidValueError: the key is not one of this series, or the count no whole number.
            ClosedError: the state was closed.
        """
        field = self.spec.field(key)
        check_count(count)
        if self.spec.type is SeriesType.TIME:
            raise InvalidValueError(f"series {self.spec.name!r} counts durations: use add_seconds().")
        fields = [*cidr.levels(field), field] if self.spec.type.is_cidr else [field]
        self._count(dict.fromkeys(fields, count))

    def add_seconds(self, key: str, seconds: float) -> None:
        """Count a duration, now; for series of type time."""
        if self.spec.type is not SeriesType.TIME:
            raise InvalidValueError(
                f"series {self.spec.name!r} has type {self.spec.type}, not time: use add()."
            )
        name = self.spec.field(key)
        bucket, micros = sketch.bucket_of(seconds)
        self._count({sketch.COUNTS + name + bucket: 1, sketch.SUM + name: micros})

    def check(self, key: str) -> None:
        """Raise what add would raise for this key, without counting."""
        self.spec.field(key)

    def close(self, reason: str) -> None:
        """Refuse every later change with ClosedError."""
        self._closed = reason

    def counts(self, key: str, monitor: Monitor, windows: range) -> list[int]:
        """Count of a key or block in each of some windows."""
        if self.spec.type.is_cidr:
            block = parse_block(key)
            self.spec.check_family(block.family, key)
            fields = cidr.block_fields(block)
        else:
            fields = [self.spec.field(key)]
        return self._read(monitor, windows, lambda found: sum(found.get(field, 0) for field in fields))

    def durations(self, key: str, monitor: Monitor, windows: range) -> list[Durations]:
        """Durations of a key in each of some windows."""
        name = self.spec.field(key)
        head = sketch.COUNTS + name

        def sketch_of(found: dict[bytes, int]) -> Durations:
            buckets = {
                field[-2:]: count
                for field, count in found.items()
                if field.startswith(head) and len(field) == len(head) + 2
            }
            return Durations.of(buckets, found.get(sketch.SUM + name, 0))

        return self._read(monitor, windows, sketch_of)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._windows.clear()

    def remove(self, key: str, monitors: Sequence[Monitor]) -> int:
        """Take a key out of every window of some monitors; returns its count in all windows of the first."""
        removed = 0
        for monitor in monitors:
            for window in range(monitor.count):
                (count,) = self.counts(key, monitor, range(window, window + 1))
                removed += count if monitor == monitors[0] else 0
                field = self.spec.field(key)
                with self._lock:
                    number = int(self._clock.now() // monitor.interval) - window
                    found = self._windows.get((monitor.interval, number), {})
                    for one in [*cidr.levels(field), field] if self.spec.type.is_cidr else [field]:
                        if one in found:
                            found[one] -= count
        return removed

    def _count(self, changes: dict[bytes, int]) -> None:
        with self._lock:
            if self._closed is not None:
                _refuse(self._closed)
            now = self._clock.now()
            for monitor in self.spec.monitors:
                place = (monitor.interval, int(now // monitor.interval))
                found = self._windows.get(place)
                if found is None:
                    oldest = place[1] - monitor.count - 1  # one more, for smoothed counts
                    for known in [key for key in self._windows if key[0] == place[0] and key[1] <= oldest]:
                        del self._windows[known]
                    found = self._windows[place] = {}
                for field, change in changes.items():
                    found[field] = found.get(field, 0) + change

    def _read(self, monitor: Monitor, windows: range, of: Callable[[dict[bytes, int]], T]) -> list[T]:
        with self._lock:
            current = int(self._clock.now() // monitor.interval)
            return [of(self._windows.get((monitor.interval, current - window), {})) for window in windows]


def _refuse(reason: str) -> NoReturn:
    raise ClosedError(reason)
