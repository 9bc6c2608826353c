"""What a member has to say in one shard: what is to be published, what was, and what must be sent again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

from sharedstate.objects.gauge import PUBLISH_LIMIT
from sharedstate.objects.takes import ShardTakes

__all__ = ["Shard"]

#: Fields of acknowledged batches a shard keeps, to send again what a failover forgot.
_LOG_FIELDS = 20_000


class Shard:
    """What one member has to say in one shard: absolute values, and how far the server is known to have them.

    `takes` is there when slots are taken of the shard's items; then `batch` and whatever settles one are called under
    the lock of the member's `TakeBoard`.
    """

    __slots__ = ("_below", "_log", "_logged", "acknowledged", "dirty", "index", "sent", "takes", "values")

    def __init__(self, index: int) -> None:
        self.index = index
        self.values: dict[bytes, int] = {}
        self._below: dict[bytes, int] = {}  # block -> remembered addresses in it
        # Changed fields; True for one that this incarnation never sent, which may be forgotten without a word.
        self.dirty: dict[bytes, bool] = {}
        self.acknowledged = 0
        self.sent = 0
        self.takes: ShardTakes | None = None
        self._log: deque[tuple[int, tuple[bytes, ...]]] = deque()
        self._logged = 0

    def fold(self, field: bytes, count: int | None) -> tuple[int, int]:
        """Take over an item's count (None: forgotten); returns by how much the count and the items grew."""
        old = self.values.get(field)
        if count is None:
            if old is None:
                return 0, 0
            self._drop(field)
        else:
            self.values[field] = count
            if field not in self.dirty:
                self.dirty[field] = old is None
        return (count or 0) - (old or 0), (count is not None) - (old is not None)

    def add(self, block: bytes, change: int, known: int) -> None:
        """Add the change of addresses to a block they are in; `known` is by how many more of them are remembered."""
        if known:
            below = self._below.get(block, 0) + known
            if not below:
                del self._below[block]
                self._drop(block)
                return
            self._below[block] = below
        old = self.values.get(block)
        self.values[block] = (old or 0) + change
        if block not in self.dirty:
            self.dirty[block] = old is None

    def _drop(self, field: bytes) -> None:
        del self.values[field]
        if self.dirty.get(field):
            del self.dirty[field]  # the server has never heard of it
        else:
            self.dirty[field] = False

    def batch(
        self, truth: Callable[[list[bytes]], Iterable[tuple[bytes, int | None]]] | None = None
    ) -> tuple[int, dict[bytes, int | None]]:
        """Next changed fields to send (they stay changed until acknowledged) under a new sequence.

        Args:
            truth: tells the member's counts as they are now (None: forgotten), where they may be newer than what was
                folded: a slot taken since must not be published away. None for what was folded.
        """
        takes = self.takes
        if takes is not None and takes.taking:
            fields: list[bytes] = []
            for field in self.dirty:
                if field in takes.taking:
                    takes.want(field)
                    continue
                fields.append(field)
                if len(fields) == PUBLISH_LIMIT:
                    break
            if not fields:
                return self.sent, {}
        else:
            fields = list(islice(self.dirty, PUBLISH_LIMIT))
        if truth is not None:
            for field, count in truth(fields):
                # What was sent is what a later fold compares with.
                if count is None:
                    self.values.pop(field, None)
                else:
                    self.values[field] = count
        self.sent += 1
        if len(fields) == len(self.dirty):
            self.dirty = {}
        else:
            for field in fields:
                del self.dirty[field]
        batch = dict(zip(fields, map(self.values.get, fields), strict=True))
        if takes is not None:
            takes.sent(self.sent, batch)
        return self.sent, batch

    def applied(self, sequence: int, batch: dict[bytes, int | None]) -> None:
        """The server has this batch."""
        self.acknowledged = sequence
        self._log.append((sequence, tuple(batch)))
        self._logged += len(batch)
        while self._logged > _LOG_FIELDS and len(self._log) > 1:
            self._logged -= len(self._log.popleft()[1])
        if self.takes is not None:
            self.takes.landed(batch)

    def failed(self, batch: dict[bytes, int | None], *, late: bool = True) -> None:
        """The server does not have this batch, or nobody knows: its fields go again, in the next.

        Args:
            late: whether it may still arrive there.
        """
        self.dirty.update(dict.fromkeys(batch, False))
        if self.takes is not None:
            self.takes.failed(batch, late=late)

    def reconcile(self, last: int) -> bool:
        """The server's last applied sequence is `last`. Returns False when what it forgot is not known any more."""
        if last == self.acknowledged:
            return True
        if self.takes is not None:
            # Whatever is still under way was sent for another state of the registry and is refused there.
            self.takes.late = False
        if last > self.acknowledged:  # applied, the answer was lost; its fields were marked by failed()
            self.acknowledged = last
            return last <= self.sent
        if not last or not self._log or self._log[0][0] > last + 1:
            # Sequences of batches that failed are missing from the log; only the first entry tells how far it reaches.
            return False
        for sequence, fields in self._log:
            if sequence > last:
                self.dirty.update(dict.fromkeys(fields, False))
                if self.takes is not None:
                    self.takes.forgot(fields)
        self.acknowledged = last
        return True

    def clear(self) -> None:
        """Begin again with no values; what the server may have of them is taken back unless it is folded anew."""
        self.dirty.update(dict.fromkeys(self.values, False))
        self.values, self._below = {}, {}

    def restart(self) -> None:
        """A new incarnation begins: the server has nothing, everything is to be sent."""
        self.acknowledged = self.sent = self._logged = 0
        self._log.clear()
        # Takes wait until the server was told of what it forgot, so none of that may be forgotten without a word.
        self.dirty = dict.fromkeys(self.values, self.takes is None)
        if self.takes is not None:
            self.takes.restart()
            self.takes.forgot(self.values)
