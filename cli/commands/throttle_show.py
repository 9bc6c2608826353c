"""``throttle show NAME [from NODE]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..complete import complete_node, complete_throttle, complete_view
from ..context import Environment, pass_environment
from ..options import connection_options, example, format_option, view_of
from ..report import live_nodes
from ..throttles import report

if TYPE_CHECKING:
    from sharedstate.objects.throttle import BucketView
    from sharedstate.observer import Observer

__all__ = ["throttle_show"]


@click.command(
    "show",
    epilog=example(
        """
        $ sharedstate-cli throttle show domain:yahoo.com --format csv
        node,processes,taken,held,lease_left,refused,idle
        relay-0-1,2,61,64,2.31,3,0.0
        relay-0-2,1,12,16,1.9,0,0.0
        """
    ),
)
@click.argument("name", metavar="NAME", shell_complete=complete_throttle)
@click.argument("view", metavar="[from NODE]", nargs=-1, shell_complete=complete_view)
@click.option("--node", metavar="NODE", shell_complete=complete_node, help="The same as: from NODE.")
@click.option("--processes", is_flag=True, help="A row for each process instead of each node.")
@connection_options
@format_option
@pass_environment
def throttle_show(
    environment: Environment, name: str, view: tuple[str, ...], node: str | None, processes: bool
) -> None:
    """Show one throttle: what is left, what is leased out, and who took of it in the last day.

    Taken: tokens. Held: tokens of a lease, not spent as far as is known. Lease ends: then the rest counts as
    spent. Refused: checks. Idle: since it asked the last time. Numbers of a process are as new as its last
    request to Redis; refusals are told once a second.
    """
    node = view_of(view, node, "throttle")
    with environment.observe() as observer:
        seen = observer.throttle_view(name)
        if node is not None:
            _require_node(observer, seen, node)
    found = report(name, seen, node=node, by_process=processes)
    if environment.format == "table":
        from ..views.throttle_table import report_table

        options = environment.out.options
        environment.out.print(
            report_table(found, width=options.max_width, now=environment.now, ascii_only=options.ascii_only)
        )
    elif environment.format == "plain":
        from ..views.throttle_plain import report_lines

        environment.echo_lines(report_lines(found))
    elif environment.format == "json":
        from ..views.records import pretty
        from ..views.throttle_records import report_json

        environment.echo(pretty(report_json(found, now=environment.now)))
    else:
        from ..views.throttle_records import report_csv

        environment.echo_lines(report_csv(found))


def _require_node(observer: Observer, view: BucketView, node: str) -> None:
    """Refuse a node that neither took anything nor is live; one that left may have taken."""
    from sharedstate.errors import UnknownNodeError

    took = {holder.node for holder in view.holders}
    if node not in took:
        live = live_nodes(observer)
        if node not in live:
            raise UnknownNodeError(node, took | set(live))
