"""Flows that answer questions about audit series; the sync and asyncio faces share them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sharedstate.call import Call, Flow, only
from sharedstate.clock import awake_clock
from sharedstate.errors import InvalidValueError
from sharedstate.keys import Keys
from sharedstate.names import parse_block

from . import calls, sketch
from .clock import ServerClock, server_time
from .engine import AuditEngine, tell_time
from .packed import entries, is_branch, path_count
from .places import Place, block_place, key_size, leaf_of, shard_of
from .series import Monitor, SeriesSpec, SeriesType
from .sketch import Durations
from .store import AuditMetrics, SeriesStore

__all__ = [
    "Asked",
    "Question",
    "WindowReader",
    "adjust_flow",
    "ask_flow",
    "clear_flow",
    "durations_flow",
    "nodes_flow",
    "plan",
    "remove_flow",
]


class Question(NamedTuple):
    """What `count_many` is asked.

    Attributes:
        series: name of the series.
        key: address, block, or text.
        start: the newest window wanted; 0 is the current one.
        end: the oldest, `start` by default.
        node: one node's part, or None for all.
        monitor: which windows, such as ``"300,6"`` or 300; the series' first by default.
    """

    series: str
    key: str
    start: int = 0
    end: int | None = None
    node: str | None = None
    monitor: str | int | Monitor | None = None

    def windows(self, monitor: Monitor) -> range:
        """The windows asked for, newest first.

        Raises:
            InvalidValueError: the monitor has no such windows.
        """
        end = self.start if self.end is None else self.end
        if self.start.__class__ is end.__class__ is int and 0 <= self.start <= end < monitor.count:
            return range(self.start, end + 1)
        for number in (self.start, end):
            if not isinstance(number, int) or not 0 <= number < monitor.count:
                raise InvalidValueError(
                    f"series {self.series!r} has windows 0 to {monitor.count - 1} of {monitor.interval} s, "
                    f"not {number!r}."
                )
        raise InvalidValueError(
            f"windows {self.start} to {end} are in the wrong order: 0 is the newest, give the smaller first."
        )


class Asked(NamedTuple):
    """A question made ready: which series, windows, node and place."""

    spec: SeriesSpec
    monitor: Monitor
    windows: range
    node: str | None
    place: Place


def plan(spec: SeriesSpec, question: Question) -> Asked:
    """Make a question ready.

    Raises:
        InvalidValueError: the series has no such key, block or windows.
    """
    monitor = spec.monitor(question.monitor)
    windows = question.windows(monitor)
    if spec.type.is_cidr:
        block = parse_block(question.key)
        spec.check_family(block.family, question.key)
        place = block_place(block, spec.shards)
    elif spec.type is SeriesType.TIME:
        name = spec.field(question.key)
        place = Place(shard_of(name, spec.shards), (sketch.COUNTS + name, sketch.SUM + name), 2)
    else:
        name = spec.field(question.key)
        place = Place(shard_of(name, spec.shards), (name,))
    return Asked(spec, monitor, windows, question.node, place)


def _fetch_flow(
    keys: Keys, clock: ServerClock, asked: Sequence[Asked], now: float | None = None
) -> Flow[list[list[list[bytes | None]]]]:
    """For each question, for each of its windows, the fields of its place. One round trip, the first time one more."""
    if not clock.known:
        yield from tell_time(keys, clock)
    if now is None:
        now = clock.now()
    if len(asked) == 1 and not clock.stale:  # the usual question, short
        (one,) = asked
        interval, place = one.monitor.interval, one.place
        current = int(now // interval)
        found = yield [
            calls.read(
                keys.audit_window(one.spec.name, interval, place.shard, current - window, one.node),
                place.fields,
            )
            for window in one.windows
        ]
        for outcome in found:
            if isinstance(outcome, BaseException):
                raise outcome
        return [found]
    wanted: dict[str, dict[bytes, int]] = {}  # of each hash its fields, and where each stands in the answer
    places: list[list[str]] = []
    for one in asked:
        current = int(now // one.monitor.interval)
        hashes = [
            keys.audit_window(
                one.spec.name, one.monitor.interval, one.place.shard, current - window, one.node
            )
            for window in one.windows
        ]
        places.append(hashes)
        for name in hashes:
            fields = wanted.setdefault(name, {})
            for field in one.place.fields:
                fields.setdefault(field, len(fields))
    sent: list[Call[Any]] = [calls.read(name, list(fields)) for name, fields in wanted.items()]
    ask_time = clock.stale
    if ask_time:
        sent.append(server_time(keys))
    began = awake_clock()
    outcomes = yield sent
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    if ask_time:
        clock.sample(outcomes[-1], began, awake_clock())
    answers = dict(zip(wanted, outcomes, strict=False))
    return [
        [[answers[name][wanted[name][field]] for field in one.place.fields] for name in hashes]
        for one, hashes in zip(asked, places, strict=True)
    ]


def ask_flow(keys: Keys, clock: ServerClock, asked: Sequence[Asked]) -> Flow[list[list[int]]]:
    """For each question the count in each of its windows. One pipelined round trip, one call for each window and shard.

    Raises:
        LinkError: Redis did not answer.
    """
    fetched = yield from _fetch_flow(keys, clock, asked)
    return [[_count(one, texts) for texts in windows] for one, windows in zip(asked, fetched, strict=True)]


def _count(one: Asked, texts: list[bytes | None]) -> int:
    place = one.place
    if one.spec.type is SeriesType.TIME:
        return _durations(texts).count
    if place.size:
        return path_count(texts, place.size, place.prefix, place.bits)
    return int(texts[0] or 0)


def _durations(texts: list[bytes | None]) -> Durations:
    buckets, micros = texts
    return Durations.of(dict(entries(buckets, 2)) if buckets else {}, int(micros or 0))


def durations_flow(keys: Keys, clock: ServerClock, asked: Sequence[Asked]) -> Flow[list[list[Durations]]]:
    """For each question about a series of type time, the durations in each of its windows. One round trip."""
    for one in asked:
        if one.spec.type is not SeriesType.TIME:
            raise InvalidValueError(
                f"series {one.spec.name!r} has type {one.spec.type}; durations are kept by series of type time."
            )
    fetched = yield from _fetch_flow(keys, clock, asked)
    return [[_durations(texts) for texts in windows] for windows in fetched]


def nodes_flow(keys: Keys, spec: SeriesSpec) -> Flow[set[str]]:
    """Names of the nodes that counted in a series while its windows last. One round trip."""
    outcomes = yield [
        calls.registry(keys, spec.name, monitor.interval, shard)
        for monitor in spec.monitors
        for shard in range(spec.shards)
    ]
    found: set[str] = set()
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        found |= outcome
    return found


def adjust_flow(
    keys: Keys,
    clock: ServerClock,
    spec: SeriesSpec,
    node: str,
    changes: Iterable[tuple[Monitor, int, dict[bytes, int]]],
) -> Flow[None]:
    """Change counts of a node by hand: (monitor, window, field to change). Applied once, as members' batches are."""
    store = SeriesStore(spec, clock, lambda: None, AuditMetrics())
    for monitor, window, fields in changes:
        store.put(monitor, window, fields)
    engine = AuditEngine(keys, node, AuditMetrics())
    engine.clock = clock
    engine.stores[spec.name] = store
    yield from engine.publish()


