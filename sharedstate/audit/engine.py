"""A member's part in the audit series, without I/O: flows that register, publish and verify.

The member's own engine runs them in its turns. A member that was fenced and rejoined goes on counting under the same
source: audit counts are not taken out when a process ends, so nothing of a former life is to be undone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Any

from sharedstate.call import Call, Flow
from sharedstate.clock import awake_clock
from sharedstate.errors import SeriesMismatchError
from sharedstate.keys import Keys

from . import calls
from .chain import Batch, Chain
from .clock import ServerClock, server_time
from .series import Replicate, SeriesSpec
from .store import LATE, AuditMetrics, SeriesStore

__all__ = ["AuditEngine", "define_flow", "tell_time"]

#: A script call with fewer changes than this costs the server more than its changes do.
_THIN = 32


def tell_time(keys: Keys, clock: ServerClock) -> Flow[None]:
    """Ask the server's clock. One round trip."""
    began = awake_clock()
    (outcome,) = yield [server_time(keys)]
    if isinstance(outcome, BaseException):
        raise outcome
    clock.sample(outcome, began, awake_clock())


def define_flow(keys: Keys, clock: ServerClock, specs: Iterable[SeriesSpec]) -> Flow[None]:
    """Register series, and ask the time. One round trip.

    Raises:
        SeriesMismatchError: the fleet has one of them otherwise.
    """
    wanted = list(specs)
    began = awake_clock()
    sent: list[Call[Any]] = [server_time(keys)]
    if wanted:
        sent.append(calls.define(keys, wanted))
    outcomes = yield sent
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    clock.sample(outcomes[0], began, awake_clock())
    for mine, theirs in zip(wanted, outcomes[1] if wanted else (), strict=True):
        if mine != theirs:
            raise SeriesMismatchError(
                f"audit series {mine.name!r} is defined as {describe(mine)} but the fleet has it as "
                f"{describe(theirs)}: define it alike, or give it a new name."
            )


def describe(spec: SeriesSpec) -> str:
    """A spec in a sentence."""
    windows = " ".join(map(str, spec.monitors))
    return f"type {spec.type} with windows {windows}, replicate {spec.replicate}, {spec.shards} shards"


class AuditEngine:
    """One member's audit series.

    Args:
        keys: key factory of the fleet.
        node: the member's node.
        metrics: where to count.
    """

    def __init__(self, keys: Keys, node: str, metrics: AuditMetrics) -> None:
        self.keys = keys
        self.node = node
        self.metrics = metrics
        self.clock = ServerClock()
        self.stores: dict[str, SeriesStore] = {}
        self.source = secrets.token_hex(8)
        self.thin = 0  # script calls of the last publish that carried little
        self._published = 0.0

    def register(self) -> Flow[None]:
        """Make the series known to the fleet, and ask the time. One round trip.

        Raises:
            SeriesMismatchError: the fleet has one of them otherwise.
        """
        specs = [store.spec for store in list(self.stores.values())]
        yield from define_flow(self.keys, self.clock, specs)

    def due(self, interval: float, shortest: float) -> float:
        """Seconds until there is something to publish; infinity when nothing waits.

        Args:
            interval: seconds between two publishes while max_pending events wait.
            shortest: the least time between two publishes, seconds.
        """
        due = float("inf")
        since = awake_clock() - self._published
        for store in list(self.stores.values()):
            if store.pending:
                wait = store.max_delay
                if store.pending >= store.max_pending:
                    wait = max(min(wait, interval), shortest)
                due = min(due, wait - since)
            elif store.due:
                due = min(due, shortest - since)
        return due

    def publish(self, between: Callable[[], Flow[None]] | None = None) -> Flow[None]:
        """Publish every change made before the call; returns when all is acknowledged.

        One pipelined round trip for each 1000 changes of a shard and window.

        Args:
            between: what the member has to do between two round trips, such as its heartbeat.

        Raises:
            LinkError: some shard did not answer; what it did not acknowledge stays to be sent.
        """
        self._published, self.thin = awake_clock(), 0
        stores = [store for store in list(self.stores.values()) if store.spec.replicate is not Replicate.NONE]
        for store in stores:
            store.fold()
        failure: BaseException | None = None
        stuck: set[int] = set()
        while True:
            work = [
                (store, chain, chain.next())
                for store in stores
                for chain in store.chains.values()
                if chain.due and id(chain) not in stuck
            ]
            if not work:
                break
            self.thin += sum(batch.size < _THIN for *_, batch in work)
            if between is not None:
                yield from between()
            outcomes = yield [self._call(chain, batch) for _, chain, batch in work]
            for (store, chain, batch), outcome in zip(work, outcomes, strict=True):
                if isinstance(outcome, BaseException):
                    stuck.add(id(chain))
                    failure = outcome
                    self.metrics.resent += 1
                else:
                    self._settle(store, chain, batch, outcome)
        if failure is not None:
            raise failure

    def _call(self, chain: Chain, batch: Batch) -> Call[tuple[int, int, int]]:
        return calls.add(
            self.keys,
            chain.spec,
            chain.monitor,
            chain.shard,
            batch.window,
            source=self.source,
            before=chain.believed,
            number=batch.number,
            node=self.node,
            changes=batch.args,
        )

    def _settle(self, store: SeriesStore, chain: Chain, batch: Batch, outcome: tuple[int, int, int]) -> None:
        status, last, server_ms = outcome
        if status == 1:
            if chain.applied(batch, last):
                self.metrics.published += batch.size
                if server_ms / 1000 > (batch.window + 1) * chain.monitor.interval + LATE:
                    self.metrics.late += batch.events
                store.acknowledged(chain)
        elif status == 2:
            if chain.refused(batch):
                self.metrics.dropped += batch.events
        else:
            self._reconcile(chain, last, server_ms)

    def _reconcile(self, chain: Chain, last: int, now_ms: float) -> None:
        again, lost = chain.reconcile(last, now_ms)
        self.metrics.resent += again
        self.metrics.possibly_lost += lost

    def verify(self) -> Flow[None]:
        """Compare what the shards have with what they acknowledged; what was forgotten becomes due again.

        One pipelined round trip; it also asks the time, and registers the series again, should Redis have been emptied.

        Raises:
            LinkError: some shard did not answer; those that did are compared.
        """
        yield from self.register()
        places = [
            (store, chain)
            for store in list(self.stores.values())
            for chain in store.chains.values()
            if chain.log
        ]
        if not places:
            return
        outcomes = yield [
            calls.last_number(self.keys, store.spec.name, chain.monitor.interval, chain.shard, self.source)
            for store, chain in places
        ]
        failure: BaseException | None = None
        now_ms = self.clock.now() * 1000
        for (_, chain), outcome in zip(places, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                failure = outcome
            else:
                self._reconcile(chain, outcome, now_ms)
        if failure is not None:
            raise failure

    def close(self, reason: str) -> None:
        """Refuse every later event with ClosedError; what waits can still be published."""
        for store in list(self.stores.values()):
            store.close(reason)
