"""``config``: the group, and ``config check``."""

from __future__ import annotations

import click

from ..context import Environment, pass_environment
from ..lazy import Entry, LazyGroup
from ..options import example, format_option

__all__ = ["check", "config"]


@click.command(
    "config",
    cls=LazyGroup,
    entries={
        "check": Entry("config:check", "Say what a configuration file means, or what is wrong with it.")
    },
)
def config() -> None:
    """Configuration files."""


@click.command(
    "check",
    epilog=example(
        """
        $ sharedstate-cli config check ecelerity.conf
        ecelerity.conf:12:15: max_delay must be a number of seconds from 0 to 3600; found 'soon'.
        """
    ),
)
@click.argument("file", required=False, type=click.Path())
@click.option("-v", "--verbose", is_flag=True, help="List what does not concern shared state, too.")
@format_option
@pass_environment
def check(environment: Environment, file: str | None, verbose: bool) -> None:
    """Read FILE and everything it includes, and say what was understood, object by object.

    Understands the reference's configuration language and native TOML. Without FILE, the file of --config or
    SHAREDSTATE_CONFIG is read. Nothing is asked of Redis. An error is one line, FILE:LINE:COLUMN first.
    """
    from sharedstate.config import load

    from ..views.config import config_csv, config_json, config_lines, config_table

    path = file or environment.settings.config or environment.environ.get("SHAREDSTATE_CONFIG")
    if not path:
        raise click.UsageError("which file? Name one, or set SHAREDSTATE_CONFIG.")
    configuration = load(path)
    if environment.format == "table":
        environment.out.print(config_table(path, configuration, verbose=verbose))
    elif environment.format == "plain":
        environment.echo_lines(config_lines(path, configuration, verbose=verbose))
    elif environment.format == "json":
        from ..views.records import pretty

        environment.echo(pretty(config_json(path, configuration)))
    else:
        from ..views.records import record_csv

        environment.echo_lines(record_csv(config_csv(configuration, verbose=verbose)))
