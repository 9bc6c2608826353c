"""``throttle``: the group, whose commands load by themselves."""

from __future__ import annotations

import click

from ..lazy import Entry, LazyGroup
from ..options import example

__all__ = ["throttle"]


@click.command(
    "throttle",
    cls=LazyGroup,
    entries={
        "list": Entry("throttle_list:throttle_list", "List the throttles in use."),
        "show": Entry("throttle_show:throttle_show", "Show one throttle, and who took of it."),
        "check": Entry("throttle_check:throttle_check", "Ask a throttle, as a hook does."),
        "set": Entry("throttle_set:throttle_set", "Give a throttle another spec, for the whole fleet."),
        "reset": Entry("throttle_reset:throttle_reset", "Fill throttles: nothing counts as spent any more."),
        "watch": Entry("throttle_watch:throttle_watch", "Show again and again, with rates."),
        "help": Entry("help:help_command", "List commands, or explain one."),
    },
    epilog=example(
        """
        $ sharedstate-cli throttle set domain:yahoo.com 2,000/hr
        domain:yahoo.com: was 1000/hr, is 2000/hr, 1940 left.
        """
    ),
)
def throttle() -> None:
    """Throttles: rates that the whole fleet keeps together."""
