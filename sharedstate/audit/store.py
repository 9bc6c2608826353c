"""What a member has counted and Redis does not have yet. No I/O here.

`SeriesStore.add` changes one dict under a short lock. `fold` takes what was added and lays it into *chains*: one for
each shard of each monitor. A chain numbers its batches. A batch whose answer is missing stays as it is and is sent
again under its number, for its changes must be applied once and not twice; one that is acknowledged goes into a log,
from which a server that forgot it (a failover, FLUSHALL) gets it again.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sharedstate.clock import awake_clock
from sharedstate.closing import ClosedLock
from sharedstate.errors import InvalidValueError

from . import sketch
from .chain import Chain, Changes
from .clock import ServerClock
from .places import address_entries
from .series import Monitor, SeriesSpec, SeriesType
from .sketch import SUM

__all__ = ["AuditMetrics", "SeriesStore", "check_count"]

#: Changes that may wait in one series; beyond it the oldest are merged into coarser keys.
WAITING_LIMIT = 1_000_000
#: Changes in acknowledged batches that one series keeps for a server that forgets.
LOG_LIMIT = 500_000
#: Seconds after its end from which on what comes into a window is late: an export waits no longer unless told to.
LATE = 10.0
#: Texts whose fields are kept ready; beyond it the cache starts anew.
_FIELD_CACHE = 65_536
#: No event counts for more, so that no sum of them comes near what a server's numbers hold exactly.
_LARGEST = 1 << 40


@dataclass(slots=True)
class AuditMetrics:
    """What became of the events counted; plain numbers, read them at any time.

    Attributes:
        published: changes acknowledged by Redis (an address is one in each of its trees).
        resent: batches sent again, because their answer was missing or a server had forgotten them.
        dropped: events that could not be published before their window was over for good.
        late: events whose window had ended `LATE` seconds before they were published; an export may have missed them.
        merged: changes merged into coarser keys because too many waited; totals stay right.
        possibly_lost: changes a server forgot that were not in the log any more.
    """

    published: int = 0
    resent: int = 0
    dropped: int = 0
    late: int = 0
    merged: int = 0
    possibly_lost: int = 0


class SeriesStore:
    """One member's part of one series. Safe to use from many threads.

    Args:
        spec: the series.
        clock: the server's clock.
        wake: called when a first change waits, and again when max_pending do.
        metrics: where to count.
        max_delay: seconds a change may wait before it is published.
        max_pending: events after which it is published without waiting.
    """

    def __init__(
        self,
        spec: SeriesSpec,
        clock: ServerClock,
        wake: Callable[[], None],
        metrics: AuditMetrics,
        max_delay: float = 1.0,
        max_pending: int = 100,
    ) -> None:
        self.spec = spec
        self.max_delay = max_delay
        self.max_pending = max_pending
        self.pending = 0
        self.chains = {
            (monitor.interval, shard): Chain(spec, monitor, shard)
            for monitor in spec.monitors
            for shard in range(spec.shards)
        }
        self._clock = clock
        self._wake = wake
        self._metrics = metrics
        self._lock: threading.Lock | ClosedLock = threading.Lock()
        self._fields: dict[str, bytes] = {}
        self._counts: dict[bytes, int] = {}
        self._ended: list[tuple[float, dict[bytes, int]]] = []  # of windows that ended since the last fold
        self._when = 0.0  # server time within the window that _counts belongs to
        self._until = 0.0  # when to look at the clock again, by `awake_clock`
        self._homes: dict[bytes, int] = {}
        self._log_size = 0

    def add(self, key: str, count: int = 1) -> None:
        """Count something, now. No I/O; published after max_delay or max_pending at the latest.

        Raises:
            InvalidValueError: the key is not one of this series, or the count no whole number; nothing was counted.
            ClosedError: the state was closed.
        """
        field = self._fields.get(key)
        if field is None:
            field = self._intern(key)
        if count != 1:
            check_count(count)
        with self._lock:
            if awake_clock() >= self._until:
                self._look_at_clock()
            counts = self._counts
            counts[field] = counts.get(field, 0) + count
            self.pending += 1
            if self.pending == 1 or self.pending == self.max_pending:
                self._wake()

    def add_seconds(self, key: str, seconds: float) -> None:
        """Count a duration, now; for series of type time. No I/O.

        Raises:
            InvalidValueError: the key is not one of this series, or the duration negative or no number.
            ClosedError: the state was closed.
        """
        if self.spec.type is not SeriesType.TIME:
            raise InvalidValueError(
                f"series {self.spec.name!r} has type {self.spec.type}, not time: use add()."
            )
        name = self.spec.field(key)
        bucket, micros = sketch.bucket_of(seconds)
        total, place = SUM + name, sketch.COUNTS + name + bucket
        with self._lock:
            if awake_clock() >= self._until:
                self._look_at_clock()
            counts = self._counts
            counts[place] = counts.get(place, 0) + 1
            counts[total] = counts.get(total, 0) + micros
            self.pending += 1
            if self.pending == 1 or self.pending == self.max_pending:
                self._wake()

    def put(self, monitor: Monitor, window: int, changes: dict[bytes, int]) -> None:
        """Lay changes to a given window of one monitor straight into the chains: corrections by hand."""
        self._lay(monitor.interval, window, changes)

    def check(self, key: str) -> None:
        """Raise what add would raise for this key, without counting."""
        self.spec.field(key)

    def close(self, reason: str) -> None:
        """Refuse every later change with ClosedError."""
        self._lock = ClosedLock(reason)

    def _intern(self, key: str) -> bytes:
        field = self.spec.field(key)
        if self.spec.type is SeriesType.TIME:
            raise InvalidValueError(f"series {self.spec.name!r} counts durations: use add_seconds().")
        if len(self._fields) >= _FIELD_CACHE:
            self._fields = {}
        self._fields[key] = field
        return field

    def _look_at_clock(self) -> None:
        """Begin a new dict when a window of any monitor ended. Called twice a second and at each edge."""
        now = self._clock.now()
        edge = min((now // m.interval + 1) * m.interval for m in self.spec.monitors)
        if any(now // m.interval != self._when // m.interval for m in self.spec.monitors):
            if self._counts:
                self._ended.append((self._when, self._counts))
            self._counts = {}
            self._when = now
        self._until = awake_clock() + min(edge - now, 0.5)

    # -- for the publisher, which is one thread ---------------------------------------------------------------------

    def fold(self) -> None:
        """Lay what was added so far into the chains."""
        lock = self._lock
        if isinstance(lock, ClosedLock):
            taken = self._ended
            if self._counts:
                taken.append((self._when, self._counts))
            self._ended, self._counts, self.pending = [], {}, 0
        else:
            with lock:
                taken = self._ended
                if self._counts:
                    taken.append((self._when, self._counts))
                self._ended, self._counts, self.pending = [], {}, 0
        for when, counts in taken:
            for monitor in self.spec.monitors:
                self._lay(monitor.interval, int(when // monitor.interval), counts)
        now_ms = self._clock.now() * 1000
        for chain in self.chains.values():
            if chain.log or chain.waiting:
                logged, dropped = chain.prune(now_ms)
                self._log_size -= logged
                self._metrics.dropped += dropped
        self._bound_waiting()

    def _lay(self, interval: int, window: int, counts: dict[bytes, int]) -> None:
        homes, shards = self._homes, self.spec.shards
        targets: list[Changes | None] = [None] * shards
        if len(homes) > _FIELD_CACHE:
            homes.clear()
        for root, key, change in self._entries(counts):
            shard = homes.get(root)
            if shard is None:
                shard = homes[root] = (
                    zlib.crc32(root if self.spec.type is not SeriesType.TIME else root[1:]) % shards
                )
            changes = targets[shard]
            if changes is None:
                changes = targets[shard] = self.chains[interval, shard].waiting.setdefault(window, {})
            found = changes.get(root)
            if found is None:
                changes[root] = {key: change}
            else:
                found[key] = found.get(key, 0) + change

    def _entries(self, counts: dict[bytes, int]) -> Iterator[tuple[bytes, bytes, int]]:
        if self.spec.type.is_cidr:
            for field, change in counts.items():
                for root, key in address_entries(field):
                    yield root, key, change
        elif self.spec.type is SeriesType.TIME:
            for field, change in counts.items():
                yield (field, b"", change) if field[:1] == SUM else (field[:-2], field[-2:], change)
        else:
            for field, change in counts.items():
                yield field, b"", change

    def _bound_waiting(self) -> None:
        waiting = sum(chain.waiting_changes() for chain in self.chains.values() if chain.waiting)
        for zeroed in (1, 2, 8, 10, 12) if waiting > WAITING_LIMIT else ():
            chains = list(self.chains.values())
            oldest = sorted(
                (self.spec.ends(chain.monitor, window), number, window)
                for number, chain in enumerate(chains)
                for window in chain.waiting
            )
            for _, number, window in oldest:
                if waiting <= WAITING_LIMIT:
                    return
                merged = chains[number].merge(window, zeroed)
                waiting -= merged
                self._metrics.merged += merged

    @property
    def due(self) -> bool:
        """Whether folded changes wait for being sent."""
        return any(chain.due for chain in self.chains.values())

    def acknowledged(self, chain: Chain) -> None:
        """A batch was added to this chain's log: keep the logs of the series within their bound."""
        self._log_size += chain.log[-1].size
        while self._log_size > LOG_LIMIT:
            longest = max(self.chains.values(), key=lambda one: len(one.log))
            self._log_size -= longest.forget_oldest()


def check_count(count: object) -> None:
    """Raise InvalidValueError if this is no whole number that can be counted."""
    if not isinstance(count, int) or isinstance(count, bool) or not -_LARGEST < count < _LARGEST:
        raise InvalidValueError(f"a count is a whole number of less than 2^40, not {count!r}.")
