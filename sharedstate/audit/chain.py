"""A chain: the numbered batches of one member for one shard of one monitor's windows. No I/O here.

A batch keeps its number and its changes until the server has answered it, and then stays in a log for as long as its
window counts and the memory for it lasts, for the server may forget it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from sharedstate.names import V4

from .packed import EXACT, pack_changes
from .series import MERGED, Monitor, SeriesSpec, SeriesType
from .sketch import SUM

__all__ = ["Batch", "Chain", "Changes"]

#: Changes one batch may carry: bounds the time the server is busy with it to some milliseconds.
BATCH_LIMIT = 1000

#: A chain's changes to one window: number fields (key b"") and trees (key within the tree), by field.
Changes = dict[bytes, dict[bytes, int]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes to one window in one shard under one number.

    Attributes:
        number: its place in the chain.
        window: the window.
        args: fields and packed changes, as sent.
        size: how many changes.
        events: how many events they stand for, where the chain is the one that counts them.
    """

    number: int
    window: int
    args: tuple[bytes, ...]
    size: int
    events: int


@dataclass(slots=True)
class Chain:
    """The batches of one member for one shard of one monitor's windows."""

    spec: SeriesSpec
    monitor: Monitor
    shard: int
    waiting: dict[int, Changes] = field(default_factory=dict)
    believed: int = 0  # the last number the server has, as far as is known
    sent: int = 0
    log: deque[Batch] = field(default_factory=deque)
    _out: Batch | None = None  # sent or about to be, not acknowledged
    _again: deque[Batch] = field(default_factory=deque)  # acknowledged once, forgotten by the server
    _given_up: deque[Batch] = field(default_factory=deque)  # too old for the log, without their changes

    @property
    def due(self) -> bool:
        """Whether there is something to send."""
        return bool(self._again or self._out or self.waiting)

    def over(self, window: int, now_ms: float) -> bool:
        """Whether a window does not count any more."""
        return self.spec.ends(self.monitor, window) <= now_ms

    def next(self) -> Batch:
        """The batch to send now; the same again until it is settled."""
        if self._again:
            return self._again[0]
        if self._out is None:
            self._out = self._cut()
        return self._out

    def _cut(self) -> Batch:
        window = min(self.waiting)
        changes = self.waiting[window]
        args: list[bytes] = []
        size = events = 0
        while changes and size < BATCH_LIMIT:
            root, found = changes.popitem()
            if len(found) > BATCH_LIMIT - size:
                part = dict(list(found.items())[: BATCH_LIMIT - size])
                changes[root] = {key: change for key, change in found.items() if key not in part}
                found = part
            size += len(found)
            events += _events(self.spec, root, found)
            args += (root, _packed(self.spec, found))
        if not changes:
            del self.waiting[window]
        self.sent += 1
        return Batch(self.sent, window, tuple(args), size, events)

    def applied(self, batch: Batch, last: int) -> bool:
        """The server has this batch; returns whether it is so for the first time."""
        self.believed = max(batch.number, last if last <= self.sent else 0)
        if self._again and self._again[0] is batch:
            self._again.popleft()
            return False
        if self._out is batch:
            self._out = None
            self.log.append(batch)
            return True
        return False

    def refused(self, batch: Batch) -> bool:
        """The server says that the window is over; returns whether the batch was never applied."""
        first = self.applied(batch, batch.number)
        if first:
            self.log.pop()
        return first

    def reconcile(self, last: int, now_ms: float) -> tuple[int, int]:
        """The server's last number is `last`: send again what it forgot.

        Returns:
            How many batches will go again, and how many changes it forgot that are not in the log any more.
        """
        if last >= self.believed:
            self.believed = last
            return 0, 0
        self.believed = last
        self._again = deque(
            batch for batch in self.log if batch.number > last and not self.over(batch.window, now_ms)
        )
        lost = sum(
            batch.size
            for batch in self._given_up
            if batch.number > last and not self.over(batch.window, now_ms)
        )
        self._given_up = deque(batch for batch in self._given_up if batch.number <= last)
        return len(self._again), lost

    def forget_oldest(self) -> int:
        """Take the oldest batch out of the log to save memory; returns its changes."""
        batch = self.log.popleft()
        self._given_up.append(Batch(batch.number, batch.window, (), batch.size, batch.events))
        return batch.size

    def prune(self, now_ms: float) -> tuple[int, int]:
        """Forget what belongs to windows that are over; returns changes taken from the log, events dropped."""
        logged = dropped = 0
        while self.log and self.over(self.log[0].window, now_ms):
            logged += self.log.popleft().size
        while self._given_up and self.over(self._given_up[0].window, now_ms):
            self._given_up.popleft()
        for window in [window for window in self.waiting if self.over(window, now_ms)]:
            for root, found in self.waiting.pop(window).items():
                dropped += _events(self.spec, root, found)
        return logged, dropped

    def waiting_changes(self) -> int:
        """Changes that were not sent yet."""
        return sum(len(found) for changes in self.waiting.values() for found in changes.values())

    def merge(self, window: int, zeroed: int) -> int:
        """Make the keys that wait for a window coarser; returns how many fewer there are.

        Args:
            window: the window.
            zeroed: how many trailing bytes of an address lose their meaning; any number for strings.
        """
        changes = self.waiting[window]
        before = sum(map(len, changes.values()))
        if self.spec.type.is_cidr:
            for root, found in changes.items():
                if _is_address_tree(root) and (root[:1] == V4 or zeroed >= 8):
                    merged: dict[bytes, int] = {}
                    changes[root] = merged
                    for key, change in found.items():
                        coarse = key[: max(len(key) - zeroed, 0)].ljust(len(key), b"\0")
                        merged[coarse] = merged.get(coarse, 0) + change
        elif self.spec.type is SeriesType.STRING:
            total = sum(change for found in changes.values() for change in found.values())
            changes.clear()
            changes[MERGED.encode()] = {b"": total}
        return before - sum(map(len, changes.values()))


def _is_address_tree(root: bytes) -> bool:
    return len(root) == (3 if root[:1] == V4 else 5)


def _events(spec: SeriesSpec, root: bytes, found: dict[bytes, int]) -> int:
    """Events that some changes stand for: of addresses those of the address tree, not the sums of blocks."""
    if spec.type.is_cidr and not _is_address_tree(root):
        return 0
    if spec.type is SeriesType.TIME and root[:1] == SUM:
        return 0
    return sum(map(abs, found.values()))


def _packed(spec: SeriesSpec, found: dict[bytes, int]) -> bytes:
    key = next(iter(found))
    for key, change in found.items():
        if not -EXACT <= change <= EXACT:
            found[key] = EXACT if change > 0 else -EXACT
    if not key:
        return b"%d" % found[key]
    return pack_changes(found, len(key), whole=not spec.type.is_cidr)
