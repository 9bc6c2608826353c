"""Tables of audit series for people, drawn with rich. Text from outside goes through `printable`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from .text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sharedstate.audit.series import SeriesSpec

    from ..audit_report import DomainRow, Top, WindowRow

__all__ = ["answer_table", "domain_table", "inbound_table", "series_table", "sparkline", "top_table"]

_LEVELS = "▁▂▃▄▅▆▇█"
_ASCII_LEVELS = ".:-=+*#@"
_SPARK_MOST = 24


def sparkline(counts: Sequence[int], *, ascii_only: bool = False) -> str:
    """Windows as one line, the oldest left and the current one right; nothing counted is a blank."""
    levels = _ASCII_LEVELS if ascii_only else _LEVELS
    shown = list(reversed(counts[:_SPARK_MOST]))
    most = max(shown, default=0)
    return "".join(
        " " if count <= 0 else levels[min(len(levels) - 1, count * len(levels) // (most + 1))]
        for count in shown
    )


def _cell(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)


def _table() -> Table:
    return Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1), header_style="bold"
    )


def inbound_table(
    key: str, node: str | None, rows: Sequence[WindowRow], *, width: int, ascii_only: bool = False
) -> RenderableType:
    """``inbound_audit show ip``: a row for each series and monitor, a column for each node that has room."""
    title = Text.assemble(_cell(key, "bold"), ", view ", _cell(node or "global", "bold"))
    if not rows:
        return Text.assemble(title, "\n\nNothing to show: no series holds addresses of this kind.")
    nodes = sorted({one for row in rows for one in row.nodes})
    room = max(0, (width - 64) // 14)
    shown, others = nodes[:room], nodes[room:]
    table = _table()
    table.add_column("Series", overflow="fold")
    table.add_column("Windows", justify="right", no_wrap=True)
    table.add_column("Oldest to now", no_wrap=True)
    for heading in ("Now", "Before", "Total", *map(printable, shown)):
        table.add_column(heading, justify="right", no_wrap=True)
    if others:
        table.add_column("others", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            _cell(row.title),
            f"{row.monitor.count} x {row.monitor.interval} s",
            Text(sparkline(row.counts, ascii_only=ascii_only)),
            f"{row.counts[0]:,}",
            f"{row.counts[1]:,}" if len(row.counts) > 1 else "-",
            Text(f"{sum(row.counts):,}", style="bold"),
            *(f"{row.nodes.get(one, 0):,}" for one in shown),
            *([f"{sum(row.nodes.get(one, 0) for one in others):,}"] if others else []),
        )
    return Group(title, Text(), table)


def domain_table(rows: Sequence[DomainRow], node: str | None, *, ascii_only: bool = False) -> RenderableType:
    """``outbound_audit show``: a row for each domain and monitor, all windows together."""
    title = Text.assemble("Outbound, view ", _cell(node or "global", "bold"))
    if not rows:
        return Text.assemble(title, "\n\nNothing to show: no domain was counted.")
    table = _table()
    table.add_column("Domain", overflow="fold")
    table.add_column("Windows", justify="right", no_wrap=True)
    table.add_column("Deliveries", no_wrap=True)
    for heading in ("Received", "Delivered", "Mean s", "95% s", "Transient", "Failed"):
        table.add_column(heading, justify="right", no_wrap=True)
    groups: dict[tuple[str, int], list[DomainRow]] = {}
    for row in rows:
        groups.setdefault((row.domain, row.interval), []).append(row)
    for (domain, interval), windows in groups.items():
        delivered = sum(row.deliveries for row in windows)
        seconds = sum(row.seconds * row.deliveries for row in windows)
        table.add_row(
            _cell(domain, "bold"),
            f"{len(windows)} x {interval} s",
            Text(sparkline([row.deliveries for row in windows], ascii_only=ascii_only)),
            f"{sum(row.receptions for row in windows):,}",
            f"{delivered:,}",
            f"{seconds / delivered:.2f}" if delivered else "-",
            f"{max(row.slow for row in windows):.2f}",
            f"{sum(row.transfails for row in windows):,}",
            f"{sum(row.permfails for row in windows):,}",
        )
    note = Text("95% s: the worst window's; json and csv have each window's own.", style="dim")
    return Group(title, Text(), table, note)


def top_table(series: str, node: str | None, rows: Sequence[Top], keys: int) -> RenderableType:
    """``audit top``."""
    title = Text.assemble(_cell(series, "bold"), ", view ", _cell(node or "global", "bold"))
    if not rows:
        return Text.assemble(title, "\n\nNothing to show: nothing was counted in these windows.")
    table = _table()
    for heading in ("#", "Key", "Count", "Before", "Growth"):
        table.add_column(heading, justify="left" if heading == "Key" else "right", no_wrap=heading != "Key")
    for rank, row in enumerate(rows, 1):
        style = "red" if row.growth > 0 else "green" if row.growth < 0 else ""
        table.add_row(
            str(rank),
            _cell(row.key, "bold"),
            f"{row.count:,}",
            f"{row.before:,}",
            Text(f"{row.growth:+,}", style=style),
        )
    return Group(title, Text(), table, Text(f"{len(rows)} of {keys:,}", style="dim"))


def answer_table(columns: Sequence[str], rows: Iterable[Sequence[str]], files: int) -> RenderableType:
    """``audit query``."""
    table = _table()
    for column in columns:
        table.add_column(
            column.capitalize(), justify="right" if column == "count" else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*map(_cell, row[:-1]), f"{int(row[-1]):,}")
    return Group(table, Text(f"{table.row_count:,} rows from {files:,} files", style="dim"))


def series_table(specs: Sequence[SeriesSpec]) -> RenderableType:
    """``audit list``."""
    table = _table()
    for heading in ("Series", "Type", "Windows", "Seen by", "Shards"):
        table.add_column(heading, justify="right" if heading == "Shards" else "left", overflow="fold")
    for spec in specs:
        windows = ", ".join(f"{monitor.count} x {monitor.interval} s" for monitor in spec.monitors)
        table.add_row(_cell(spec.name, "bold"), spec.type, windows, spec.replicate, str(spec.shards))
    return table
