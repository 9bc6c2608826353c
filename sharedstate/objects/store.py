"""A member's own truth about one object: its counts, what of them is published, and what must be sent again.

Events change `GaugeStore` in memory only, under one short lock. A publisher takes the changed items, folds them into
the shards (adding up the blocks of cidr trees), and sends each shard's changed fields as absolute values under the
shard's sequence. No I/O happens here.
"""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import NoReturn

from sharedstate import cidr
from sharedstate.errors import ClosedError, CountBelowZeroError, InvalidDomainError, InvalidValueError
from sharedstate.names import address_field, canonical_domain, field_text
from sharedstate.objects.gauge import PUBLISH_LIMIT
from sharedstate.objects.ledger import Ledger
from sharedstate.specs import CountBy, Kind, ObjectSpec, check_name

__all__ = ["GaugeKey", "GaugeStore", "Shard", "gauge_field", "shard_of_field"]

#: What an item is asked for by: an address, a domain, or (binding, domain).
GaugeKey = str | tuple[str, str]

#: Texts whose fields are kept ready; beyond it the cache starts anew.
_FIELD_CACHE = 65_536
#: Fields of acknowledged batches a shard keeps, to send again what a failover forgot.
_LOG_FIELDS = 20_000


def gauge_field(spec: ObjectSpec, key: GaugeKey) -> bytes:
    """Field of an item in its canonical form.

    Raises:
        InvalidAddressError: the object is a cidr tree and the key no address.
        InvalidDomainError: the object counts domains and the key is none.
    """
    if spec.kind is Kind.CIDR_TREE:
        return address_field(key)  # type: ignore[arg-type]  # a tuple is refused there with a sentence
    if spec.cls == "outbound_binding_domains":
        binding, domain = key if isinstance(key, tuple) and len(key) == 2 else _split_binding(key)
        if not binding or not binding.isprintable() or len(binding) > 255:
            raise InvalidValueError(
                f"binding name {binding!r} is not usable: give 1 to 255 printable characters."
            )
        return f"{binding.lower()}/{canonical_domain(domain)}".encode()
    if spec.cls == "outbound_scopes":
        return _scope_field(key)
    if spec.count_by is CountBy.SITE and isinstance(key, str):
        try:
            return canonical_domain(key).encode()
        except InvalidDomainError:
            return check_name(key, "site").lower().encode()
    return canonical_domain(key).encode()  # type: ignore[arg-type]  # a tuple is refused there with a sentence


def _split_binding(key: object) -> tuple[str, str]:
    if isinstance(key, str) and "/" in key:
        binding, _, domain = key.rpartition("/")
        return binding, domain
    raise InvalidValueError(
        f"{key!r} is not a binding with a domain: give ('binding', 'example.com') or 'binding/domain'."
    )


def _scope_field(key: object) -> bytes:
    if isinstance(key, str) and key.isprintable() and 0 < len(key) <= 1024:
        return key.lower().encode()
    raise InvalidValueError(
        f"{str(key)[:60]!r} is not a scope: give 'all', 'binding/NAME', 'binding_group/NAME', "
        "'binding_group/NAME/domain/DOMAIN' or 'binding/NAME/host/MX'."
    )


def shard_of_field(spec: ObjectSpec, field: bytes) -> int:
    """Shard an item lives in."""
    if spec.kind is Kind.CIDR_TREE:
        return cidr.shard_of(field, spec.shards)
    return zlib.crc32(field) % spec.shards


