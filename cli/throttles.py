"""What the ``throttle`` commands show, as data: summed up, grouped by node, and compared with the look before."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sharedstate.objects.throttle import BucketView, Holder

__all__ = ["SORTS", "Pace", "Part", "Summary", "ThrottleReport", "choose", "pace", "report", "summarize"]

#: What a list of throttles can be sorted by.
SORTS = ("name", "used", "refused")


class Pace(NamedTuple):
    """What happened between two looks, a second.

    Attributes:
        admitted: tokens taken.
        refused: checks refused.
    """

    admitted: float
    refused: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A throttle in a list.

    Attributes:
        name: its name.
        view: what was seen of it.
        pace: since the look before; None at the first.
    """

    name: str
    view: BucketView
    pace: Pace | None = None

    @property
    def spent(self) -> int:
        """Tokens of the capacity that are spent or leased out; more than it when some are promised ahead."""
        return self.view.spec.burst - self.view.left

    @property
    def used(self) -> float:
        """Share of the capacity that is spent or leased out, 0 to 1, or more."""
        return self.spent / self.view.spec.burst

    @property
    def holders(self) -> int:
        """Processes that hold a lease."""
        return sum(holder.held > 0 for holder in self.view.holders)

    @property
    def processes(self) -> int:
        """Processes that are remembered."""
        return len(self.view.holders)


@dataclass(frozen=True, slots=True)
class Part:
    """What one node, or one process, took of a throttle.

    Attributes:
        name: of the node or process.
        node: name of the node.
        processes: how many processes this is.
        taken: tokens.
        held: tokens leased and not known to be spent.
        lease_left: seconds until the last of its leases is over.
        refused: checks refused.
        idle: seconds since any of it asked the last time.
        pace: since the look before; None at the first.
    """

    name: str
    node: str
    processes: int
    taken: int
    held: int
    lease_left: float
    refused: int
    idle: float
    pace: Pace | None = None


@dataclass(frozen=True, slots=True)
class ThrottleReport:
    """One throttle, and who took of it.

    Attributes:
        summary: the throttle.
        node: the one node whose part this is, None for all.
        by_process: whether `parts` are processes.
        parts: who took, those with most first.
    """

    summary: Summary
    node: str | None
    by_process: bool
    parts: tuple[Part, ...]

    @property
    def taken(self) -> int:
        """Tokens taken by all parts."""
        return sum(part.taken for part in self.parts)

    @property
    def refused(self) -> int:
        """Checks refused by all parts."""
        return sum(part.refused for part in self.parts)

    @property
    def pace(self) -> Pace | None:
        """What all parts did since the look before; None at the first."""
        if self.summary.pace is None:
            return None
        paces = [part.pace for part in self.parts if part.pace]
        return Pace(sum(pace.admitted for pace in paces), sum(pace.refused for pace in paces))


def pace(before: Iterable[Holder], after: Iterable[Holder], seconds: float) -> Pace | None:
    """What processes took and refused between two looks, a second; None when no time went by.

    A process that was not there before, or whose numbers fell (the bucket was lost and made anew), has done all
    of it since; one that is gone by now has done nothing.
    """
    if seconds <= 0:
        return None
    known = {holder.who: holder for holder in before}
    taken = refused = 0
    for holder in after:
        old = known.get(holder.who)
        taken += _risen(old.taken if old else 0, holder.taken)
        refused += _risen(old.refused if old else 0, holder.refused)
    return Pace(taken / seconds, refused / seconds)


def _risen(before: int, after: int) -> int:
    return after - before if after >= before else after


def summarize(
    views: Mapping[str, BucketView], before: Mapping[str, BucketView] | None = None
) -> list[Summary]:
    """A line for each throttle, by name.

    Args:
        views: throttles as they are now.
        before: as they were at the look before.
    """
    return [
        Summary(name, view, _since((before or {}).get(name), view)) for name, view in sorted(views.items())
    ]


def _since(before: BucketView | None, now: BucketView) -> Pace | None:
    if before is None:
        return None
    return pace(before.holders, now.holders, now.at - before.at)


def choose(summaries: Sequence[Summary], *, sort: str, top: int | None = None) -> list[Summary]:
    """Choose and order throttles.

    Args:
        summaries: all there are.
        sort: ``name``, or ``used`` or ``refused``, the highest first.
        top: only so many: those with the most refusals when sorted by that, else the most used ones.
    """

    def by_number(summary: Summary) -> tuple[float, str]:
        return -(summary.view.refused if sort == "refused" else summary.used), summary.name

    chosen = list(summaries) if top is None else heapq.nsmallest(top, summaries, key=by_number)
    return sorted(chosen, key=(lambda summary: summary.name) if sort == "name" else by_number)


def report(
    name: str,
    view: BucketView,
    before: BucketView | None = None,
    *,
    node: str | None = None,
    by_process: bool = False,
) -> ThrottleReport:
    """One throttle with who took of it.

    Args:
        name: the throttle's.
        view: as it is now.
        before: as it was at the look before.
        node: that node's part only.
        by_process: a part for each process instead of each node.
    """
    groups: dict[str, list[Holder]] = {}
    for holder in view.holders:
        if node is None or holder.node == node:
            groups.setdefault(holder.who if by_process else holder.node, []).append(holder)
    seconds = 0.0 if before is None else view.at - before.at
    parts = [
        Part(
            name=who,
            node=group[0].node,
            processes=len(group),
            taken=sum(holder.taken for holder in group),
            held=sum(holder.held for holder in group),
            lease_left=max(holder.lease_left for holder in group),
            refused=sum(holder.refused for holder in group),
            idle=min(holder.idle for holder in group),
            pace=pace(before.holders if before else (), group, seconds),
        )
        for who, group in groups.items()
    ]
    parts.sort(key=lambda part: (-part.taken, -part.held, part.name))
    return ThrottleReport(Summary(name, view, _since(before, view)), node, by_process, tuple(parts))
