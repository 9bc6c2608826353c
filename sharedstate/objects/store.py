"""A member's own truth about one object: its counts, and what of them waits to be published.

Events change the counts of `Item`s in memory only, under one short lock. A publisher takes the changed items, folds
them into the shards (adding up the blocks of cidr trees), and sends each shard's changed fields as absolute values
under the shard's sequence. No I/O happens here.
"""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable

from sharedstate import cidr
from sharedstate.closing import ClosedLock
from sharedstate.errors import CountBelowZeroError, InvalidValueError
from sharedstate.names import field_text
from sharedstate.objects.fields import GaugeKey, gauge_field, shard_of_field
from sharedstate.objects.shard import Shard
from sharedstate.objects.takes import ShardTakes
from sharedstate.specs import Kind, ObjectSpec

__all__ = ["GaugeStore", "Item", "Ledger"]

#: Texts whose items are kept ready; beyond it the cache starts anew.
_ITEM_CACHE = 65_536
#: Items the publisher takes over under one hold of the lock: an event waits that long, some 0.2 ms, at most.
_SLICE = 1000
#: Counts taken over before they go into the shards: enough for neighbours to meet in their blocks.
_FOLD = 32_000
#: So many changed items wait before events themselves forget the oldest zeros: a publisher that can't publish does not.
_TRIM_AT = 65_536
#: A count may change by less than this at a time: what a server's script can add exactly.
_STEPS = 1 << 53


class Ledger:
    """What all stores of a member share: one lock, so that an event takes it once, however many objects it changes."""

    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.lock: threading.Lock | ClosedLock = threading.Lock()


class Item:
    """One item of a store, and what events need to count it without looking anything up.

    Whoever changes it holds the ledger's lock. Caches may keep an item that its store has forgotten; then `known` is
    False and the count 0, and `GaugeStore.recall` gives the item that stands for it now.

    Attributes:
        store: whose it is.
        field: its canonical form.
        count: this member's own.
        known: whether the store remembers it, and this very item stands for its field.
        changed: whether the publisher has it on its list.
        folded: whether the shards know it.
        zero: whether it is in the store's order of zeros.
    """

    __slots__ = ("changed", "count", "field", "folded", "known", "store", "zero")

    def __init__(self, store: GaugeStore, field: bytes) -> None:
        self.store = store
        self.field = field
        self.count = 0
        self.known = self.changed = self.folded = self.zero = False


