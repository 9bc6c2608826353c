"""A member's life, without I/O: flows that join, beat, publish, verify, reap and leave.

Rules kept here, each of which a test shows:

1. A member publishes only as a live incarnation. Whatever tells it otherwise (a fenced shard, a heartbeat that is not
   known, a server that forgot more than the log covers) leads to one path: `rejoin`.
2. `rejoin` takes a new incarnation, reaps the old one in every shard, and only then publishes: never two copies.
3. Values are absolute and sequenced per shard, so a batch of unknown fate is simply sent again in a later one.
4. A process that slept longer than it stays live (by CLOCK_BOOTTIME, which runs on while the machine sleeps) beats
   before it publishes.

Flows of one member never run side by side: their driver holds a lock.
"""

from __future__ import annotations

import dataclasses
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from .audit.engine import AuditEngine
from .call import Flow, each, only
from .clock import awake_clock
from .errors import AmbiguousError, ShardMismatchError, SharedStateError
from .keys import Keys
from .objects import fleet, gauge
from .objects.fleet import Fleet
from .objects.shard import Shard
from .objects.store import GaugeStore
from .objects.takes import TakeBoard
from .reaping import bury_flow, reap_flow
from .results import Member

__all__ = ["MemberEngine", "Metrics"]

T = TypeVar("T")

#: A member asks for its sequences this often even if nothing seems wrong, seconds.
VERIFY_EVERY = 15.0
#: The leader looks for incarnations that shards know and the fleet does not this often, seconds.
AUDIT_EVERY = 30.0
#: No more than one publish in this time, however many changes wait, seconds.
MIN_INTERVAL = 0.1
#: And no less than one in this time, if max_pending changes wait, seconds.
MAX_INTERVAL = 1.0
#: A publish that took the publisher this long is followed by four times as long without one: at most a fifth of the
#: interpreter is taken from those who count.
_REST = 4
#: A script call with fewer fields than this costs the server more than its fields do …
_THIN = 32
#: … so each puts the next publish off by this much, seconds.
_THIN_REST = 0.03

#: Round trips a publish waits for takes of what it has to send, before it leaves that to the next one.
_TAKE_ROUNDS = 8

#: After a failure the next turn waits this long, doubling up to the second number, seconds.
BACK_OFF = (0.1, 2.0)

_log = logging.getLogger("sharedstate")

#: A batch under way: whose, where, its sequence, its fields.
_Batch = tuple[GaugeStore, Shard, int, dict[bytes, int | None]]


@dataclass(slots=True)
class Metrics:
    """What a member did since it was connected; plain numbers, read them at any time.

    Attributes:
        published: items acknowledged by Redis.
        rejoins: times it had to come back as a new incarnation.
        resent: items sent again because their answer was missing or told of a gap.
        reaped: dead members whose counts it took out.
        failures: flushes and heartbeats that failed (they are tried again).
        unmatched: disconnect events without a connect before; they change no count.
        last_error: sentence of the last failure, or "".
    """

    published: int = 0
    rejoins: int = 0
    resent: int = 0
    reaped: int = 0
    failures: int = 0
    unmatched: int = 0
    last_error: str = ""


def new_incarnation() -> str:
    """Identity of one life of a process: 128 random bits, for pids repeat (in containers it is always 1)."""
    return secrets.token_hex(16)


