"""``help [COMMAND ...]``: what there is at this level, or one command explained."""

from __future__ import annotations

import click

from ..context import Environment, pass_environment
from ..options import example

__all__ = ["help_command"]


@click.command(
    "help",
    epilog=example(
        """
        $ sharedstate-cli help shared list
        Usage: sharedstate-cli shared list [OPTIONS]
        """
    ),
)
@click.argument("words", metavar="[COMMAND ...]", nargs=-1)
@click.pass_context
@pass_environment
def help_command(environment: Environment, context: click.Context, words: tuple[str, ...]) -> None:
    """List the commands of this level, or explain one."""
    parent = context.parent
    assert parent is not None, "help is always the command of a group"
    with parent.scope(cleanup=False):
        here, command = parent, parent.command
        for word in words:
            if not isinstance(command, click.Group):
                raise click.UsageError(f"{here.command_path!r} has no commands below it.", here)
            name, found, _ = command.resolve_command(here, [word])
            assert found is not None, "an unknown command is an error of resolve_command"
            here = click.Context(found, info_name=name, parent=here)
            command = found
        environment.echo(command.get_help(here))
