"""``reset``."""

from __future__ import annotations

import click

from ..context import Environment, pass_environment
from ..errors import NotAMemberError
from ..options import connection_options, example, node_option
from ..report import live_nodes
from ..views.text import printable

__all__ = ["reset"]


@click.command(
    "reset",
    epilog=example(
        """
        $ sharedstate-cli reset --node labrat-1
        1 member of labrat-1 leaves and joins anew.
        """
    ),
)
@connection_options
@node_option
@pass_environment
def reset(environment: Environment) -> None:
    """Make this node's members leave the fleet and join anew.

    Each publishes what it holds once more, so no count is lost; until then the fleet does without it.
    """
    with environment.observe() as observer:
        told = observer.reset()
        if not told:
            raise NotAMemberError(observer.node, observer.cluster, list(live_nodes(observer)))
        node = printable(observer.node)
    if told == 1:
        environment.echo(f"1 member of {node} leaves and joins anew.")
    else:
        environment.echo(f"{told} members of {node} leave and join anew.")
