"""`state.audit` and `observer.audit` for ordinary (blocking) code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sharedstate.call import Flow
from sharedstate.specs import DEFAULT_SHARDS

from .core import AuditCore, MemberCore
from .reading import Question
from .series import Monitor, SeriesSpec
from .sketch import Durations
from .store import AuditMetrics

__all__ = ["Audit", "AuditReader"]

_Run = Callable[[Flow[Any]], Any]
_Monitor = str | int | Monitor | None


class AuditReader:
    """The fleet's audit series, read. Safe to use from many threads.

    Window 0 is the current one. `monitor` chooses among a series' windows, by ``"300,6"`` or 300; the first by
    default. Every question raises UnknownSeriesError, UnknownNodeError, InvalidValueError or LinkError.
    """

    def __init__(self, core: AuditCore, run: _Run) -> None:
        self._core = core
        self._run = run

    def series(self) -> list[SeriesSpec]:
        """Every series, by name. One round trip."""
        found: list[SeriesSpec] = self._run(self._core.all_series())
        return found

    def spec(self, series: str) -> SeriesSpec:
        """One series. No round trip once it is known."""
        found: SeriesSpec = self._run(self._core.spec(series))
        return found

    def nodes(self, series: str) -> list[str]:
        """Nodes that counted in a series while its windows last. One round trip, one call for each shard."""
        found: list[str] = self._run(self._core.node_names(series))
        return found

    def count(
        self,
        series: str,
        key: str,
        start: int = 0,
        end: int | None = None,
        node: str | None = None,
        monitor: _Monitor = None,
    ) -> int:
        """Count of an address, a block or a text over the windows `start` to `end` (`start` alone by default).

        One round trip, whatever the number of addresses in the block; one call for each window. The first question of
        a process about a series and about a node costs one more.

        Args:
            series: name of the series.
            key: address, block such as ``192.0.2.0/24``, or text.
            start: the newest window wanted, 0 is the current one.
            end: the oldest window wanted.
            node: one node's part; all nodes by default.
            monitor: which windows.
        """
        return sum(self.windows_many([Question(series, key, start, end, node, monitor)])[0])

    def count_many(self, questions: Sequence[Question]) -> list[int]:
        """Counts of several series, keys, blocks, windows and nodes at once: one round trip in all."""
        return [sum(counts) for counts in self.windows_many(questions)]

    def windows(self, series: str, key: str, node: str | None = None, monitor: _Monitor = None) -> list[int]:
        """Count in each window, the current one first. One round trip."""
        last = self.spec(series).monitor(monitor).count - 1
        return self.windows_many([Question(series, key, 0, last, node, monitor)])[0]

    def smoothed(self, series: str, key: str, node: str | None = None, monitor: _Monitor = None) -> float:
        """The current window, plus the one before weighted by how much of it the last `interval` seconds still cover.

        A limit on it does not start anew at a window's edge. One round trip.
        """
        found: float = self._run(self._core.smoothed(Question(series, key, node=node, monitor=monitor)))
        return found

    def durations(
        self,
        series: str,
        key: str,
        start: int = 0,
        end: int | None = None,
        node: str | None = None,
        monitor: _Monitor = None,
    ) -> Durations:
        """Mean and quantiles of a series of type time over the windows `start` to `end`. One round trip."""
        question = Question(series, key, start, end, node, monitor)
        return sum(self._run(self._core.durations(question)), Durations(0, 0.0, {}))

    def duration_windows(
        self, series: str, key: str, node: str | None = None, monitor: _Monitor = None
    ) -> list[Durations]:
        """The durations in each window, the current one first. One round trip."""
        last = (self.spec(series)).monitor(monitor).count - 1
        found: list[Durations] = self._run(
            self._core.durations(Question(series, key, 0, last, node, monitor))
        )
        return found

    def pages(
        self, series: str, window: int = 0, node: str | None = None, monitor: _Monitor = None
    ) -> Iterator[dict[str, int]]:
        """Every key of one window with its count, page by page and unsorted, no key twice.

        A round trip for each 500 fields; a field holds one text, or up to 256 addresses that are neighbours.
        """
        reader = self._run(self._core.reader(series, window, node, monitor))
        text = self.spec(series).text
        while not reader.done:
            page = self._run(reader.next())
            if page:
                yield {text(field): count for field, count in page}

    def adjust(
        self,
        series: str,
        key: str,
        count: int,
        window: int = 0,
        node: str | None = None,
        monitor: _Monitor = None,
    ) -> None:
        """Change a count by hand, at once, as if this node (or `node`) had counted it; in every monitor by default.

        Three to four round trips. Once, also when an answer is lost.
        """
        self.adjust_many(series, {key: count}, window, node, monitor)

    def adjust_many(
        self,
        series: str,
        counts: Mapping[str, int],
        window: int = 0,
        node: str | None = None,
        monitor: _Monitor = None,
    ) -> None:
        """The same for many keys at once; a round trip for each 1000 that live together. All keys are checked first."""
        self._run(self._core.adjust(series, counts, window, node, monitor))

    def remove_item(self, series: str, key: str, monitor: _Monitor = None) -> int:
        """Take an address or text out of every window of a series (or of one monitor's), of every node.

        What is counted of it meanwhile stays; two that remove the same at the same moment may take it out twice.
        Three round trips, and some for each node.

        Returns:
            What it counted in the windows of that monitor, the first by default.
        """
        found: int = self._run(self._core.remove(series, key, monitor))
        return found

    def clear(self, series: str) -> None:
        """Empty every window of a series, of every node. What members have not published yet still comes.

        Two round trips, one call for each window, shard and node.
        """
        self._run(self._core.clear(series))

    def windows_many(self, questions: Sequence[Question]) -> list[list[int]]:
        """For each question the count in each of its windows, `start` first. One round trip in all."""
        found: list[list[int]] = self._run(self._core.counts(questions))
        return found


class Audit(AuditReader):
    """The audit series of a member: it counts, too.

    Attributes:
        metrics: what became of the events counted; see `AuditMetrics`.
    """

    def __init__(self, core: MemberCore, run: _Run) -> None:
        super().__init__(core, run)
        self._member = core
        self._adders: dict[str, Callable[[str, int], None]] = {}
        self.metrics: AuditMetrics = core.metrics

    def define(
        self,
        series: str,
        monitor: str | Iterable[str | Monitor],
        type: str = "cidr",  # noqa: A002 - the word of the configuration
        replicate: str | None = None,
        shards: int = DEFAULT_SHARDS,
        max_delay: float = 1.0,
        max_pending: int = 100,
    ) -> SeriesSpec:
        """Define a series, or find it defined alike. One round trip.

        Args:
            series: its name.
            monitor: its windows: ``"300,6"`` is six of 300 s; several in a list, or separated by blanks.
            type: ``cidr``, ``cidr_ipv6``, ``cidr_any`` (both), ``string``, or ``time`` (strings with durations).
            replicate: ``cluster``, ``manager``, or ``none`` for this process alone; by default what the `metrics`
                configuration says of audit_series.
            shards: over how many hash tags its keys are spread.
            max_delay: seconds an event may wait before it is published.
            max_pending: events after which it is published without waiting.

        Raises:
            SeriesMismatchError: the fleet has a series of this name that is defined otherwise.
            InvalidValueError: an argument is not acceptable.
        """
        spec: SeriesSpec = self._run(
            self._member.define(series, monitor, type, replicate, shards, max_delay, max_pending)
        )
        return spec

    def add(self, series: str, key: str, count: int = 1) -> None:
        """Count something that happens now. Memory only, no I/O; any thread.

        Raises:
            UnknownSeriesError: the series was not defined here.
            InvalidValueError: key or count is not acceptable; nothing was counted.
            ClosedError: the state was closed.
        """
        add = self._adders.get(series)
        if add is None:
            add = self._adders[series] = self._member.store(series).add
        add(key, count)

    def add_seconds(self, series: str, key: str, seconds: float) -> None:
        """Count a duration that ended now, in a series of type time. Memory only; errors as for `add`."""
        self._member.store(series).add_seconds(key, seconds)
