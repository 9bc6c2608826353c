"""``version``."""

from __future__ import annotations

import platform
from importlib.metadata import version as installed

import click

from ..context import Environment, pass_environment
from ..options import example

__all__ = ["version"]


@click.command(
    "version",
    epilog=example(
        """
        $ sharedstate-cli version
        sharedstate 0.1.0 (Python 3.11.7, hiredis 3.5.0)
        """
    ),
)
@pass_environment
def version(environment: Environment) -> None:
    """Show the versions of this program and of what it talks to Redis with."""
    environment.echo(
        f"sharedstate {installed('sharedstate')} (Python {platform.python_version()}, "
        f"hiredis {installed('hiredis')})"
    )