class Shard:
    """What one member has to say in one shard: absolute values, and how far the server is known to have them.

    `ledger` is there when slots are taken of the shard's items; then `batch` and whatever settles one are called under
    the lock of the member's `TakeBoard`.
    """

    __slots__ = ("_below", "_log", "_logged", "acknowledged", "dirty", "index", "ledger", "sent", "values")

    def __init__(self, index: int) -> None:
        self.index = index
        self.values: dict[bytes, int] = {}
        self._below: dict[bytes, int] = {}  # block -> remembered addresses in it
        self.dirty: dict[bytes, None] = {}
        self.acknowledged = 0
        self.sent = 0
        self.ledger: Ledger | None = None
        self._log: deque[tuple[int, tuple[bytes, ...]]] = deque()
        self._logged = 0

    def fold(self, field: bytes, count: int | None) -> tuple[int, int]:
        """Take over an item's count (None: forgotten); returns by how much the count and the items grew."""
        old = self.values.get(field)
        if count is None:
            if old is None:
                return 0, 0
            del self.values[field]
        else:
            self.values[field] = count
        self.dirty[field] = None
        return (count or 0) - (old or 0), (count is not None) - (old is not None)

    def add(self, block: bytes, change: int, known: int) -> None:
        """Add the change of an address to a block it is in."""
        below = self._below.get(block, 0) + known
        if below:
            self._below[block] = below
            self.values[block] = self.values.get(block, 0) + change
        else:
            self._below.pop(block, None)
            self.values.pop(block, None)
        self.dirty[block] = None

    def batch(self, counts: Mapping[bytes, int] | None = None) -> tuple[int, dict[bytes, int | None]]:
        """Next changed fields to send (they stay changed until acknowledged) under a new sequence.

        Args:
            counts: the member's truth, where it may be newer than what was folded: a slot taken since must not be
                published away. None for what was folded.
        """
        ledger = self.ledger
        fields = []
        for field in self.dirty:
            if ledger is not None and field in ledger.taking:
                ledger.want(field)
                continue
            fields.append(field)
            if len(fields) == PUBLISH_LIMIT:
                break
        if counts is not None:
            for field in fields:
                # What was sent is what a later fold compares with.
                count = counts.get(field)
                if count is None:
                    self.values.pop(field, None)
                else:
                    self.values[field] = count
        batch = {field: self.values.get(field) for field in fields}
        if batch:
            self.sent += 1
            for field in fields:
                del self.dirty[field]
            if ledger is not None:
                ledger.sent(self.sent, batch)
        return self.sent, batch

    def applied(self, sequence: int, batch: dict[bytes, int | None]) -> None:
        """The server has this batch."""
        self.acknowledged = sequence
        self._log.append((sequence, tuple(batch)))
        self._logged += len(batch)
        while self._logged > _LOG_FIELDS and len(self._log) > 1:
            self._logged -= len(self._log.popleft()[1])
        if self.ledger is not None:
            self.ledger.landed(batch)

    def failed(self, batch: dict[bytes, int | None], *, late: bool = True) -> None:
        """The server does not have this batch, or nobody knows: its fields go again, in the next.

        Args:
            late: whether it may still arrive there.
        """
        self.dirty.update(dict.fromkeys(batch))
        if self.ledger is not None:
            self.ledger.failed(batch, late=late)

    def reconcile(self, last: int) -> bool:
        """The server's last applied sequence is `last`. Returns False when what it forgot is not known any more."""
        if last == self.acknowledged:
            return True
        if self.ledger is not None:
            # Whatever is still under way was sent for another state of the registry and is refused there.
            self.ledger.late = False
        if last > self.acknowledged:  # applied, the answer was lost; its fields were marked by failed()
            self.acknowledged = last
            return last <= self.sent
        if not last or not self._log or self._log[0][0] > last + 1:
            # Sequences of batches that failed are missing from the log; only the first entry tells how far it reaches.
            return False
        for sequence, fields in self._log:
            if sequence > last:
                self.dirty.update(dict.fromkeys(fields))
                if self.ledger is not None:
                    self.ledger.forgot(fields)
        self.acknowledged = last
        return True

    def restart(self) -> None:
        """A new incarnation begins: the server has nothing, everything is to be sent."""
        self.acknowledged = self.sent = self._logged = 0
        self._log.clear()
        self.dirty = dict.fromkeys(self.values)
        if self.ledger is not None:
            self.ledger.restart()
            self.ledger.forgot(self.values)


