"""Tables for people, drawn with rich. Text from outside goes through `printable` and is never markup."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sharedstate.names import Block, parse_block
from sharedstate.specs import Kind, ObjectSpec

from .text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sharedstate.results import FleetInfo, Member

    from ..report import Report, Row

__all__ = ["ROW_LIMIT", "info_table", "member_table", "object_table", "report_table"]

#: Rows a table shows when not told how many: more is scrolled past unread, and costs seconds to draw.
ROW_LIMIT = 500

_GAP = 2
_BAR_MOST = 30
_BAR_LEAST = 8
_NODE_MOST = 14
_ITEM_LEAST = 18
_EIGHTHS = " ▏▎▍▌▋▊▉"


def _cell(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)


def _number(count: int) -> str:
    return f"{count:,}"


def bar(part: int, whole: int, width: int, *, ascii_only: bool) -> str:
    """A bar of `width` columns at most, in eighths of a column; anything above zero is visible."""
    if part <= 0 or whole <= 0:
        return ""
    if ascii_only:
        return "#" * max(1, round(width * part / whole))
    full, eighths = divmod(max(1, round(width * 8 * part / whole)), 8)
    return "█" * full + (_EIGHTHS[eighths] if eighths else "")


def share(part: int, whole: int) -> str:
    """Per cent of the total, one decimal; what rounds to nothing says so."""
    if whole <= 0:
        return "-"
    percent = 100 * part / whole
    return "<0.1%" if 0 < percent < 0.05 else f"{percent:.1f}%"


def _table(*, footer: bool = False) -> Table:
    return Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        show_footer=footer,
        pad_edge=False,
        padding=(0, 0, 0, _GAP - 1),  # the box has a blank between two columns of its own
        header_style="bold",
        footer_style="bold",
    )


_COUNTED = {
    "inbound_cidr": "inbound, by address",
    "outbound_cidr": "outbound, by address",
    "outbound_domains": "outbound, by {by}",
    "outbound_binding_domains": "outbound, by binding and domain",
    "outbound_scopes": "outbound, by capped scope",
}


def object_table(specs: Sequence[ObjectSpec]) -> RenderableType:
    """``shared list``."""
    table = _table()
    table.add_column("Object", overflow="fold")
    table.add_column("Kind", no_wrap=True)
    table.add_column("Connections", overflow="fold")
    table.add_column("Shards", justify="right", no_wrap=True)
    table.add_column("Sent after", no_wrap=True)
    for spec in specs:
        counted = _COUNTED[spec.cls].format(by=spec.count_by)
        table.add_row(
            _cell(spec.name, "bold"),
            _cell(str(spec.kind)),
            _cell(f"{counted}, group {spec.binding_group}" if spec.binding_group else counted),
            str(spec.shards),
            f"{spec.max_delay:g} s or {spec.max_pending}",
        )
    return table


def report_table(report: Report, *, width: int, now: dt.datetime, ascii_only: bool = False) -> RenderableType:
    """``shared show``: count, share, bar and per-node columns, as many as `width` has room for.

    Nodes without a column are added up as ``others``; the ones with the highest totals have columns of their
    own. What others have is worked out from the fleet's count, so a row always adds up.
    """
    rows = list(report.rows)
    title = Text.assemble(
        _cell(report.name, "bold"),
        f"  {report.spec.kind}, view ",
        _cell(report.label, "bold"),
        f", {now:%Y-%m-%d %H:%M:%S}",
    )
    if not rows:
        return Text.assemble(title, "\n\nNothing to show: no count is above zero.")
    indents = _indents(rows) if report.spec.kind is Kind.CIDR_TREE else [0] * len(rows)
    item_width = max(len(printable(row.item)) + indent for row, indent in zip(rows, indents, strict=True))
    count_width = max(len("Count"), len(_number(report.total)))
    node_width = [
        max(min(len(printable(node)), _NODE_MOST), len(_number(total)))
        for node, total in zip(report.nodes, report.node_totals, strict=True)
    ]
    fixed = count_width + _GAP + len("100.0%") + _GAP
    item_width = max(_ITEM_LEAST, min(item_width, width - fixed - _BAR_LEAST - _GAP))
    if report.nodes:
        # A few nodes beside a long name are worth more than the end of the name.
        item_width = max(_ITEM_LEAST, min(item_width, width - fixed - _BAR_LEAST - 3 * (_NODE_MOST + _GAP)))
    room = width - item_width - _GAP - fixed - _BAR_LEAST
    shown = _fit(report, node_width, room)
    others = report.live - len(shown) if shown else 0
    taken = sum(node_width[index] + _GAP for index in shown) + (_others_width(report) + _GAP if others else 0)
    bar_width = max(1, min(_BAR_MOST, room - taken + _BAR_LEAST))

    table = _table(footer=True)
    table.add_column(
        "Block" if report.spec.kind is Kind.CIDR_TREE else "Name",
        "Total",
        overflow="fold",  # the one column that may wrap: rich narrows it when a name is longer than planned
    )
    table.add_column(
        "Fleet" if report.nodes else "Count", _number(report.total), justify="right", no_wrap=True
    )
    table.add_column("Share", share(report.total, report.total), justify="right", no_wrap=True)
    table.add_column("", "", no_wrap=True, width=bar_width, style="cyan")
    for index in shown:
        table.add_column(
            _cell(report.nodes[index]),
            _number(report.node_totals[index]),
            justify="right",
            no_wrap=True,
            overflow="ellipsis",
            width=node_width[index],
        )
    if others:
        rest = report.total - sum(report.node_totals[index] for index in shown)
        table.add_column(_others(others), _number(max(0, rest)), justify="right", no_wrap=True)
    largest = max(row.total for row in rows)
    for row, indent in zip(rows, indents, strict=True):
        leader = max(row.nodes, default=0)
        cells: list[RenderableType] = [
            _cell(" " * indent + row.item),
            _number(row.total),
            share(row.total, report.total),
            bar(row.total, largest, bar_width, ascii_only=ascii_only),
        ]
        cells += [_part(row.nodes[index], leader) for index in shown]
        if others:
            rest = row.total - sum(row.nodes[index] for index in shown)
            cells.append(Text(_number(max(0, rest)), style="" if rest > 0 else "dim"))
        table.add_row(*cells)
    parts: list[RenderableType] = [title, Text(), table]
    if report.matched > len(rows):
        parts.append(
            Text(
                f"{_number(len(rows))} of {_number(report.matched)} rows; --top {report.matched} shows all.",
                style="dim",
            )
        )
    return Group(*parts)


def _part(count: int, leader: int) -> Text:
    """A node's count of a row; the node that has most of it stands out."""
    return Text(_number(count), style="dim" if not count else "bold" if count == leader else "")


