"""``shared list``."""

from __future__ import annotations

import click

from ..context import Environment, pass_environment
from ..options import connection_options, example, format_option

__all__ = ["shared_list"]


@click.command(
    "list",
    epilog=example(
        """
        $ sharedstate-cli shared list
        Currently managed objects:
                          inbound_cidr [lazy, cidrtree w/ snapshots]
                         outbound_cidr [lazy, cidrtree w/ snapshots]
                      outbound_domains [lazy, gauge table w/ snapshots]
        """
    ),
)
@connection_options
@format_option
@pass_environment
def shared_list(environment: Environment) -> None:
    """List the shared objects of the fleet.

    lazy: changes are buffered and sent together. cidrtree: counts by address, asked for by any CIDR block.
    gauge table: counts by name. w/ snapshots: a node that joins sees what was there before it.
    """
    with environment.observe() as observer:
        specs = observer.objects()
    if not specs and environment.format in ("table", "plain"):
        environment.warn("no member has registered a shared object yet.")
    if environment.format == "table":
        from ..views.table import object_table

        environment.out.print(object_table(specs))
    elif environment.format == "plain":
        from ..views.plain import object_lines

        environment.echo_lines(object_lines(specs))
    elif environment.format == "json":
        from ..views.records import object_json, pretty

        environment.echo(pretty(object_json(specs)))
    else:
        from ..views.records import object_csv

        environment.echo_lines(object_csv(specs))