class _ClosedLock:
    """Takes the place of a store's lock when the store may not be used any more."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __enter__(self) -> NoReturn:
        raise ClosedError(self._reason)

    def __exit__(self, *_: object) -> None: ...


class GaugeStore:
    """One member's counts of one object. Safe to use from many threads.

    Args:
        spec: the object.
        wake: called when a first change waits, and again when max_pending do.
    """

    def __init__(self, spec: ObjectSpec, wake: Callable[[], None]) -> None:
        self.spec = spec
        self.shards = [Shard(index) for index in range(spec.shards)]
        self.pending = 0
        self._wake = wake
        self._lock: threading.Lock | _ClosedLock = threading.Lock()
        self._counts: dict[bytes, int] = {}
        # Not a dict: taking the oldest out of one scans over all that were taken out before.
        self._zeros: OrderedDict[bytes, None] = OrderedDict()
        self._changed: set[bytes] = set()
        self._touched: set[bytes] = set()
        self._fields: dict[GaugeKey, bytes] = {}
        self._tree = spec.kind is Kind.CIDR_TREE

    def increment(self, key: GaugeKey, n: int = 1) -> None:
        """Add n to an item. No I/O; the change is published after max_delay or max_pending at the latest.

        Raises:
            InvalidValueError: the key is not an item of this object, or n is not a positive whole number.
            ClosedError: the state was closed.
        """
        field = self._fields.get(key)
        if field is None:
            field = self._intern(key)
        if n != 1:
            _check_step(n)
        with self._lock:
            old = self._counts.get(field, 0)
            self._counts[field] = old + n
            if not old:
                self._zeros.pop(field, None)
            self._changed.add(field)
            self.pending += 1
            if self.pending == 1 or self.pending == self.spec.max_pending:
                self._wake()

    def decrement(self, key: GaugeKey, n: int = 1) -> None:
        """Take n from an item. No I/O.

        Raises:
            CountBelowZeroError: this member's own count is smaller than n; it stays as it was.
            InvalidValueError: as for increment.
            ClosedError: the state was closed.
        """
        field = self._fields.get(key)
        if field is None:
            field = self._intern(key)
        if n != 1:
            _check_step(n)
        with self._lock:
            old = self._counts.get(field, 0)
            if old < n:
                raise CountBelowZeroError(
                    f"{self.spec.name}: the count of {key!r} on this member is {old} and cannot go down by {n}; "
                    "decrement only what this process incremented."
                )
            self._counts[field] = old - n
            if old == n:
                self._zeros[field] = None
                if len(self._zeros) > self.spec.remember:
                    oldest, _ = self._zeros.popitem(last=False)
                    del self._counts[oldest]
                    self._changed.add(oldest)
            self._changed.add(field)
            self.pending += 1
            if self.pending == 1 or self.pending == self.spec.max_pending:
                self._wake()

    def increment_within(self, key: GaugeKey, n: int, most: int) -> bool:
        """Add n to an item if this member's own count then is at most `most`; returns whether it did. No I/O.

        Raises:
            InvalidValueError, ClosedError: as for increment.
        """
        field = self.field(key)
        with self._lock:
            old = self._counts.get(field, 0)
            if old + n > most:
                return False
            self._counts[field] = old + n
            if not old:
                self._zeros.pop(field, None)
            self._note(field)
        return True

    def touch(self, key: GaugeKey) -> None:
        """Have an item published as it is: what the server has of it is not certain."""
        field = self.field(key)
        with self._lock:
            self._touched.add(field)
            self._note(field)

    def own(self, key: GaugeKey) -> int:
        """This member's own count of an item at this moment. No I/O.

        Raises:
            InvalidValueError, ClosedError: as for increment.
        """
        field = self.field(key)
        with self._lock:
            return self._counts.get(field, 0)

    def field(self, key: GaugeKey) -> bytes:
        """Field of an item."""
        field = self._fields.get(key)
        return self._intern(key) if field is None else field

    def guard(self) -> None:
        """From now on slots are taken of this object's items: let publishes and takes know of each other."""
        for shard in self.shards:
            if shard.ledger is None:
                shard.ledger = Ledger()

    def batch(self, shard: Shard) -> tuple[int, dict[bytes, int | None]]:
        """Next batch of one of the shards; of an object whose slots are taken, with the counts as they are now."""
        return shard.batch(None if shard.ledger is None else self._counts)

    def check(self, key: GaugeKey) -> None:
        """Raise what increment would raise for this key, without counting."""
        if key not in self._fields:
            self._intern(key)

    def fold(self) -> None:
        """Move the changes made so far into the shards."""
        with self._lock:
            changed, self._changed, self.pending = self._changed, set(), 0
            touched, self._touched = self._touched, set()
            counts = {field: self._counts.get(field) for field in changed}
        for field in touched:  # also what was never counted here: the server may have it all the same
            self.shards[shard_of_field(self.spec, field)].dirty[field] = None
        for field, count in counts.items():
            change, known = self.shards[shard_of_field(self.spec, field)].fold(field, count)
            if self._tree and (change or known):
                for block in cidr.levels(field):
                    self.shards[cidr.shard_of(block, self.spec.shards)].add(block, change, known)

    def _note(self, field: bytes) -> None:
        """A field changed; called under the lock."""
        self._changed.add(field)
        self.pending += 1
        if self.pending == 1 or self.pending == self.spec.max_pending:
            self._wake()

    def local(self) -> dict[str, int]:
        """This member's own counts as they are now, zeros left out: the truth that Redis holds a copy of."""
        with self._lock:
            counts = dict(self._counts)
        text = field_text if self._tree else bytes.decode
        return {text(field): count for field, count in counts.items() if count}

    def close(self, reason: str) -> None:
        """Refuse every later change with ClosedError."""
        self._lock = _ClosedLock(reason)

    def _intern(self, key: GaugeKey) -> bytes:
        field = gauge_field(self.spec, key)
        if len(self._fields) >= _FIELD_CACHE:
            self._fields = {}
        self._fields[key] = field
        return field


def _check_step(n: int) -> None:
    if not isinstance(n, int) or isinstance(n, bool) or not 0 < n < 1 << 53:
        raise InvalidValueError(f"a count changes by a whole number of at least 1, not by {n!r}.")
