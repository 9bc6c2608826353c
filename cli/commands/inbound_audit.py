"""``inbound_audit``: audit series of client addresses, in the reference's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sharedstate.errors import InvalidValueError

from ..audit_options import complete_series, node_of, show
from ..complete import complete_view
from ..context import Environment, pass_environment
from ..lazy import Entry, LazyGroup
from ..options import connection_options, example, format_option, node_option
from ..progress import progress

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = [
    "add",
    "count_cidr",
    "delete_ip",
    "inbound_audit",
    "load",
    "show_all",
    "show_group",
    "show_ip",
    "subtract",
]

#: Terminal width from which a table has per-node columns unasked.
_WIDE = 100
#: Lines of a file that are counted in one go.
_LOAD_AT_ONCE = 10_000
_NUMBERS = {"ignore_unknown_options": True}  # -5 is a count, not an option


@click.command(
    "inbound_audit",
    cls=LazyGroup,
    entries={
        "show": Entry("inbound_audit:show_group", "Show an address or block, or everything."),
        "count_cidr": Entry("inbound_audit:count_cidr", "Count a block over some windows of a series."),
        "add": Entry("inbound_audit:add", "Add to an address's count in the current window."),
        "subtract": Entry("inbound_audit:subtract", "Take from an address's count in the current window."),
        "delete_ip": Entry("inbound_audit:delete_ip", "Take an address out of every window."),
        "load": Entry("inbound_audit:load", "Add a file of addresses to the current window."),
    },
    epilog=example(
        """
        $ sharedstate-cli inbound_audit show ip 10.0.0.0/24 --series connect
        Connections 300/0: 30
        Connections 300/1: 212
        """
    ),
)
def inbound_audit() -> None:
    """Audit series of client addresses: how often each did what, in sliding windows."""


@click.command(
    "show",
    cls=LazyGroup,
    entries={
        "ip": Entry("inbound_audit:show_ip", "Show an address or block in every series."),
        "all": Entry("inbound_audit:show_all", "Print everything as CSV."),
    },
    epilog=example(
        """
        $ sharedstate-cli inbound_audit show ip 192.0.2.7 --series rejection
        Rejections 300/0: 4
        """
    ),
)
def show_group() -> None:
    """Show an address or block, or everything."""


@click.command(
    "ip",
    epilog=example(
        """
        $ sharedstate-cli inbound_audit show ip 192.0.2.7/24 from relay-0-1
        Connections 300/0: 30
        Connections 300/1: 12
        """
    ),
)
@click.argument("ip", metavar="IP[/MASK]")
@click.argument("view", metavar="[from NODE]", nargs=-1, shell_complete=complete_view)
@click.option("--series", metavar="NAME", shell_complete=complete_series, help="Only this series.")
@click.option("--by-node", is_flag=True, help="A column for each node.  [default in wide tables]")
@connection_options
@format_option
@pass_environment
def show_ip(
    environment: Environment, ip: str, view: tuple[str, ...], series: str | None, by_node: bool
) -> None:
    """Show what an address or block did, window by window, in every series of addresses.

    Window 0 is the current one. A table has a line for the windows, the oldest left.
    """
    from ..audit_report import inbound_rows

    node = node_of(view)
    wide = environment.format == "table" and environment.out.width >= _WIDE
    by_node = node is None and (by_node or wide)
    with environment.observe() as observer:
        rows = inbound_rows(observer.audit, ip, node=node, series=series, by_node=by_node)
    if not rows and environment.format != "table":
        environment.warn("no audit series holds addresses of this kind.")
    from ..views import audit as views

    def table() -> RenderableType:
        from ..views.audit_table import inbound_table

        options = environment.out.options
        return inbound_table(ip, node, rows, width=options.max_width, ascii_only=options.ascii_only)

    show(
        environment,
        table=table,
        plain=lambda: views.inbound_lines(rows),
        json=lambda: views.inbound_json(ip, node, rows),
        csv=lambda: views.inbound_csv(ip, rows),
    )


@click.command(
    "all",
    epilog=example(
        """
        $ sharedstate-cli inbound_audit show all --series spam
        series,key,interval,window,count
        spam,192.0.2.7,300,0,4
        """
    ),
)
@click.argument("view", metavar="[from NODE]", nargs=-1, shell_complete=complete_view)
@click.option("--series", metavar="NAME", shell_complete=complete_series, help="Only this series.")
@connection_options
@format_option
@pass_environment
def show_all(environment: Environment, view: tuple[str, ...], series: str | None) -> None:
    """Print every address of every window as CSV, in no order and little memory; with --format json a line each."""
    import dataclasses
    import json

    from ..audit_report import all_rows
    from ..views.audit import all_csv

    node = node_of(view)
    with environment.observe() as observer:
        specs = [spec for spec in observer.audit.series() if spec.type.is_cidr]
        if series is not None:
            specs = [observer.audit.spec(series)]
        rows = all_rows(observer.audit, specs, node)
        if environment.format == "json":
            environment.echo_lines(json.dumps(dataclasses.asdict(row)) for row in rows)
        else:
            environment.echo_lines(all_csv(rows))


@click.command(
    "count_cidr",
    epilog=example(
        """
        $ sharedstate-cli inbound_audit count_cidr 192.0.2.0/24 spam 300,6 0 5
        46
        """
    ),
)
@click.argument("ip", metavar="IP[/MASK]")
@click.argument("series", shell_complete=complete_series)
@click.argument("params", metavar="SECONDS,WINDOWS")
@click.argument("start", type=int)
@click.argument("end", type=int)
@click.argument("view", metavar="[from NODE]", nargs=-1, shell_complete=complete_view)
@connection_options
@pass_environment
def count_cidr(
    environment: Environment, ip: str, series: str, params: str, start: int, end: int, view: tuple[str, ...]
) -> None:
    """Count a block over the windows START to END of a series; 0 is the current one."""
    with environment.observe() as observer:
        environment.echo(str(observer.audit.count(series, ip, start, end, node_of(view), params)))


@click.command(
    "add",
    context_settings=_NUMBERS,
    epilog=example(
        """
        $ sharedstate-cli inbound_audit add spam 300,6 192.0.2.7 10
        """
    ),
)
@click.argument("series", shell_complete=complete_series)
@click.argument("params", metavar="SECONDS,WINDOWS")
@click.argument("ip")
@click.argument("n", type=int)
@connection_options
@node_option
@pass_environment
def add(environment: Environment, series: str, params: str, ip: str, n: int) -> None:
    """Add N to an address's count in the current window, as if this node had counted it."""
    with environment.observe() as observer:
        observer.audit.adjust(series, ip, n, monitor=params)


