"""``--watch``: show again and again until Ctrl-C.

Ctrl-C is how a watch ends, so it ends with status 0. The terminal is put back as it was, also when
the process is told to terminate. A signal may come at any moment: while a module is imported, where Python
makes another error of it; while the screen is being changed, which must not stop half way.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sharedstate.errors import LinkError, UnknownNameError

from .status import explain

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .context import Environment

__all__ = ["watch_lines", "watch_screen"]

#: What may pass by itself: a failover, a restart, a node that comes back.
_PASSING = (LinkError, UnknownNameError)


class _Ended(BaseException):
    """A signal told the watch to end."""


class _Ending:
    """Lets Ctrl-C end the block quietly, and a termination end the process after the block has cleaned up.

    Whatever error the block ends with after a signal is that signal's doing. Between `hold` and `go`, and before the
    first `go`, a signal waits.
    """

    def __init__(self) -> None:
        self._number = 0
        self._going = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # else nohup, or the shell, has decided
                self._before[number] = signal.signal(number, self._come)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.hold()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._number not in (0, signal.SIGINT):
            signal.signal(self._number, signal.SIG_DFL)
            os.kill(os.getpid(), self._number)
        return bool(self._number) or isinstance(error, KeyboardInterrupt)

    def _come(self, number: int, _: object) -> None:
        self._number = number
        if self._going:
            self._going = False  # the second of two must not break what the first one's cleaning does
            raise _Ended

    def hold(self) -> None:
        """Let signals wait."""
        self._going = False

    def go(self) -> None:
        """Let signals end the block; one that waited, or was swallowed by what it interrupted, does so now."""
        self._going = True
        if self._number:
            raise _Ended


def watch_lines(environment: Environment, seconds: float, show: Callable[[], None]) -> None:
    """Call `show` every so many seconds; for output that is piped or kept."""
    with _Ending() as ending:
        ending.go()
        show()
        environment.flush()
        while True:
            time.sleep(seconds)
            ending.go()
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
    with _Ending() as ending:
        ending.go()
        picture = draw(console.height)
        ending.hold()
        live = Live(picture, console=console, screen=True, auto_refresh=False)
        try:
            live.start()
            while True:
                ending.go()
                live.refresh()
                time.sleep(seconds)
                ending.go()
                try:
                    picture = draw(console.height)
                    live.update(picture)
                except _PASSING as error:
                    live.update(Group(Text(explain(error)[1], style="bold red"), picture))
        finally:
            ending.hold()
            live.stop()
