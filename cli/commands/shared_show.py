"""``shared show NAME [from NODE]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from ..complete import complete_node, complete_object, complete_view
from ..context import Environment, pass_environment
from ..options import connection_options, example, format_option, view_of
from ..report import Report, Selection, collect

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["shared_show"]

#: Terminal width from which a table has per-node columns unasked.
_WIDE = 100

#: Lines of a table that are no rows: title, headings, rules, totals, caption, and one for a notice.
_FRAME = 9


@click.command(
    "show",
    epilog=example(
        """
        $ sharedstate-cli shared show inbound_cidr from relay-0-2
        lazy, snapped cidrtree 'inbound_cidr', view '#ec1-48616#relay-0-2'
              7                         10.0.0.0/8
              7                         10.0.0.0/24
              3                         10.0.0.103/32
              4                         10.0.0.160/27
              4                         10.0.0.180/31
              2                         10.0.0.180/32
              2                         10.0.0.181/32

        $ sharedstate-cli shared show outbound_domains --top 2 --format csv --by-node
        item,count,relay-0-1,relay-0-2
        hotmail.com,246,26,220
        yahoo.com,65,30,35
        """
    ),
)
@click.argument("name", metavar="NAME", shell_complete=complete_object)
@click.argument("view", metavar="[from NODE]", nargs=-1, shell_complete=complete_view)
@click.option("--node", metavar="NODE", shell_complete=complete_node, help="The same as: from NODE.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Only the N highest counts.")
@click.option(
    "--sort",
    type=click.Choice(["name", "count", "none"]),
    help="Order of rows; none: as they come, in least memory.  [default: count with --top, else name]",
)
@click.option("--reverse", is_flag=True, help="Turn the order round.")
@click.option(
    "--match",
    metavar="PATTERN",
    help="Only names like '*.example.com', or addresses in a CIDR block.",
)
@click.option("--leaves", is_flag=True, help="Of a tree, single addresses only.")
@click.option("--by-node", is_flag=True, help="A column for each node.  [default in wide tables]")
@click.option(
    "--nodes",
    metavar="NODE[,NODE]",
    shell_complete=complete_node,
    help="Columns for these nodes only; globs such as 'relay-0-*'.",
)
@click.option(
    "--watch",
    type=click.FloatRange(min=0.1),
    is_flag=False,
    flag_value=2.0,
    metavar="[SECONDS]",
    help="Show again every so many seconds, 2 if not said, until Ctrl-C.",
)
@connection_options
@format_option
@pass_environment
def shared_show(
    environment: Environment,
    name: str,
    view: tuple[str, ...],
    node: str | None,
    top: int | None,
    sort: str | None,
    reverse: bool,
    match: str | None,
    leaves: bool,
    by_node: bool,
    nodes: str | None,
    watch: float | None,
) -> None:
    """Show what a shared object holds: of the whole fleet, or of one node alone.

    A tree has a row for each block at which the known addresses branch, with the sum of what is below it.
    outbound_domain means outbound_domains.
    """
    node = view_of(view, node)
    columns = tuple(part for part in (nodes or "").split(",") if part)
    if node is not None and (by_node or columns):
        raise click.UsageError("one node's view has no columns for nodes: leave out 'from NODE'.")
    if watch is not None and environment.format == "csv":
        raise click.UsageError("csv has one header only: watch with --format json, a document per line.")
    selection = Selection(
        match=match, top=top, sort=sort or ("count" if top else "name"), reverse=reverse, leaves=leaves
    )
    by_node = by_node or bool(columns)
    if environment.format == "table" and node is None and environment.out.width >= _WIDE:
        by_node = True

    with environment.observe() as observer:

        def ask(chosen: Selection) -> Report:
            return collect(observer, name, node=node, selection=chosen, by_node=by_node, columns=columns)

        if watch is None:
            _show(environment, selection, ask)
        else:
            _watch(environment, watch, selection, ask)


def _show(environment: Environment, selection: Selection, ask: Callable[[Selection], Report]) -> None:
    if environment.format == "table":
        from ..views.table import ROW_LIMIT

        if selection.top is None:
            selection = replace(selection, top=ROW_LIMIT)
        environment.out.print(_table(environment, ask(selection)))
    else:
        environment.echo_lines(_lines(environment, ask(selection)))


def _watch(
    environment: Environment, seconds: float, selection: Selection, ask: Callable[[Selection], Report]
) -> None:
    from ..watch import watch_lines, watch_screen

    def picture(height: int) -> RenderableType:
        rows = max(1, height - _FRAME)
        return _table(environment, ask(replace(selection, top=min(rows, selection.top or rows))))

    def again() -> None:
        if environment.format == "json":
            environment.echo("".join(_lines(environment, ask(selection))))
        else:
            _show(environment, selection, ask)
            environment.echo()

    if environment.format == "table" and environment.tty:
        watch_screen(environment, seconds, picture)
    else:
        watch_lines(environment, seconds, again)


def _table(environment: Environment, report: Report) -> RenderableType:
    from ..views.table import report_table

    options = environment.out.options
    return report_table(report, width=options.max_width, now=environment.now, ascii_only=options.ascii_only)


def _lines(environment: Environment, report: Report) -> Iterator[str]:
    if environment.format == "plain":
        from ..views.plain import report_lines

        return report_lines(report)
    from ..views.records import report_csv, report_json

    return report_csv(report) if environment.format == "csv" else report_json(report, environment.now)
