"""The `Environment`: streams, terminal, colour and settings of one run of the console.

Commands take it with `pass_environment` and write through it alone, so a test runs any command with a
captured one: ``runner.invoke(cli, [...], obj=Environment(stdout=StringIO()))``.
"""

from __future__ import annotations

import datetime as dt
import functools
import io
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from rich.console import Console

    from sharedstate.client import State
    from sharedstate.observer import Observer

__all__ = ["DEFAULT_TIMEOUT", "Environment", "Settings", "pass_environment"]

DEFAULT_TIMEOUT = 5.0

#: Lines handed to the stream at a time: a million rows neither pile up in memory nor cost a call each.
_LINES_PER_WRITE = 1000


@dataclass(slots=True)
class Settings:
    """What the options of the command line say; None leaves the choice to the environment and configuration.

    Attributes:
        url: server URL.
        node: this node's own name.
        config: path of the configuration file.
        cluster: name of the cluster group.
        timeout: seconds one question to Redis may take.
        format: ``table``, ``plain``, ``json`` or ``csv``.
    """

    url: str | None = None
    node: str | None = None
    config: str | None = None
    cluster: str | None = None
    timeout: float | None = None
    format: str | None = None


class Environment:
    """Streams, terminal, colour and settings of one run.

    Args:
        stdin: where input comes from; the process's own by default, as for the next two.
        stdout: where data goes.
        stderr: where messages go.
        environ: environment variables that the console itself reads.
        width: columns of the terminal, when not to be found out.
        tty: whether stdout is a terminal, when not to be found out.
        now: the clock that views are stamped with.
    """

    def __init__(
        self,
        *,
        stdin: TextIO | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
        width: int | None = None,
        tty: bool | None = None,
        now: dt.datetime | None = None,
    ) -> None:
        # Python sets a stream to None when its descriptor was closed (`cmd >&-`).
        self.stdin: TextIO = stdin or sys.stdin or io.StringIO()
        self.stdout: TextIO = stdout or sys.stdout or io.StringIO()
        self.stderr: TextIO = stderr or sys.stderr or io.StringIO()
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self.tty = self.stdout.isatty() if tty is None else tty
        self._forced_tty = tty
        self.settings = Settings()
        self._width = width
        self._now = now

    @property
    def now(self) -> dt.datetime:
        """The time to stamp a view with, in the local time zone."""
        return self._now or dt.datetime.now().astimezone()

    @property
    def colour(self) -> bool:
        """Whether stdout may carry colour: a terminal that can, and no ``NO_COLOR``."""
        return self.tty and not self.environ.get("NO_COLOR") and self.environ.get("TERM") != "dumb"

    @property
    def format(self) -> str:
        """Output format: the option, else ``SHAREDSTATE_FORMAT``, else by whether stdout is a terminal."""
        return (
            self.settings.format
            or self.environ.get("SHAREDSTATE_FORMAT")
            or ("table" if self.tty else "plain")
        )

    @property
    def timeout(self) -> float:
        """Seconds one question may take: the option, else `DEFAULT_TIMEOUT`."""
        return DEFAULT_TIMEOUT if self.settings.timeout is None else self.settings.timeout

    @functools.cached_property
    def out(self) -> Console:
        """Rich console on stdout, for data. Made on first use: plain output never pays for rich."""
        return self._console(self.stdout, self._forced_tty)

    @functools.cached_property
    def err(self) -> Console:
        """Rich console on stderr, for progress."""
        return self._console(self.stderr)

    def _console(self, stream: TextIO, tty: bool | None = None) -> Console:
        from rich.console import Console

        return Console(
            file=stream,
            force_terminal=tty,
            width=self._width,
            highlight=False,
            markup=False,
            emoji=False,
            _environ=self.environ,
        )

    def echo(self, text: str = "", *, end: str = "\n") -> None:
        """Write text to stdout exactly as given."""
        self.stdout.write(text + end)

    def echo_lines(self, lines: Iterable[str]) -> None:
        """Write many lines to stdout, a thousand at a time."""
        lines = iter(lines)
        while chunk := list(islice(lines, _LINES_PER_WRITE)):
            chunk.append("")
            self.stdout.write("\n".join(chunk))

    def warn(self, sentence: str) -> None:
        """Write one sentence to stderr, with the program's name in front."""
        self.stderr.write(f"sharedstate-cli: {sentence}\n")
        self.stderr.flush()

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self.stdout.flush()
        self.stderr.flush()

    def hush(self) -> None:
        """Let whatever is still buffered go nowhere: the reader of stdout has left.

        Without this the interpreter tries once more at exit and complains.
        """
        try:
            target = self.stdout.fileno()
        except (OSError, ValueError):  # a captured stream has no descriptor, and nothing to complain about
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, target)
        os.close(nowhere)

    def observe(self, **options: Any) -> Observer:
        """Connect to the fleet for reading, without joining it.

        Args:
            options: passed on to `sharedstate.observe`; they win over the command line's settings.

        Raises:
            SharedStateError: with one sentence that names the server and the remedy.
        """
        import sharedstate

        return sharedstate.observe(**{**self._link_settings(), **options})

    def connect(self, **options: Any) -> State:
        """Join the fleet as a member of this node.

        Args:
            options: passed on to `sharedstate.connect`; they win over the command line's settings.

        Raises:
            SharedStateError: with one sentence that names the server and the remedy.
        """
        import sharedstate

        return sharedstate.connect(**{**self._link_settings(), **options})

    def _link_settings(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "url": settings.url,
            "node": settings.node,
            "config": settings.config,
            "cluster": settings.cluster,
            "timeout": self.timeout,
        }


pass_environment = click.make_pass_decorator(Environment, ensure=True)