def _others(nodes: int) -> str:
    return f"{nodes} other{'' if nodes == 1 else 's'}"


def _others_width(report: Report) -> int:
    return max(len(_others(report.live)), len(_number(report.total)))


def _fit(report: Report, widths: Sequence[int], room: int) -> list[int]:
    """Which nodes get a column: those with the highest totals, in order of joining."""
    if len(widths) < report.live or sum(widths) + _GAP * len(widths) > room:
        room -= _others_width(report) + _GAP
    shown: list[int] = []
    for index in sorted(range(len(widths)), key=lambda index: -report.node_totals[index]):
        if widths[index] + _GAP > room:
            break
        room -= widths[index] + _GAP
        shown.append(index)
    return sorted(shown)


def _indents(rows: Sequence[Row]) -> list[int]:
    """How deep each block stands in the tree, when the rows are in the tree's order; else none at all."""
    open_blocks: list[Block] = []
    indents: list[int] = []
    before: tuple[bytes, bytes, int] | None = None
    for row in rows:
        block = parse_block(row.item)
        place = (block.family, block.network, block.length)
        if before is not None and place < before:
            return [0] * len(rows)
        before = place
        while open_blocks and not _holds(open_blocks[-1], block):
            open_blocks.pop()
        indents.append(len(open_blocks))
        open_blocks.append(block)
    return indents


def _holds(outer: Block, inner: Block) -> bool:
    if outer.family != inner.family or outer.length > inner.length:
        return False
    shift = outer.width - outer.length
    return (int.from_bytes(outer.network) ^ int.from_bytes(inner.network)) >> shift == 0


def member_table(members: Sequence[Member], *, now: dt.datetime) -> RenderableType:
    """``membership``."""
    table = _table()
    table.add_column("Member", no_wrap=True)
    table.add_column("Type", no_wrap=True)
    table.add_column("Address", no_wrap=True)
    table.add_column("Up", justify="right", no_wrap=True)
    table.add_column("Version", overflow="fold")
    table.add_column("Groups", overflow="fold")
    for member in members:
        table.add_row(
            _cell(member.private_name, "bold"),
            _cell(member.role),
            _cell(member.address),
            duration(now.timestamp() - member.joined),
            _cell(member.version),
            _cell(", ".join(member.groups)),
        )
    return table


def duration(seconds: float) -> str:
    """A span of time in its largest unit, as in ``3 h``; clocks that disagree do not make it negative."""
    seconds = max(0.0, seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def info_table(info: FleetInfo, member: Member) -> RenderableType:
    """``info``."""
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    leader = info.leader.node if info.leader else "nobody"
    for name, value in (
        ("Node", member.node),
        ("Member", f"{member.private_name}  {member.shared_name}"),
        ("Cluster group", f"{info.cluster} ({leader} is leader)"),
        ("Control group", info.control_group),
        ("Logger group", "none"),
        ("Server", f"{info.server}, {info.topology}, port {info.server_port}"),
        ("Primaries", " ".join(info.primaries)),
    ):
        table.add_row(name, _cell(value))
    return table
