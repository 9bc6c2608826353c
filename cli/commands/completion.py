"""``completion``."""

from __future__ import annotations

import click

from ..context import Environment, pass_environment
from ..options import example

__all__ = ["completion"]


@click.command(
    "completion",
    epilog=example(
        """
        $ sharedstate-cli completion bash > ~/.local/share/bash-completion/completions/sharedstate-cli
        $ sharedstate-cli completion zsh > "${fpath[1]}/_sharedstate-cli"
        $ sharedstate-cli completion fish > ~/.config/fish/completions/sharedstate-cli.fish
        """
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@pass_environment
def completion(environment: Environment, shell: str) -> None:
    """Print the completion script of a shell: commands, options, names of objects, throttles and nodes.

    Names come from the fleet that SHAREDSTATE_URL, SHAREDSTATE_CONFIG or the options typed so far point to;
    when it does not answer in half a second there are none.
    """
    from click.shell_completion import ShellComplete, get_completion_class

    from ..main import COMPLETE_VARIABLE, PROGRAM, cli

    found = get_completion_class(shell)
    assert found is not None, "click knows the three shells"
    # The base class: the one for bash starts bash to learn its version, which says nothing about where
    # the script will be used.
    environment.echo(ShellComplete.source(found(cli, {}, PROGRAM, COMPLETE_VARIABLE)), end="")
