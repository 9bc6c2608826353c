"""``membership``."""

from __future__ import annotations

import click

from ..context import Environment, pass_environment
from ..options import connection_options, example, format_option

__all__ = ["membership"]


@click.command(
    "membership",
    epilog=example(
        """
        $ sharedstate-cli membership
        Private Name: #ec0-24573#labrat-4
        Node Name: labrat-4
        Node Type: Momentum
        Version: 0.1.0
        Address: 10.80.116.204:4802
        Groups: ec_cluster, ec_console
        """
    ),
)
@connection_options
@format_option
@pass_environment
def membership(environment: Environment) -> None:
    """List the live members of the fleet, in order of joining.

    A member is one process of one node. The first mail node in the list is the leader.
    """
    with environment.observe() as observer:
        members = observer.members()
    if not members and environment.format in ("table", "plain"):
        environment.warn("no member is live.")
    elif environment.format == "table":
        from ..views.table import member_table

        environment.out.print(member_table(members, now=environment.now))
    elif environment.format == "plain":
        from ..views.plain import member_lines

        environment.echo_lines(member_lines(members))
    elif environment.format == "json":
        from ..views.records import member_json, pretty

        environment.echo(pretty(member_json(members)))
    else:
        from ..views.records import member_csv

        environment.echo_lines(member_csv(members))