class GaugeStore:
    """One member's counts of one object. Safe to use from many threads.

    Args:
        spec: the object.
        wake: called when a first change waits, and again when max_pending do.

    Attributes:
        room: how many more changes may come before max_pending is reached; events count it down.
    """

    def __init__(self, spec: ObjectSpec, wake: Callable[[], None]) -> None:
        self.spec = spec
        self.shards = [Shard(index) for index in range(spec.shards)]
        self.room = spec.max_pending
        self.ledger = Ledger()
        self._wake = wake
        self._items: dict[bytes, Item] = {}
        # Not a dict: taking the oldest out of one scans over all that were taken out before.
        self._zeros: OrderedDict[bytes, Item] = OrderedDict()
        self._changed: list[Item] = []
        self._touched: set[bytes] = set()
        self._trim_at = _TRIM_AT
        self._torn = False
        self._ready: dict[GaugeKey, Item] = {}
        self._tree = spec.kind is Kind.CIDR_TREE

    @property
    def pending(self) -> int:
        """Changes made since the last fold."""
        return self.spec.max_pending - self.room

    def increment(self, key: GaugeKey, n: int = 1) -> None:
        """Add n to an item. No I/O; the change is published after max_delay or max_pending at the latest.

        Raises:
            InvalidValueError: the key is not an item of this object, or n is not a positive whole number.
            ClosedError: the state was closed.
        """
        item = self._ready.get(key)
        if item is None:
            item = self.item(key)
        if type(n) is not int or not 0 < n < _STEPS:
            raise _no_step(n)
        with self.ledger.lock:
            if not item.known:
                item = self.recall(item)
            item.count += n
            self.room -= 1
            if not (item.changed and self.room):
                self.note(item)

    def decrement(self, key: GaugeKey, n: int = 1) -> None:
        """Take n from an item. No I/O.

        Raises:
            CountBelowZeroError: this member's own count is smaller than n; it stays as it was.
            InvalidValueError: as for increment.
            ClosedError: the state was closed.
        """
        item = self._ready.get(key)
        if item is None:
            item = self.item(key)
        if type(n) is not int or not 0 < n < _STEPS:
            raise _no_step(n)
        with self.ledger.lock:
            if not item.known:
                item = self.held(item)
            if item.count < n:
                raise CountBelowZeroError(
                    f"{self.spec.name}: the count of {key!r} on this member is {item.count} and cannot go down by {n}; "
                    "decrement only what this process incremented."
                )
            item.count -= n
            self.room -= 1
            if not (item.changed and self.room):
                self.note(item)

    def increment_within(self, key: GaugeKey, n: int, most: int) -> bool:
        """Add n to an item if this member's own count then is at most `most`; returns whether it did. No I/O.

        Raises:
            InvalidValueError, ClosedError: as for increment.
        """
        item = self._ready.get(key) or self.item(key)
        with self.ledger.lock:
            item = self.held(item)
            if item.count + n > most:
                return False
            item = self.recall(item)
            item.count += n
            self.room -= 1
            self.note(item)
        return True

    def touch(self, key: GaugeKey) -> None:
        """Have an item published as it is: what the server has of it is not certain."""
        field = self.field(key)
        with self.ledger.lock:
            self._touched.add(field)
            self.room -= 1
            if len(self._touched) == 1 or not self.room:
                self._wake()

    def own(self, key: GaugeKey) -> int:
        """This member's own count of an item at this moment. No I/O.

        Raises:
            InvalidValueError, ClosedError: as for increment.
        """
        item = self._ready.get(key) or self.item(key)
        with self.ledger.lock:
            return self.held(item).count

    def field(self, key: GaugeKey) -> bytes:
        """Field of an item; raises what increment would raise for this key."""
        return (self._ready.get(key) or self.item(key)).field

    def guard(self) -> None:
        """From now on slots are taken of this object's items: let publishes and takes know of each other."""
        for shard in self.shards:
            if shard.takes is None:
                shard.takes = ShardTakes()

    def item(self, key: GaugeKey) -> Item:
        """The item of a key, which need not be known yet. Raises what increment would raise for this key."""
        field = gauge_field(self.spec, key)
        item = self._items.get(field) or Item(self, field)
        if len(self._ready) >= _ITEM_CACHE:
            self._ready = {}
        self._ready[key] = item
        return item

    def recall(self, item: Item) -> Item:
        """The item that counts for this one's field, known from now on. The caller holds the lock."""
        current = self._items.setdefault(item.field, item)
        if not current.known:
            current.known = True
            current.changed = (
                False  # it goes to the end of the publisher's list, where its field was forgotten
            )
        return current

    def held(self, item: Item) -> Item:
        """The item that counts for this one's field, which may be unknown. The caller holds the lock."""
        return self._items.get(item.field, item)

    def note(self, item: Item) -> None:
        """Put an item on the publisher's list, and wake the publisher when it is time. The caller holds the lock."""
        if not item.changed:
            item.changed = True
            self._changed.append(item)
            if len(self._changed) == 1:
                self._wake()
            elif len(self._changed) >= self._trim_at:
                self._trim()
        if not self.room:
            self._wake()

    def fold(self) -> None:
        """Move the changes made so far into the shards."""
        if self._torn:  # an interrupt (Ctrl-C in a flush) left the last one half done
            self._start_over()
        self._torn = True
        with self.ledger.lock:
            changed, self._changed, self.room = self._changed, [], self.spec.max_pending
            self._trim_at = _TRIM_AT
            touched = tuple(self._touched)
        if touched:
            self._fold_touched(touched)
        counts: list[tuple[bytes, int | None]] = []
        for first in range(0, len(changed), _SLICE):
            with self.ledger.lock:
                for item in changed[first : first + _SLICE]:
                    item.changed = False
                    if item.known:
                        item.folded = True
                        counts.append((item.field, item.count))
                        if item.zero or not item.count:
                            self._sort_in(item)
                    elif item.folded:
                        item.folded = False
                        counts.append((item.field, None))
                for item in self._forget():
                    if item.folded:
                        item.folded = False
                        counts.append((item.field, None))
            if len(counts) >= _FOLD:
                self._fold(counts)
                counts = []
        self._fold(counts)
        self._torn = False

    def batch(self, shard: Shard) -> tuple[int, dict[bytes, int | None]]:
        """Next batch of one of the shards; of an object whose slots are taken, with the counts as they are now."""
        return shard.batch(None if shard.takes is None else self._told)

    def _told(self, fields: list[bytes]) -> list[tuple[bytes, int | None]]:
        """The counts of items as they are now, which the shards know from now on."""
        counts: list[tuple[bytes, int | None]] = []
        with self.ledger.lock:
            for field in fields:
                item = self._items.get(field)
                if item is None:
                    counts.append((field, None))
                else:
                    item.folded = True
                    counts.append((field, item.count))
        return counts

    def _fold_touched(self, touched: tuple[bytes, ...]) -> None:
        """Have these sent, also what was never counted here: the server may have it all the same."""
        for field in touched:
            self.shards[shard_of_field(self.spec, field)].dirty[field] = False
        with self.ledger.lock:  # only now: an interrupted fold begins with them again
            self._touched.difference_update(touched)

    def _start_over(self) -> None:
        for shard in self.shards:
            shard.clear()
        with self.ledger.lock:
            self._changed = list(self._items.values())
            for item in self._changed:
                item.changed = True

    def _fold(self, counts: Iterable[tuple[bytes, int | None]]) -> None:
        shards, number = self.shards, self.spec.shards
        if not self._tree:
            for field, count in counts:
                shards[zlib.crc32(field) % number].fold(field, count)
            return
        # Blocks are added up from the longest to the shortest, so that each costs once and not once for each address.
        blocks: dict[bytes, tuple[int, int]] = {}
        for field, count in counts:
            change, known = shards[cidr.shard_of(field, number)].fold(field, count)
            if change or known:
                block = cidr.above(field)
                before = blocks.get(block)
                blocks[block] = (change, known) if before is None else (before[0] + change, before[1] + known)
        while blocks:
            shorter: dict[bytes, tuple[int, int]] = {}
            for block, (change, known) in blocks.items():
                if not (change or known):
                    continue
                shards[cidr.shard_of(block, number)].add(block, change, known)
                if len(block) > 1:
                    above = cidr.above(block)
                    before = shorter.get(above)
                    shorter[above] = (
                        (change, known) if before is None else (before[0] + change, before[1] + known)
                    )
            blocks = shorter

    def _sort_in(self, item: Item) -> None:
        """Put an item into the order of zeros, at its end, or take it out."""
        if item.count:
            if item.zero:
                item.zero = False
                del self._zeros[item.field]
        elif item.zero:
            self._zeros.move_to_end(item.field)
        else:
            item.zero = True
            self._zeros[item.field] = item

    def _forget(self) -> list[Item]:
        """Forget the oldest zeros beyond `remember`."""
        forgotten = []
        while len(self._zeros) > self.spec.remember:
            _, item = self._zeros.popitem(last=False)
            item.zero = False
            if not item.count:  # else it was counted again, and is on the publisher's list
                item.known = False
                del self._items[item.field]
                forgotten.append(item)
        return forgotten

    def _trim(self) -> None:
        """Forget zeros before the publisher does, so that what waits is bounded by what there is to count."""
        for item in self._changed:
            if item.known:
                self._sort_in(item)
        for item in self._forget():
            if item.folded and not item.changed:
                item.changed = True
                self._changed.append(item)
        waiting, self._changed = dict.fromkeys(self._changed), []
        for item in waiting:
            if item.known or item.folded:
                self._changed.append(item)
            else:
                item.changed = False
        self._trim_at = max(_TRIM_AT, 2 * len(self._changed))

    def local(self) -> dict[str, int]:
        """This member's own counts as they are now, zeros left out: the truth that Redis holds a copy of."""
        with self.ledger.lock:
            counts = [(item.field, item.count) for item in self._items.values() if item.count]
        text = field_text if self._tree else bytes.decode
        return {text(field): count for field, count in counts}

    def close(self, reason: str) -> None:
        """Refuse every later change with ClosedError, of all stores that share the ledger."""
        self.ledger.lock = ClosedLock(reason)


def _no_step(n: object) -> InvalidValueError:
    return InvalidValueError(f"a count changes by a whole number of at least 1, not by {n!r}.")
