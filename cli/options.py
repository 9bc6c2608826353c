"""Options that many commands share; each is also accepted before the command's name.

They store what they are given in the `Environment`, so commands need no parameters for them and shell
completion sees them too.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any, TypeVar

import click

from .context import Environment

__all__ = ["FORMATS", "connection_options", "example", "format_option", "node_option", "view_of"]

FORMATS = ("table", "plain", "json", "csv")
F = TypeVar("F", bound=Callable[..., Any])


def example(transcript: str) -> str:
    """A command's epilog: what an operator types and what comes back, laid out as written."""
    text = textwrap.indent(textwrap.dedent(transcript).strip("\n"), "  ")
    # click rewraps every paragraph that does not begin with this mark.
    return "\b\nExample:\n" + text.replace("\n\n", "\n\n\b\n")


def _store(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is not None:
        assert parameter.name is not None
        setattr(context.ensure_object(Environment).settings, parameter.name, value)


def _option(*names: str, **attributes: Any) -> Callable[[F], F]:
    return click.option(*names, expose_value=False, callback=_store, **attributes)


def connection_options(function: F) -> F:
    """Where to find the fleet: ``--url --config --cluster --timeout``."""
    for decorate in (
        _option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True, max=3600),
            metavar="SECONDS",
            help="Longest wait for one answer of Redis.  [default: 5]",
        ),
        _option(
            "--cluster", metavar="NAME", help="Cluster group.  [default: the configured one, or ec_cluster]"
        ),
        _option(
            "--config",
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help="Configuration file.  [env: SHAREDSTATE_CONFIG]",
        ),
        _option(
            "--url",
            metavar="URL",
            help="Redis or Valkey to ask, redis://HOST:PORT[,HOST:PORT].  [env: SHAREDSTATE_URL]",
        ),
    ):
        function = decorate(function)
    return function


def node_option(function: F) -> F:
    """Who we are: ``--node``, this node's own name."""
    return _option(
        "--node",
        metavar="NAME",
        help="This node's own name.  [env: SHAREDSTATE_NODE, EC_NODE_NAME; default: the host name]",
    )(function)


def _check_environment(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    _store(context, parameter, value)
    environment = context.ensure_object(Environment)
    if environment.format not in FORMATS and not context.resilient_parsing:
        raise click.UsageError(
            f"SHAREDSTATE_FORMAT is {environment.format!r}: set it to one of {', '.join(FORMATS)}.", context
        )


def format_option(function: F) -> F:
    """How to print: ``--format``."""
    return click.option(
        "--format",
        type=click.Choice(FORMATS),
        expose_value=False,
        callback=_check_environment,
        help="How to print.  [env: SHAREDSTATE_FORMAT; default: table on a terminal, else plain]",
    )(function)


def view_of(view: tuple[str, ...], node: str | None, noun: str = "object") -> str | None:
    """The node whose view ``[from NODE]`` or ``--node`` means, None for the fleet's.

    Raises:
        click.UsageError: the words are others, or two nodes are named.
    """
    if not view:
        return node
    if len(view) != 2 or view[0].lower() != "from":
        raise click.UsageError(f"after the {noun}'s name comes 'from NODE', not {' '.join(view)!r}.")
    if node is not None and node != view[1]:
        raise click.UsageError(f"two nodes are asked for, {view[1]!r} and {node!r}: name one.")
    return view[1]
