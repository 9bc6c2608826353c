"""What publishing and taking of one shard must know about each other.

A publish sets absolute values, a take adds to what is there. Both are safe alone; together three rules keep a publish
from overwriting a slot that was just taken:

1. While a take of an item is under way, no batch with this item is made. Takes that come meanwhile stand back for a
   moment, so that a publisher gets its turn however busy the item is.
2. A take of an item that a batch under way carries is made for the sequence of that batch: it is refused (a gap) unless
   the batch was applied before.
3. While a batch of unknown fate may still arrive late, nothing is taken in the shard: the next batch that is
   acknowledged makes the late one void.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

__all__ = ["ShardTakes", "TakeBoard"]

#: How long takes of an item stand back for a publisher that waits for it, seconds.
HANDOVER = 0.01


class TakeBoard:
    """One lock for all shards' takes and batches, and a count that tells waiting takes that something was settled.

    Attributes:
        lock: held for what decides about batches and takes, never during I/O. The stores' `Ledger` is locked inside it.
        turn: grows whenever a publish, a verify or a rejoin is settled.
        given_up: what flows that were closed half-way leave to be done. A flow may be closed by the garbage collector,
            in the middle of anything, and must not take a lock there; the publisher does it for them.
        ring: called after that; a runner sets it to wake those who wait.
    """

    __slots__ = ("given_up", "lock", "ring", "turn")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.turn = 0
        self.given_up: deque[Callable[[], None]] = deque()
        self.ring: Callable[[], None] = _nobody

    def settled(self) -> None:
        """Something that takes may wait for has happened."""
        self.turn += 1
        self.ring()

    def tidy(self) -> None:
        """Do what flows left behind; called by the publisher before it collects."""
        while self.given_up:
            self.given_up.popleft()()


def _nobody() -> None: ...


class ShardTakes:
    """Takes and batches of one shard. Everything here is read and changed under the board's lock.

    Attributes:
        taking: item -> takes of it under way.
        wanted: item -> monotonic time until which new takes of it stand back for the publisher.
        flying: the batch under way, None when there is none.
        flight: its sequence.
        late: a batch of unknown fate may still arrive.
        forgotten: items the server does not have as they were acknowledged, until they are published again.
        server: item -> what the server counts of it as this member's; only items that slots were taken of.
    """

    __slots__ = ("flight", "flying", "forgotten", "late", "server", "taking", "wanted")

    def __init__(self) -> None:
        self.taking: dict[bytes, int] = {}
        self.wanted: dict[bytes, float] = {}
        self.flying: dict[bytes, int | None] | None = None
        self.flight = 0
        self.late = False
        self.forgotten: set[bytes] = set()
        self.server: dict[bytes, int] = {}

    # -- what the publisher tells ------------------------------------------------------------------------------

    def want(self, field: bytes) -> None:
        """The publisher has to leave an item out because it is being taken."""
        self.wanted[field] = time.monotonic() + HANDOVER

    def sent(self, sequence: int, batch: dict[bytes, int | None]) -> None:
        """A batch is made and goes out."""
        self.flight, self.flying = sequence, batch
        if self.wanted:
            for field in self.wanted.keys() & batch.keys():
                del self.wanted[field]

    def landed(self, batch: dict[bytes, int | None]) -> None:
        """The server acknowledged the batch; one sent before it can have no effect any more."""
        self.flying = None
        self.late = False
        if self.forgotten:
            self.forgotten.difference_update(batch)
        for field in self.server.keys() & batch.keys():
            value = batch[field]
            if value:
                self.server[field] = value
            else:
                del self.server[field]

    def failed(self, batch: dict[bytes, int | None], *, late: bool) -> None:
        """The batch was not acknowledged; `late` tells that it may still arrive."""
        self.flying = None
        self.late = self.late or late
        for field in self.server.keys() & batch.keys():
            del self.server[field]

    def forgot(self, fields: Iterable[bytes]) -> None:
        """The server lost what it had acknowledged of these items."""
        self.forgotten.update(fields)
        self.server.clear()

    def restart(self) -> None:
        """A new incarnation: what was sent as the old one is refused by its tombstone."""
        self.flying = None
        self.late = False
        self.wanted.clear()
        self.forgotten.clear()
        self.server.clear()

    # -- what a take asks and tells ----------------------------------------------------------------------------

    def begin(self, field: bytes) -> None:
        """A take of this item goes out."""
        self.taking[field] = self.taking.get(field, 0) + 1

    def end(self, field: bytes) -> None:
        """Its answer is here, or will never be waited for."""
        left = self.taking[field] - 1
        if left:
            self.taking[field] = left
        else:
            del self.taking[field]

    def stands_back(self, field: bytes, now: float) -> float:
        """Seconds a new take of this item has to leave the turn to the publisher, 0 for none."""
        until = self.wanted.get(field)
        if until is None:
            return 0.0
        if now < until:
            return until - now
        del self.wanted[field]
        return 0.0

    def credit(self, field: bytes) -> int:
        """How many of an item the server is certain to count as this member's until the next publish, 0 if unknown.

        Slots up to this number need no question: the server counts them already (they were given back a moment ago).
        """
        if self.late or field in self.forgotten:
            return 0
        held = self.server.get(field, 0)
        if self.flying is not None and field in self.flying:
            held = min(held, self.flying[field] or 0)
        # The server may count those under way already; they belong to whoever waits for their answer.
        return held - self.taking.get(field, 0)
