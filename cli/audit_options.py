"""What the audit commands share: the view they are asked for, completion of series, and how rows are printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from .context import Environment

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem
    from rich.console import RenderableType

__all__ = ["complete_series", "node_of", "show"]


def node_of(view: tuple[str, ...]) -> str | None:
    """The node whose view is meant by ``from NODE``, None for the fleet's."""
    if not view:
        return None
    if len(view) != 2 or view[0].lower() != "from":
        raise click.UsageError(f"after that comes 'from NODE' or nothing, not {' '.join(view)!r}.")
    return view[1]


def show(
    environment: Environment,
    *,
    table: Callable[[], RenderableType],
    plain: Callable[[], Iterable[str]],
    json: Callable[[], Any],
    csv: Callable[[], Iterable[str]],
) -> None:
    """Print in the format asked for; only that one is made."""
    if environment.format == "table":
        environment.out.print(table())
    elif environment.format == "json":
        from .views.records import pretty

        environment.echo(pretty(json()))
    else:
        environment.echo_lines(plain() if environment.format == "plain" else csv())


def complete_series(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of audit series."""
    from .complete import fleet_names

    return fleet_names(context, incomplete, lambda observer: [spec.name for spec in observer.audit.series()])