class MemberEngine:
    """One member: its stores and the flows that keep Redis in step with them.

    Args:
        keys: key factory of the fleet.
        member: who joins; the incarnation is replaced at every join.
        stores: the objects it owns a part of.
        member_timeout: seconds after which a dead member's counts are out of every view.
        metrics: where to count.
        wake: called when something is due at once.
        audits: its audit series.

    Attributes:
        board: what publishing and taking must know about each other.
    """

    def __init__(
        self,
        keys: Keys,
        member: Member,
        stores: Sequence[GaugeStore],
        member_timeout: float,
        metrics: Metrics,
        wake: Callable[[], None] = lambda: None,
        audits: AuditEngine | None = None,
    ) -> None:
        self.keys = keys
        self.member = member
        self.stores = stores
        self.metrics = metrics
        self.audits = audits
        self._audits_first = False
        # Live for 2/3 of the timeout without a heartbeat, one every sixth: the last third is for being noticed
        # (a sixth) and reaped.
        self.live_for = member_timeout * 2 / 3
        self.beat_every = member_timeout / 6
        # What is waited for in one piece must leave room for the next heartbeat, whatever hangs.
        self.turn_limit = self.live_for / 2
        self.joined = False
        #: Members that were live at the last heartbeat or join, this one included: the divisor of a local share.
        self.live_members = 1
        self._lost = False
        self._ghosts: list[str] = []  # own former incarnations that may still be counted somewhere
        self._given: list[str] = []  # dead members that heartbeats handed over to be reaped
        self._retry_at = self._pause = 0.0
        self._beaten = 0.0
        self._verified = 0.0
        self._audited = awake_clock()
        self._published = 0.0
        self._interval = MIN_INTERVAL
        self._thin = 0  # thin script calls of the last publish
        self._all_out = True  # whether the last publish left nothing behind
        self.board = TakeBoard()
        self._wake = wake
        self._urgent = self._at_once = self._doubted = False

    # -- joining and leaving -----------------------------------------------------------------------------------

    def join(self) -> Flow[None]:
        """Become live as a new incarnation. One round trip.

        Raises:
            ShardMismatchError: an object is stored with another shard count than configured.
            SeriesMismatchError: an audit series is stored otherwise than configured.
        """
        if self.audits is not None:
            yield from self.audits.register()
        began = awake_clock()
        self.member = dataclasses.replace(self.member, incarnation=new_incarnation())
        specs = [store.spec for store in self.stores]
        joined, live, stored = yield from only(
            fleet.join(self.keys, self.member, round(self.live_for * 1000), specs)
        )
        self.member = dataclasses.replace(self.member, joined=joined)
        for mine, theirs in zip(specs, stored, strict=True):
            if (mine.shards, mine.cls) != (theirs.shards, theirs.cls):
                yield from only(fleet.fence(self.keys, [self.member.incarnation]))
                yield from only(fleet.bury(self.keys, self.member.incarnation))
                raise ShardMismatchError(
                    f"object {mine.name!r} is configured as {mine.cls} with {mine.shards} shards but the fleet has it "
                    f"as {theirs.cls} with {theirs.shards}: configure these numbers, or give the object a new name."
                )
        self.live_members = max(live, 1)
        self._beaten = began
        self._lost = False
        self.joined = True

    def rejoin(self) -> Flow[None]:
        """Come back as a new incarnation: the old one's copies are taken out before anything is published."""
        self._lost = True
        self._ghosts.append(self.member.incarnation)
        self.metrics.rejoins += 1
        yield from only(fleet.fence(self.keys, self._ghosts))
        yield from self.join()
        self._lost = True  # until the old copies are gone; a failure on the way starts over
        while self._ghosts:
            yield from self._beating(
                reap_flow(self.keys, self._ghosts[0], [store.spec for store in self.stores])
            )
            yield from only(fleet.bury(self.keys, self._ghosts[0]))
            del self._ghosts[0]
        with self.board.lock:
            for store in self.stores:
                for shard in store.shards:
                    shard.restart()
            self._lost = False
        self.board.settled()

    def leave(self) -> Flow[None]:
        """Publish what waits for audit series, and take this member and its counts out of the fleet."""
        if self.joined:
            yield from each([self._publish_audits(), self._go()])

    def _go(self) -> Flow[None]:
        self.joined = False
        yield from only(fleet.fence(self.keys, [self.member.incarnation]))
        yield from bury_flow(self.keys, self.member.incarnation)

    # -- the regular work --------------------------------------------------------------------------------------

    @property
    def lost(self) -> bool:
        """Whether it is no member at the moment, may have been taken for dead, or has former copies to take out."""
        return self._lost or not self.joined or awake_clock() >= self._beaten + self.live_for

    def urge(self, *, at_once: bool = False) -> None:
        """Have changes published within MIN_INTERVAL whatever the objects' max_delay, or at once. Any thread."""
        if at_once:
            self._at_once = True
            self._wake()
        elif not self._urgent:
            self._urgent = True
            self._wake()

    def doubt(self, fenced: str | None = None) -> None:
        """Have the sequences compared at once: an answer does not fit what was acknowledged. Any thread.

        Args:
            fenced: the incarnation that was refused as dead, if one was.
        """
        self._doubted = True
        if fenced == self.member.incarnation:
            self._lost = True
        self.urge(at_once=True)

    def due(self) -> float:
        """Seconds until there is something to do without new events; not before a failure's back-off is over."""
        if self._at_once:
            return 0.0
        now = awake_clock()
        due = self._beaten + self.beat_every - now
        if self._urgent:
            due = min(due, self._published + MIN_INTERVAL - now)
        for store in self.stores:
            if store.pending:
                wait = store.spec.max_delay
                if store.pending >= store.spec.max_pending:
                    wait = max(min(wait, self._interval), MIN_INTERVAL)
                due = min(due, self._published + wait - now)
            elif any(shard.dirty for shard in store.shards):
                due = min(due, self._published + MIN_INTERVAL - now)
        if self.audits is not None:
            due = min(due, self.audits.due(self._interval, MIN_INTERVAL))
        return max(due, self._retry_at - now, 0.0)

    def failed(self, error: Exception) -> None:
        """A tick failed: tell, count, and wait a little longer each time before the next."""
        if not isinstance(error, SharedStateError):
            _log.error("publishing failed unexpectedly", exc_info=error)
        elif str(error) != self.metrics.last_error:
            _log.warning("publishing failed, trying again: %s", error)
        self.metrics.failures += 1
        self.metrics.last_error = str(error)
        self._pause = min(max(self._pause * 2, BACK_OFF[0]), BACK_OFF[1], self.beat_every)
        self._retry_at = awake_clock() + self._pause
        self._at_once = False

    def tick(self, disturbed: bool) -> Flow[None]:
        """Whatever is due now. `disturbed` tells that acknowledged writes may have been lost since the last tick."""
        now = awake_clock()
        self._at_once = False
        disturbed, self._doubted = disturbed or self._doubted, False
        if self._lost or now >= self._beaten + self.beat_every:
            yield from self.beat()
        # Publishing comes first: a primary that is away, asked by verify, must not hold up news for the others.
        yield from self.publish()
        if disturbed or now >= self._verified + VERIFY_EVERY:
            yield from self.verify()
        if disturbed or now >= self._audited + AUDIT_EVERY:
            yield from self.audit()
        self._retry_at = self._pause = 0.0

    def beat(self) -> Flow[None]:
        """Heartbeat, and reaping of the dead that this member is given. One round trip when nobody died."""
        if self._lost or not (yield from self._stay_live()):
            yield from self.rejoin()
            return
        while self._given:
            yield from self._beating(bury_flow(self.keys, self._given[0]))
            del self._given[0]
            self.metrics.reaped += 1

    def _stay_live(self) -> Flow[bool]:
        """A heartbeat and nothing else; False when this incarnation is fenced. Whom it hands over waits in `_given`."""
        began = awake_clock()
        answer = yield from only(fleet.beat(self.keys, self.member.incarnation, round(self.live_for * 1000)))
        if answer.live:
            self._beaten = began
            self.live_members = max(answer.members, 1)
            self._given += [incarnation for incarnation in answer.reap if incarnation not in self._given]
        return answer.live

    def _beating(self, flow: Flow[T]) -> Flow[T]:
        """A flow that may be long, with heartbeats between its round trips.

        Fenced meanwhile, it goes on: the heartbeat before the next publish is told again, and rejoins.
        """
        try:
            calls = next(flow)
            while True:
                if awake_clock() >= self._beaten + self.beat_every:
                    yield from self._stay_live()
                calls = flow.send((yield calls))
        except StopIteration as finished:
            done: T = finished.value
            return done
        finally:
            flow.close()

    def publish(self) -> Flow[bool]:
        """Publish every change made before the call, counts and audit series; True when all is acknowledged.

        One pipelined round trip for each 1000 changed fields of a shard. False when items were being taken all the
        while: they stay to be published.

        Raises:
            LinkError: some shard did not answer; what it did not acknowledge stays to be sent.
        """
        spent = time.thread_time()
        flows = [self._publish_gauges(), self._publish_audits()]
        if self._audits_first:  # in turn: a primary that hangs takes the time of what comes second
            flows.reverse()
        self._audits_first = not self._audits_first
        yield from each(flows)
        thin = self._thin + (self.audits.thin if self.audits is not None else 0)
        rest = max(_REST * (time.thread_time() - spent), _THIN_REST * thin, MIN_INTERVAL)
        self._interval = min(rest, MAX_INTERVAL)
        return self._all_out

    def _publish_audits(self) -> Flow[None]:
        if self.audits is not None:
            yield from self.audits.publish(self._beat_if_due)

    def _beat_if_due(self) -> Flow[None]:
        """Between the round trips of a long publish, which must not outlive the member's own time."""
        if self._lost or awake_clock() >= self._beaten + self.beat_every:
            yield from self.beat()

    def _publish_gauges(self) -> Flow[None]:
        if self._lost:
            yield from self.beat()
        self._published = awake_clock()
        self._thin = 0
        self._urgent = False
        self.board.tidy()
        for store in self.stores:
            store.fold()
        rounds = 0
        while True:
            yield from self._beat_if_due()
            work, kept = self._collect()
            if not work:
                self._all_out = not kept
                if not kept or rounds == _TAKE_ROUNDS:
                    return
                rounds += 1
                yield from self._look_at(kept)  # one round trip later those who take now are done
                continue
            self._thin += sum(len(batch) < _THIN for *_, batch in work)
            try:
                outcomes = yield [
                    gauge.publish(
                        self.keys,
                        store.spec.name,
                        shard.index,
                        self.member.incarnation,
                        shard.acknowledged,
                        sequence,
                        batch,
                    )
                    for store, shard, sequence, batch in work
                ]
            except BaseException:  # the driver gave up (a cancelled or interrupted flush): fate unknown
                with self.board.lock:
                    for _, shard, _, batch in work:
                        shard.failed(batch)
                self.board.settled()
                raise
            with self.board.lock:
                failure = self._settle(work, outcomes)
            self.board.settled()
            if self._lost:
                yield from self.rejoin()
            elif failure is not None:
                raise failure

    def _collect(self) -> tuple[list[_Batch], list[tuple[GaugeStore, Shard]]]:
        """The next batch of each shard, and the shards with changes that have to wait for a take."""
        work: list[_Batch] = []
        kept: list[tuple[GaugeStore, Shard]] = []
        with self.board.lock:
            for store in self.stores:
                for shard in store.shards:
                    if shard.dirty:
                        sequence, batch = store.batch(shard)
                        if batch:
                            work.append((store, shard, sequence, batch))
                        else:
                            kept.append((store, shard))
        return work, kept

    def _look_at(self, places: Iterable[tuple[GaugeStore, Shard]]) -> Flow[None]:
        for outcome in (
            yield [
                gauge.sequence(self.keys, store.spec.name, shard.index, self.member.incarnation)
                for store, shard in places
            ]
        ):
            if isinstance(outcome, BaseException):
                raise outcome

    def _settle(self, work: list[_Batch], outcomes: list[object]) -> BaseException | None:
        failure: BaseException | None = None
        for (_, shard, sequence, batch), outcome in zip(work, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                shard.failed(batch, late=isinstance(outcome, AmbiguousError))
                self.metrics.resent += len(batch)
                failure = outcome
                continue
            assert isinstance(outcome, tuple)
            status, last = outcome
            if status == 1:
                shard.applied(sequence, batch)
                self.metrics.published += len(batch)
                continue
            shard.failed(batch, late=False)
            self.metrics.resent += len(batch)
            if status < 0 or not shard.reconcile(last):
                self._lost = True
        return failure

    def verify(self) -> Flow[None]:
        """Compare what the shards have with what was acknowledged; what was forgotten becomes due again.

        One pipelined round trip, two more for audit series.

        Raises:
            LinkError: some shard did not answer; those that did are compared.
        """
        yield from each(
            [self._verify_gauges(), self.audits.verify()] if self.audits else [self._verify_gauges()]
        )
        self._verified = awake_clock()

    def _verify_gauges(self) -> Flow[None]:
        failure: BaseException | None = None
        places = [(store, shard) for store in self.stores for shard in store.shards if shard.acknowledged]
        if places:
            outcomes = yield [
                gauge.sequence(self.keys, store.spec.name, shard.index, self.member.incarnation)
                for store, shard in places
            ]
            with self.board.lock:
                for (_, shard), outcome in zip(places, outcomes, strict=True):
                    if isinstance(outcome, BaseException):
                        failure = outcome
                    elif outcome < 0 or not shard.reconcile(outcome):
                        self._lost = True
            self.board.settled()
            if self._lost:
                yield from self.rejoin()
        if failure is not None:
            raise failure

    def audit(self) -> Flow[None]:
        """As leader: reap incarnations that a shard knows and the fleet does not (a tombstone or a join was lost).

        The shards are read before the fleet, so that a member that joins meanwhile is not taken for unknown.
        """
        seen: Fleet = yield from only(fleet.look(self.keys))
        if seen.leader is not None and seen.leader.incarnation == self.member.incarnation:
            specs = list(seen.objects.values())
            places = [(spec, shard) for spec in specs for shard in range(spec.shards)]
            outcomes = yield [gauge.registry(self.keys, spec.name, shard) for spec, shard in places]
            known: set[str] = set()
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
                known.update(incarnation for incarnation, last in outcome.items() if last >= 0)
            now: Fleet = yield from only(fleet.look(self.keys))
            known -= {member.incarnation for member in now.members}
            known -= {*now.dying, *now.overdue, self.member.incarnation}
            for incarnation in sorted(known):
                yield from self._beating(reap_flow(self.keys, incarnation, specs))
                self.metrics.reaped += 1
        self._audited = awake_clock()
