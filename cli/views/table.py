"""Tables for people, drawn with rich. Text from outside goes through `printable` and is never markup."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from sharedstate.names import Block, parse_block
from sharedstate.specs import Kind, ObjectSpec

from .drawing import GAP, bar, cell, duration, new_table, number, share
from .text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sharedstate.results import FleetInfo, Member

    from ..report import Report, Row

__all__ = ["ROW_LIMIT", "info_table", "member_table", "object_table", "report_table"]

#: Rows a table shows when not told how many: more is scrolled past unread, and costs seconds to draw.
ROW_LIMIT = 500

_BAR_MOST = 30
_BAR_LEAST = 8
_NODE_MOST = 14
_ITEM_LEAST = 18


_COUNTED = {
    "inbound_cidr": "inbound, by address",
    "outbound_cidr": "outbound, by address",
    "outbound_domains": "outbound, by {by}",
    "outbound_binding_domains": "outbound, by binding and domain",
    "outbound_scopes": "outbound, by capped scope",
}


def object_table(specs: Sequence[ObjectSpec]) -> RenderableType:
    """``shared list``."""
    table = new_table()
    table.add_column("Object", overflow="fold")
    table.add_column("Kind", no_wrap=True)
    table.add_column("Connections", overflow="fold")
    table.add_column("Shards", justify="right", no_wrap=True)
    table.add_column("Sent after", no_wrap=True)
    for spec in specs:
        counted = _COUNTED[spec.cls].format(by=spec.count_by)
        table.add_row(
            cell(spec.name, "bold"),
            cell(str(spec.kind)),
            cell(f"{counted}, group {spec.binding_group}" if spec.binding_group else counted),
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
        cell(report.name, "bold"),
        f"  {report.spec.kind}, view ",
        cell(report.label, "bold"),
        f", {now:%Y-%m-%d %H:%M:%S}",
    )
    if not rows:
        return Text.assemble(title, "\n\nNothing to show: no count is above zero.")
    indents = _indents(rows) if report.spec.kind is Kind.CIDR_TREE else [0] * len(rows)
    item_width = max(len(printable(row.item)) + indent for row, indent in zip(rows, indents, strict=True))
    count_width = max(len("Count"), len(number(report.total)))
    node_width = [
        max(min(len(printable(node)), _NODE_MOST), len(number(total)))
        for node, total in zip(report.nodes, report.node_totals, strict=True)
    ]
    fixed = count_width + GAP + len("100.0%") + GAP
    item_width = max(_ITEM_LEAST, min(item_width, width - fixed - _BAR_LEAST - GAP))
    if report.nodes:
        # A few nodes beside a long name are worth more than the end of the name.
        item_width = max(_ITEM_LEAST, min(item_width, width - fixed - _BAR_LEAST - 3 * (_NODE_MOST + GAP)))
    room = width - item_width - GAP - fixed - _BAR_LEAST
    shown = _fit(report, node_width, room)
    others = report.live - len(shown) if shown else 0
    taken = sum(node_width[index] + GAP for index in shown) + (_others_width(report) + GAP if others else 0)
    bar_width = max(1, min(_BAR_MOST, room - taken + _BAR_LEAST))

    table = new_table(footer=True)
    table.add_column(
        "Block" if report.spec.kind is Kind.CIDR_TREE else "Name",
        "Total",
        overflow="fold",  # the one column that may wrap: rich narrows it when a name is longer than planned
    )
    table.add_column(
        "Fleet" if report.nodes else "Count", number(report.total), justify="right", no_wrap=True
    )
    table.add_column("Share", share(report.total, report.total), justify="right", no_wrap=True)
    table.add_column("", "", no_wrap=True, width=bar_width, style="cyan")
    for index in shown:
        table.add_column(
            cell(report.nodes[index]),
            number(report.node_totals[index]),
            justify="right",
            no_wrap=True,
            overflow="ellipsis",
            width=node_width[index],
        )
    if others:
        rest = report.total - sum(report.node_totals[index] for index in shown)
        table.add_column(_others(others), number(max(0, rest)), justify="right", no_wrap=True)
    largest = max(row.total for row in rows)
    for row, indent in zip(rows, indents, strict=True):
        leader = max(row.nodes, default=0)
        cells: list[RenderableType] = [
            cell(" " * indent + row.item),
            number(row.total),
            share(row.total, report.total),
            bar(row.total, largest, bar_width, ascii_only=ascii_only),
        ]
        cells += [_part(row.nodes[index], leader) for index in shown]
        if others:
            rest = row.total - sum(row.nodes[index] for index in shown)
            cells.append(Text(number(max(0, rest)), style="" if rest > 0 else "dim"))
        table.add_row(*cells)
    parts: list[RenderableType] = [title, Text(), table]
    if report.matched > len(rows):
        parts.append(
            Text(
                f"{number(len(rows))} of {number(report.matched)} rows; --top {report.matched} shows all.",
                style="dim",
            )
        )
    return Group(*parts)


def _part(count: int, leader: int) -> Text:
    """A node's count of a row; the node that has most of it stands out."""
    return Text(number(count), style="dim" if not count else "bold" if count == leader else "")


def _others(nodes: int) -> str:
    return f"{nodes} other{'' if nodes == 1 else 's'}"


def _others_width(report: Report) -> int:
    return max(len(_others(report.live)), len(number(report.total)))


def _fit(report: Report, widths: Sequence[int], room: int) -> list[int]:
    """Which nodes get a column: those with the highest totals, in order of joining."""
    if len(widths) < report.live or sum(widths) + GAP * len(widths) > room:
        room -= _others_width(report) + GAP
    shown: list[int] = []
    for index in sorted(range(len(widths)), key=lambda index: -report.node_totals[index]):
        if widths[index] + GAP > room:
            break
        room -= widths[index] + GAP
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
    table = new_table()
    table.add_column("Member", no_wrap=True)
    table.add_column("Type", no_wrap=True)
    table.add_column("Address", no_wrap=True)
    table.add_column("Up", justify="right", no_wrap=True)
    table.add_column("Version", overflow="fold")
    table.add_column("Groups", overflow="fold")
    for member in members:
        table.add_row(
            cell(member.private_name, "bold"),
            cell(member.role),
            cell(member.address),
            duration(now.timestamp() - member.joined),
            cell(member.version),
            cell(", ".join(member.groups)),
        )
    return table


def info_table(info: FleetInfo, member: Member) -> RenderableType:
    """``info``."""
    table = Table.grid(padding=(0, GAP, 0, 0))
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
        table.add_row(name, cell(value))
    return table
