"""``info``, ``nodename`` and ``nodeaddr``: what this node is in the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..context import Environment, pass_environment
from ..errors import NotAMemberError
from ..options import connection_options, example, format_option, node_option
from ..report import live_nodes

if TYPE_CHECKING:
    from sharedstate.observer import Observer
    from sharedstate.results import FleetInfo, Member

__all__ = ["info", "nodeaddr", "nodename"]


@click.command(
    "info",
    epilog=example(
        """
        $ sharedstate-cli info
        Daemon: 4803 [m:#ec0-22787#labrat-1,s:#ec1-22787#labrat-1]
        Control Group: ec_console
        Cluster Group: ec_cluster (labrat-4 is leader)
        Logger Group: none
        """
    ),
)
@connection_options
@node_option
@format_option
@pass_environment
def info(environment: Environment) -> None:
    """Show where this node is connected and who leads.

    Daemon is the port of the Redis server that answered. m is the node's name among the members, s its
    name on shared objects.
    """
    with environment.observe() as observer:
        answer, member = own_member(observer)
    if environment.format == "table":
        from ..views.table import info_table

        environment.out.print(info_table(answer, member))
    elif environment.format == "plain":
        from ..views.plain import info_lines

        environment.echo_lines(info_lines(answer, member))
    elif environment.format == "json":
        from ..views.records import info_json, pretty

        environment.echo(pretty(info_json(answer, member)))
    else:
        from ..views.records import info_csv

        environment.echo_lines(info_csv(answer, member))


@click.command(
    "nodename",
    epilog=example(
        """
        $ sharedstate-cli nodename
        labrat-1
        """
    ),
)
@connection_options
@node_option
@format_option
@pass_environment
def nodename(environment: Environment) -> None:
    """Show the name of this node."""
    with environment.observe() as observer:
        name = observer.node
    _value(environment, "node", name)


@click.command(
    "nodeaddr",
    epilog=example(
        """
        $ sharedstate-cli nodeaddr
        10.80.116.201:4802
        """
    ),
)
@connection_options
@node_option
@format_option
@pass_environment
def nodeaddr(environment: Environment) -> None:
    """Show the address this node is reached at."""
    with environment.observe() as observer:
        _, member = own_member(observer)
    _value(environment, "address", member.address)


def own_member(observer: Observer) -> tuple[FleetInfo, Member]:
    """The fleet's state and the asking node's own live member.

    Raises:
        NotAMemberError: the node has none.
    """
    answer = observer.info()
    if answer.member is None:
        raise NotAMemberError(observer.node, answer.cluster, list(live_nodes(observer)))
    return answer, answer.member


def _value(environment: Environment, name: str, value: str) -> None:
    if environment.format == "json":
        from ..views.records import pretty

        environment.echo(pretty({name: value}))
    elif environment.format == "csv":
        from ..views.records import record_csv

        environment.echo_lines(record_csv([(name,), (value,)]))
    else:
        from ..views.text import printable

        environment.echo(printable(value))
