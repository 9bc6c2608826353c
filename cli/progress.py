"""A progress bar on standard error: for long work on a terminal, and silence everywhere else, such as under cron."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .context import Environment

__all__ = ["progress"]

#: Work of fewer steps is over before a bar could be read.
_LEAST = 2000


@contextmanager
def progress(environment: Environment, title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar that the function given moves on by a number of steps.

    Args:
        environment: whose standard error shows it, if that is a terminal.
        title: what is going on.
        total: steps in all; None when nobody knows.
    """
    if not environment.stderr.isatty() or (total is not None and total < _LEAST):
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=environment.err, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda steps: bar.advance(task, steps)
