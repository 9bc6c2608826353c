"""``cluster``: the same commands where the reference has them."""

from __future__ import annotations

import click

from ..lazy import LazyGroup
from ..main import CLUSTER_COMMANDS
from ..options import example

__all__ = ["cluster"]


@click.command(
    "cluster",
    cls=LazyGroup,
    entries=CLUSTER_COMMANDS,
    epilog=example(
        """
        $ sharedstate-cli cluster shared show inbound_cidr from relay-0-1
        lazy, snapped cidrtree 'inbound_cidr', view '#ec1-12137#relay-0-1'
              5                         10.0.0.0/8
        """
    ),
)
def cluster() -> None:
    """Cluster commands as the reference page types them.

    Each is the same command as without the word cluster.
    """
