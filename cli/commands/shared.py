"""``shared``: the group, whose commands load by themselves."""

from __future__ import annotations

import click

from ..lazy import Entry, LazyGroup
from ..options import example

__all__ = ["shared"]


@click.command(
    "shared",
    cls=LazyGroup,
    entries={
        "list": Entry("shared_list:shared_list", "List the shared objects."),
        "show": Entry("shared_show:shared_show", "Show what an object holds, of the fleet or of one node."),
        "help": Entry("help:help_command", "List commands, or explain one."),
    },
    epilog=example(
        """
        $ sharedstate-cli shared show outbound_domains from relay-0-1
        lazy, snapped gauge table 'outbound_domains', view '#ec1-12137#relay-0-1'
                                                             aol.com:            1
        """
    ),
)
def shared() -> None:
    """Shared objects: what is counted, and the counts."""
