"""Tables of the ``throttle`` commands, for people."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from .drawing import GAP, bar, cell, duration, new_table, number, share
from .text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sharedstate.objects.throttle import BucketView
    from sharedstate.throttle.decision import Decision

    from ..throttles import Pace, Part, Summary, ThrottleReport

__all__ = ["decision_table", "list_table", "report_table", "reset_table"]

_BAR_MOST = 20
_BAR_LEAST = 5
#: A name or spec that is longer may be folded to make room for numbers and bars.
_NAME_MOST = 24
_SPEC_MOST = 24


class _Column(NamedTuple):
    """A column of numbers: its heading, a cell for each row, the cell below, and when it gives way.

    A column with a higher `yields` goes first when there is no room; 0 stays.
    """

    head: str
    cells: Sequence[str]
    foot: str = ""
    yields: int = 0

    @property
    def width(self) -> int:
        return max(len(self.head), len(self.foot), *map(len, self.cells))


def _that_fit(columns: Sequence[_Column], room: int) -> list[_Column]:
    """The columns for which there is room, in their order."""
    kept = list(columns)
    for column in sorted((column for column in columns if column.yields), key=lambda column: -column.yields):
        if sum(one.width + GAP for one in kept) <= room:
            break
        kept.remove(column)
    return kept


def list_table(
    summaries: Sequence[Summary],
    *,
    matched: int,
    width: int,
    now: dt.datetime,
    rates: bool = False,
    ascii_only: bool = False,
) -> RenderableType:
    """``throttle list``: as many columns as `width` has room for.

    Args:
        summaries: the throttles that are shown.
        matched: how many there are.
        width: columns of the terminal.
        now: for the title of a watch.
        rates: with what was admitted and refused a second.
        ascii_only: draw bars in ASCII.
    """
    title = Text.assemble((f"{number(matched)} throttle{'' if matched == 1 else 's'}", "bold"))
    title.append(f", {now:%Y-%m-%d %H:%M:%S}")
    if not summaries:
        return title
    columns = [
        _Column("Left", [number(summary.view.left) for summary in summaries]),
        _Column("Used", [share(summary.spent, summary.view.spec.burst) for summary in summaries]),
        _Column("Leased", [number(summary.view.leased) for summary in summaries], yields=2),
        _Column("Holders", [number(summary.holders) for summary in summaries], yields=4),
        _Column("Processes", [number(summary.processes) for summary in summaries], yields=5),
        _Column("Refused", [number(summary.view.refused) for summary in summaries], yields=1),
    ]
    if rates:
        columns += _rate_columns([summary.pace for summary in summaries])
    name_width = max(len("Throttle"), *(len(printable(summary.name)) for summary in summaries))
    spec_width = max(len("Spec"), *(len(str(summary.view.spec)) for summary in summaries))
    name_width, spec_width = min(name_width, _NAME_MOST), min(spec_width, _SPEC_MOST)
    columns = _that_fit(columns, width - name_width - spec_width - GAP)
    room = width - sum(column.width + GAP for column in columns) - name_width - spec_width - GAP
    bar_width = min(_BAR_MOST, room - GAP)

    table = new_table()
    table.add_column("Throttle", overflow="fold", style="bold")
    table.add_column("Spec", overflow="fold")
    for column in columns:
        table.add_column(column.head, justify="right", no_wrap=True)
        if column.head == "Used" and bar_width >= _BAR_LEAST:
            table.add_column("", no_wrap=True, width=bar_width)
    for index, summary in enumerate(summaries):
        cells: list[RenderableType] = [cell(summary.name), str(summary.view.spec)]
        for column in columns:
            cells.append(_counted(column.cells[index], red=column.head in ("Refused", "Refused/s")))
            if column.head == "Used" and bar_width >= _BAR_LEAST:
                cells.append(_gauge(summary, bar_width, ascii_only=ascii_only))
        table.add_row(*cells)
    parts: list[RenderableType] = [title, Text(), table]
    if matched > len(summaries):
        parts.append(
            Text(
                f"{number(len(summaries))} of {number(matched)} throttles; --top {matched} shows all.",
                style="dim",
            )
        )
    return Group(*parts)


def _counted(text: str, *, red: bool) -> Text:
    if text in ("0", "0.0", "-"):
        return Text(text, style="dim")
    return Text(text, style="red" if red else "")


def _gauge(summary: Summary, width: int, *, ascii_only: bool) -> Text:
    style = "red" if summary.used >= 1 else "yellow" if summary.used >= 0.8 else "cyan"
    burst = summary.view.spec.burst
    return Text(bar(min(summary.spent, burst), burst, width, ascii_only=ascii_only), style=style)


def _rate_columns(paces: Sequence[Pace | None], total: Pace | None = None) -> list[_Column]:
    def told(read: Callable[[Pace], float]) -> list[str]:
        return ["-" if pace is None else f"{read(pace):,.1f}" for pace in paces]

    return [
        _Column("Admitted/s", told(lambda pace: pace.admitted), f"{total.admitted:,.1f}" if total else ""),
        _Column("Refused/s", told(lambda pace: pace.refused), f"{total.refused:,.1f}" if total else ""),
    ]


def report_table(
    report: ThrottleReport,
    *,
    width: int,
    now: dt.datetime,
    rates: bool = False,
    most: int | None = None,
    ascii_only: bool = False,
) -> RenderableType:
    """``throttle show``: the bucket, and a row for each node or process.

    Args:
        report: what to show.
        width: columns of the terminal.
        now: for the title.
        rates: with what was admitted and refused a second.
        most: no more rows than that.
        ascii_only: draw bars in ASCII.
    """
    summary = report.summary
    view = summary.view
    title = Text.assemble(
        cell(summary.name, "bold"),
        f"  {view.spec}{', set by hand' if view.by_hand else ''}, view ",
        cell(report.node or "global", "bold"),
        f", {now:%Y-%m-%d %H:%M:%S}",
    )
    facts = Table.grid(padding=(0, GAP, 0, 0))
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    gauge = _gauge(summary, max(1, min(_BAR_MOST, width - 40)), ascii_only=ascii_only)
    facts.add_row("Left", Text(f"{number(view.left)} of {number(view.spec.burst)}"))
    facts.add_row("Used", Text.assemble(f"{share(summary.spent, view.spec.burst)}  ", gauge))
    facts.add_row("Leased out", Text(_leased(summary)))
    facts.add_row("Full again", Text(f"in {_span(view.reset_after)}" if view.reset_after else "now"))
    if not report.parts:
        nobody = cell(
            f"{report.node} has taken none of it lately."
            if report.node
            else "Nobody has taken any of it lately."
        )
        return Group(title, Text(), facts, Text(), nobody)
    shown = report.parts[:most]
    parts: list[RenderableType] = [
        title,
        Text(),
        facts,
        Text(),
        _part_table(report, shown, width=width, rates=rates, ascii_only=ascii_only),
    ]
    if len(shown) < len(report.parts):
        parts.append(Text(f"{number(len(shown))} of {number(len(report.parts))} rows.", style="dim"))
    return Group(*parts)


def _leased(summary: Summary) -> str:
    if not summary.view.leased:
        return "nothing"
    return (
        f"{number(summary.view.leased)} to {number(summary.holders)} "
        f"process{'' if summary.holders == 1 else 'es'}"
    )


def _part_table(
    report: ThrottleReport, parts: Sequence[Part], *, width: int, rates: bool, ascii_only: bool
) -> Table:
    total = report.taken
    columns = [
        _Column("Taken", [number(part.taken) for part in parts], number(total)),
        _Column("Share", [share(part.taken, total) for part in parts], share(total, total), yields=3),
        _Column(
            "Held", [number(part.held) for part in parts], number(sum(part.held for part in report.parts))
        ),
        _Column(
            "Lease ends", [_span(part.lease_left) if part.lease_left else "-" for part in parts], yields=2
        ),
        _Column("Refused", [number(part.refused) for part in parts], number(report.refused)),
        _Column("Idle", [_span(part.idle) for part in parts], yields=1),
    ]
    if not report.by_process:
        processes = sum(part.processes for part in report.parts)
        columns.insert(
            0, _Column("Processes", [number(part.processes) for part in parts], number(processes), yields=4)
        )
    if rates:
        columns += _rate_columns([part.pace for part in parts], report.pace)
    name_width = max(len("Process"), *(len(printable(part.name)) for part in parts))
    name_width = min(name_width, _NAME_MOST)
    columns = _that_fit(columns, width - name_width)
    bar_width = min(_BAR_MOST, width - sum(column.width + GAP for column in columns) - name_width - GAP)
    bars = bar_width >= _BAR_LEAST

    table = new_table(footer=True)
    table.add_column("Process" if report.by_process else "Node", "Total", overflow="fold")
    for column in columns:
        table.add_column(column.head, column.foot, justify="right", no_wrap=True)
        if column.head == "Share" and bars:
            table.add_column("", "", no_wrap=True, width=bar_width, style="cyan")
    largest = max(part.taken for part in parts)
    for index, part in enumerate(parts):
        cells: list[RenderableType] = [cell(part.name)]
        for column in columns:
            cells.append(_counted(column.cells[index], red=column.head in ("Refused", "Refused/s")))
            if column.head == "Share" and bars:
                cells.append(bar(part.taken, largest, bar_width, ascii_only=ascii_only))
        table.add_row(*cells)
    return table


def _span(seconds: float) -> str:
    """As `duration`, with a tenth of a second where that still matters."""
    return f"{max(seconds, 0.0):.1f} s" if seconds < 10 else duration(seconds)


def decision_table(decision: Decision) -> RenderableType:
    """``throttle check``."""
    verdict = Text("allowed", style="green") if decision.allowed else Text("refused", style="red")
    facts = Table.grid(padding=(0, GAP, 0, 0))
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    facts.add_row(cell(decision.throttle), verdict)
    facts.add_row("Remaining", f"{number(decision.remaining)}, {number(decision.limit)} in a period")
    if not decision.allowed:
        facts.add_row("Retry after", f"{decision.retry_after:.3f} s")
    facts.add_row("Full again", f"in {decision.reset_after:.3f} s")
    facts.add_row("Decided by", str(decision.decided_by))
    return facts


def reset_table(filled: Sequence[tuple[str, BucketView]]) -> RenderableType:
    """``throttle reset``."""
    table = new_table()
    table.add_column("Throttle", overflow="fold", style="bold")
    table.add_column("Spec", overflow="fold")
    table.add_column("Left", justify="right", no_wrap=True)
    table.add_column("Leased", justify="right", no_wrap=True)
    for name, view in filled:
        table.add_row(cell(name), str(view.spec), number(view.left), number(view.leased))
    return table
