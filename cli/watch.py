"""``--watch``: show again and again until Ctrl-C.

Ctrl-C is how a watch ends, so it ends with status 0. The terminal is put back as it was, also when
the process is told to terminate.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from sharedstate.errors import LinkError, UnknownNameError

from .status import explain

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .context import Environment

__all__ = ["watch_lines", "watch_screen"]

#: What may pass by itself: a failover, a restart, a node that comes back.
_PASSING = (LinkError, UnknownNameError)


class _Terminated(BaseException):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _ends_cleanly() -> Iterator[None]:
    """Let Ctrl-C end the body quietly, and a termination end the process after the body has cleaned up."""

    def terminate(number: int, _: object) -> NoReturn:
        raise _Terminated(number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, terminate) for number in numbers]
    try:
        yield
    except KeyboardInterrupt:
        return
    except _Terminated as end:
        signal.signal(end.number, signal.SIG_DFL)
        os.kill(os.getpid(), end.number)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def watch_lines(environment: Environment, seconds: float, show: Callable[[], None]) -> None:
    """Call `show` every so many seconds; for output that is piped or kept."""
    with _ends_cleanly():
        show()
        environment.flush()
        while True:
            time.sleep(seconds)
            try:
                show()
            except _PASSING as error:
                environment.warn(explain(error)[1])
            environment.flush()


def watch_screen(environment: Environment, seconds: float, draw: Callable[[int], RenderableType]) -> None:
    """Redraw the terminal every so many seconds, on its second screen: what was there comes back at the end.

    While Redis cannot be asked the last picture stays, with the reason below it.

    Args:
        environment: whose terminal.
        seconds: between two pictures.
        draw: makes a picture for a terminal with that many lines.
    """
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    console = environment.out
    with _ends_cleanly():
        picture = draw(console.height)
        with Live(picture, console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.refresh()
                time.sleep(seconds)
                try:
                    picture = draw(console.height)
                    live.update(picture)
                except _PASSING as error:
                    live.update(Group(Text(explain(error)[1], style="bold red"), picture))
