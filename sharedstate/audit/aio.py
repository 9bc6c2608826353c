"""`state.audit` and `observer.audit` for asyncio: the same core as `faces`; only the waiting differs.

Counting changes memory only and is an ordinary call; whatever asks Redis is awaited.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from sharedstate.call import Flow
from sharedstate.specs import DEFAULT_SHARDS

from .core import AuditCore, MemberCore
from .reading import Question
from .series import Monitor, SeriesSpec
from .sketch import Durations
from .store import AuditMetrics

__all__ = ["AsyncAudit", "AsyncAuditReader"]

_Run = Callable[[Flow[Any]], Awaitable[Any]]
_Monitor = str | int | Monitor | None


class AsyncAuditReader:
    """The fleet's audit series, read; see `sharedstate.audit.faces.AuditReader` for costs and errors."""

    def __init__(self, core: AuditCore, run: _Run) -> None:
        self._core = core
        self._run = run

    async def series(self) -> list[SeriesSpec]:
        """Every series, by name."""
        found: list[SeriesSpec] = await self._run(self._core.all_series())
        return found

    async def spec(self, series: str) -> SeriesSpec:
        """One series."""
        found: SeriesSpec = await self._run(self._core.spec(series))
        return found

    async def nodes(self, series: str) -> list[str]:
        """Nodes that counted in a series while its windows last."""
        found: list[str] = await self._run(self._core.node_names(series))
        return found

    async def count(
        self,
        series: str,
        key: str,
        start: int = 0,
        end: int | None = None,
        node: str | None = None,
        monitor: _Monitor = None,
    ) -> int:
        """Count of an address, a block or a text over the windows `start` to `end` (`start` alone by default)."""
        return sum((await self.windows_many([Question(series, key, start, end, node, monitor)]))[0])

    async def count_many(self, questions: Sequence[Question]) -> list[int]:
        """Counts of several series, keys, blocks, windows and nodes at once: one round trip in all."""
        return [sum(counts) for counts in await self.windows_many(questions)]

    async def windows(
        self, series: str, key: str, node: str | None = None, monitor: _Monitor = None
    ) -> list[int]:
        """Count in each window, the current one first."""
        last = (await self.spec(series)).monitor(monitor).count - 1
        return (await self.windows_many([Question(series, key, 0, last, node, monitor)]))[0]

    async def smoothed(
        self, series: str, key: str, node: str | None = None, monitor: _Monitor = None
    ) -> float:
        """The current window, plus the one before weighted by how much of it a window-long look back still covers."""
        question = Question(series, key, node=node, monitor=monitor)
        found: float = await self._run(self._core.smoothed(question))
        return found

    async def durations(
        self,
        series: str,
        key: str,
        start: int = 0,
        end: int | None = None,
        node: str | None = None,
        monitor: _Monitor = None,
    ) -> Durations:
        """Mean and quantiles of a series of type time over the windows `start` to `end`."""
        question = Question(series, key, start, end, node, monitor)
        return sum(await self._run(self._core.durations(question)), Durations(0, 0.0, {}))

    async def duration_windows(
        self, series: str, key: str, node: str | None = None, monitor: _Monitor = None
    ) -> list[Durations]:
        """The durations in each window, the current one first. One round trip."""
        last = (await self.spec(series)).monitor(monitor).count - 1
        found: list[Durations] = await self._run(
            self._core.durations(Question(series, key, 0, last, node, monitor))
        )
        return found

    async def pages(
        self, series: str, window: int = 0, node: str | None = None, monitor: _Monitor = None
    ) -> AsyncIterator[dict[str, int]]:
        """Every key of one window with its count, page by page and unsorted, no key twice."""
        reader = await self._run(self._core.reader(series, window, node, monitor))
        text = (await self.spec(series)).text
        while not reader.done:
            page = await self._run(reader.next())
            if page:
                yield {text(field): count for field, count in page}

    async def adjust(
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
        await self.adjust_many(series, {key: count}, window, node, monitor)

    async def adjust_many(
        self,
        series: str,
        counts: Mapping[str, int],
        window: int = 0,
        node: str | None = None,
        monitor: _Monitor = None,
    ) -> None:
        """The same for many keys at once; a round trip for each 1000 that live together. All keys are checked first."""
        await self._run(self._core.adjust(series, counts, window, node, monitor))

    async def remove_item(self, series: str, key: str, monitor: _Monitor = None) -> int:
        """Take an address or text out of every window of a series (or of one monitor's), of every node.

        What is counted of it meanwhile stays; two that remove the same at the same moment may take it out twice.
        Three round trips, and some for each node.

        Returns:
            What it counted in the windows of that monitor, the first by default.
        """
        found: int = await self._run(self._core.remove(series, key, monitor))
        return found

    async def clear(self, series: str) -> None:
        """Empty every window of a series, of every node. What members have not published yet still comes.

        Two round trips, one call for each window, shard and node.
        """
        await self._run(self._core.clear(series))

    async def windows_many(self, questions: Sequence[Question]) -> list[list[int]]:
        """For each question the count in each of its windows, `start` first. One round trip in all."""
        found: list[list[int]] = await self._run(self._core.counts(questions))
        return found


class AsyncAudit(AsyncAuditReader):
    """The audit series of a member: it counts, too. `metrics` as in `sharedstate.audit.faces.Audit`."""

    def __init__(self, core: MemberCore, run: _Run) -> None:
        super().__init__(core, run)
        self._member = core
        self._adders: dict[str, Callable[[str, int], None]] = {}
        self.metrics: AuditMetrics = core.metrics

    async def define(
        self,
        series: str,
        monitor: str | Iterable[str | Monitor],
        type: str = "cidr",  # noqa: A002 - the word of the configuration
        replicate: str | None = None,
        shards: int = DEFAULT_SHARDS,
        max_delay: float = 1.0,
        max_pending: int = 100,
    ) -> SeriesSpec:
        """Define a series, or find it defined alike; arguments and errors as in `Audit.define`."""
        spec: SeriesSpec = await self._run(
            self._member.define(series, monitor, type, replicate, shards, max_delay, max_pending)
        )
        return spec

    def add(self, series: str, key: str, count: int = 1) -> None:
        """Count something that happens now. Memory only, no I/O."""
        add = self._adders.get(series)
        if add is None:
            add = self._adders[series] = self._member.store(series).add
        add(key, count)

    def add_seconds(self, series: str, key: str, seconds: float) -> None:
        """Count a duration that ended now, in a series of type time. Memory only, no I/O."""
        self._member.store(series).add_seconds(key, seconds)