def clear_flow(keys: Keys, clock: ServerClock, spec: SeriesSpec) -> Flow[None]:
    """Empty every window of a series, the one before the oldest included."""
    nodes = yield from nodes_flow(keys, spec)
    now = clock.now()
    outcomes = yield [
        calls.unlink(keys.audit_window(spec.name, monitor.interval, shard, window, node))
        for monitor in spec.monitors
        for shard in range(spec.shards)
        for window in range(int(now // monitor.interval) - monitor.count, int(now // monitor.interval) + 1)
        for node in (None, *nodes)
    ]
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


def remove_flow(
    keys: Keys, clock: ServerClock, spec: SeriesSpec, key: str, monitors: Sequence[Monitor]
) -> Flow[int]:
    """Take a key out of every window of some monitors; returns what it counted in the windows of the first.

    What is counted of it meanwhile stays. Three round trips, and some for each node.
    """
    field = spec.field(key)
    nodes = sorted((yield from nodes_flow(keys, spec)))
    removed = 0
    for node in nodes:
        asked = [
            plan(spec, Question(spec.name, key, 0, monitor.count - 1, node, monitor)) for monitor in monitors
        ]
        if not clock.known:
            yield from tell_time(keys, clock)
        now = clock.now()
        fetched = yield from _fetch_flow(keys, clock, asked, now)
        changes: list[tuple[Monitor, int, dict[bytes, int]]] = []
        for one, windows in zip(asked, fetched, strict=True):
            current = int(now // one.monitor.interval)
            for window, texts in zip(one.windows, windows, strict=True):
                count = _count(one, texts)
                removed += count if one.monitor is monitors[0] else 0
                if spec.type is SeriesType.TIME:
                    kept = {
                        sketch.COUNTS + field + k: -n for k, n in (entries(texts[0], 2) if texts[0] else ())
                    }
                    kept[sketch.SUM + field] = -int(texts[1] or 0)
                else:
                    kept = {field: -count}
                kept = {place: change for place, change in kept.items() if change}
                if kept:
                    changes.append((one.monitor, current - window, kept))
        yield from adjust_flow(keys, clock, spec, node, changes)
    return removed


class WindowReader:
    """Where a walk through one window stands: every key with its count, page by page.

    Args:
        keys: key factory of the fleet.
        spec: the series; not of type time.
        monitor: which of its windows.
        window: the window by its number since the epoch.
        node: one node's part, or None for all.
    """

    def __init__(
        self, keys: Keys, spec: SeriesSpec, monitor: Monitor, window: int, node: str | None = None
    ) -> None:
        self._keys = keys
        self._spec = spec
        self._hash = (spec.name, monitor.interval)
        self._window = window
        self._node = node
        self._shard = 0
        self._cursor = b"0"
        self._seen: set[bytes] = set()

    @property
    def done(self) -> bool:
        """Whether every shard was read."""
        return self._shard >= self._spec.shards

    def next(self) -> Flow[list[tuple[bytes, int]]]:
        """The next page of (field, count), no field twice, zeros left out; it may be empty. One round trip."""
        name = self._keys.audit_window(*self._hash, self._shard, self._window, self._node)
        cursor, found = yield from only(calls.page(name, self._cursor))
        page: list[tuple[bytes, int]] = []
        for field, text in found.items():
            if field in self._seen:
                continue  # HSCAN may repeat
            if not self._spec.type.is_cidr:
                self._seen.add(field)
                page.append((field, int(text)))
            elif leaf_of(field) and not is_branch(text):
                # A leaf that is split while we read comes again as leaves below it.
                if any(field[:end] in self._seen for end in range(3, len(field))):
                    continue
                self._seen.add(field)
                page += [(field + key, count) for key, count in entries(text, key_size(field))]
        self._cursor = cursor
        if cursor == b"0":
            self._shard += 1
            self._seen = set()
        return [(field, count) for field, count in page if count]