@click.command(
    "subtract",
    context_settings=_NUMBERS,
    epilog=example(
        """
        $ sharedstate-cli inbound_audit subtract spam 300,6 192.0.2.7 3
        """
    ),
)
@click.argument("series", shell_complete=complete_series)
@click.argument("params", metavar="SECONDS,WINDOWS")
@click.argument("ip")
@click.argument("n", type=int)
@connection_options
@node_option
@pass_environment
def subtract(environment: Environment, series: str, params: str, ip: str, n: int) -> None:
    """Take N from an address's count in the current window, as if this node had; it may become negative."""
    with environment.observe() as observer:
        observer.audit.adjust(series, ip, -n, monitor=params)


@click.command(
    "delete_ip",
    epilog=example(
        """
        $ sharedstate-cli inbound_audit delete_ip 192.0.2.7 spam 300,6
        192.0.2.7 counted 12 in spam.
        """
    ),
)
@click.argument("ip")
@click.argument("series", shell_complete=complete_series)
@click.argument("params", metavar="SECONDS,WINDOWS")
@connection_options
@pass_environment
def delete_ip(environment: Environment, ip: str, series: str, params: str) -> None:
    """Take an address out of every window of a series, of every node."""
    with environment.observe() as observer:
        removed = observer.audit.remove_item(series, ip, params)
    environment.echo(f"{ip} counted {removed} in {series}.")


@click.command(
    "load",
    epilog=example(
        """
        $ sharedstate-cli inbound_audit load spam listed.txt
        2,400 lines of listed.txt counted in spam.
        """
    ),
)
@click.argument("series", shell_complete=complete_series)
@click.argument("file", type=click.Path(dir_okay=False, exists=True))
@connection_options
@node_option
@pass_environment
def load(environment: Environment, series: str, file: str) -> None:
    """Add a file to the current windows of a series, as if this node had counted it.

    A line is an address and how often, separated by a blank or comma; once if nothing is said. Lines that are empty or
    begin with # are left out. The whole file is checked before anything is counted.
    """
    with environment.observe() as observer:
        spec = observer.audit.spec(series)
        number = 0
        for key, _, place in _lines(Path(file)):
            number += 1
            try:
                spec.field(key)
            except InvalidValueError as error:
                raise InvalidValueError(f"{file}:{place}: {error}") from error
        waiting: dict[str, int] = {}
        with progress(environment, "counting", number) as advance:
            for key, count, _ in _lines(Path(file)):
                waiting[key] = waiting.get(key, 0) + count
                if len(waiting) >= _LOAD_AT_ONCE:
                    observer.audit.adjust_many(series, waiting)
                    waiting.clear()
                advance(1)
            observer.audit.adjust_many(series, waiting)
    environment.echo(f"{number:,} lines of {file} counted in {series}.")


def _lines(path: Path) -> Iterator[tuple[str, int, int]]:
    """Key, count and line number of each line."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for place, line in enumerate(lines, 1):
            words = re.split(r"[\s,]+", line.strip())
            if not words[0] or words[0].startswith("#"):
                continue
            if len(words) > 2 or (len(words) == 2 and not re.fullmatch(r"[+-]?[0-9]{1,12}", words[1])):
                raise InvalidValueError(
                    f"{path}:{place}: a line is an address and a whole number, not {line.strip()!r}."
                )
            yield words[0], int(words[1]) if len(words) == 2 else 1, place
