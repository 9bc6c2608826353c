"""Completion of names that only the fleet knows. Whatever goes wrong, the operator's line stays as it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from .context import Environment
from .views.text import printable

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

    from sharedstate.observer import Observer

__all__ = ["complete_node", "complete_object", "complete_throttle", "complete_view", "fleet_names"]

#: Seconds after which the shell gets no names: a key press must not hang.
PATIENCE = 0.5


def _names(context: click.Context, ask: Callable[[Observer], list[str]]) -> list[str]:
    environment = context.ensure_object(Environment)
    environment.settings.timeout = PATIENCE
    found: list[str] = []

    def work() -> None:
        try:
            with environment.observe() as observer:
                found.extend(ask(observer))
        except Exception:  # noqa: BLE001, S110 - no names is the answer to every failure
            pass

    # A thread, because looking up a host name cannot be given a deadline.
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(PATIENCE)
    return list(found)


def _items(names: list[str], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    # A name that needs escapes could not be typed as shown.
    return [CompletionItem(name) for name in names if name.startswith(incomplete) and printable(name) == name]


def fleet_names(
    context: click.Context, incomplete: str, ask: Callable[[Observer], list[str]]
) -> list[CompletionItem]:
    """Names that a question to the fleet is answered with; none when it is not answered soon."""
    return _items(_names(context, ask), incomplete)


def complete_object(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of shared objects."""
    return _items(_names(context, lambda observer: [spec.name for spec in observer.objects()]), incomplete)


def complete_node(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of live nodes."""
    from .report import live_nodes

    return _items(_names(context, lambda observer: list(live_nodes(observer))), incomplete)


def complete_throttle(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of throttles in use lately."""
    return _items(_names(context, lambda observer: observer.throttle_names()), incomplete)


def complete_view(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The word ``from``, then names of live nodes."""
    typed = context.params.get("view") or ()
    if not typed:
        return _items(["from"], incomplete)
    return complete_node(context, parameter, incomplete) if len(typed) == 1 else []
