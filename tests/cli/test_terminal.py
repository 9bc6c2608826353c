"""On a real terminal: what it is left like, whatever ends the program."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

#: The console with answers made by hand, on the process's own streams.
SCRIPT = """
import sys, threading
from tests.cli.hands import fleet
from sharedstate_cli.context import Environment
from sharedstate_cli.main import cli

class Terminal(Environment):
    def observe(self, **options):
        if "hang" in sys.argv:
            print("hanging", flush=True)
            threading.Event().wait(60)
        return fleet()

cli.main([word for word in sys.argv[1:] if word != "hang"], obj=Terminal())
"""

SECOND_SCREEN, FIRST_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
NO_CURSOR, CURSOR = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """A process on a terminal of its own."""

    def __init__(
        self, *arguments: str, columns: int = 120, lines: int = 30, before: str = "", **variables: str
    ) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environment = {
            name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", before + SCRIPT, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=ROOT,
            env={**environment, "TERM": "xterm-256color", **variables},
        )
        os.close(slave)
        self.shown = ""

    def read_until(self, text: str, times: int = 1, timeout: float = 30.0) -> None:
        """Read what it shows until `text` has come so often, or the end when `text` is empty."""
        deadline = time.monotonic() + timeout
        while not text or self.shown.count(text) < times:
            ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} did not come in time, but {self.shown[-300:]!r}"
            try:
                data = os.read(self.master, 65536)
            except OSError:  # Linux tells the end of a terminal so
                data = b""
            if not data:
                assert not text, f"the end came before {text!r}: {self.shown[-300:]!r}"
                return
            # A read may end within a character; what tests look for is ASCII.
            self.shown += data.decode(errors="replace")

    def end(self, number: int | None = None) -> int:
        """Send a signal, wait for the end, give back the status."""
        if number is not None:
            self.process.send_signal(number)
        self.read_until("")
        return self.process.wait(30)


@pytest.fixture
def terminal():
    opened: list[Terminal] = []

    def start(*arguments: str, **options) -> Terminal:
        opened.append(Terminal(*arguments, **options))
        return opened[-1]

    yield start
    for one in opened:
        one.process.kill()
        one.process.wait()
        os.close(one.master)


def test_a_table_is_what_a_terminal_gets(terminal):
    shown = terminal("shared", "show", "inbound_cidr")
    assert shown.end() == 0
    assert "relay-0-3" in shown.shown
    assert "\x1b[36m███" in shown.shown
    plain = terminal("shared", "show", "inbound_cidr", NO_COLOR="1")
    assert plain.end() == 0
    assert "\x1b[36m" not in plain.shown


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_watch_leaves_the_terminal_as_it_was(terminal, number, status):
    watching = terminal("shared", "show", "inbound_cidr", "--watch", "0.1")
    watching.read_until("Total", times=2)
    assert watching.end(number) == status
    shown = watching.shown
    assert shown.rindex(FIRST_SCREEN) > shown.rindex(SECOND_SCREEN)
    assert shown.rindex(CURSOR) > shown.rindex(NO_CURSOR)
    assert "Traceback" not in shown


#: Ctrl-C comes in the very first refresh, when rich has taken over the screen and not yet said so.
FIRST_REFRESH = """
import os, signal, rich.live
real = rich.live.Live.refresh

def refresh(self):
    real(self)
    os.kill(os.getpid(), signal.SIGINT)

rich.live.Live.refresh = refresh
"""


def test_ctrl_c_while_the_screen_is_taken_over(terminal):
    watching = terminal("shared", "show", "inbound_cidr", "--watch", "60", before=FIRST_REFRESH)
    assert watching.end() == 0
    shown = watching.shown
    assert shown.rindex(FIRST_SCREEN) > shown.rindex(SECOND_SCREEN)
    assert shown.rindex(CURSOR) > shown.rindex(NO_CURSOR)


def test_a_watch_fits_the_screen(terminal):
    watching = terminal("shared", "show", "inbound_cidr", "--watch", "0.1", lines=12)
    watching.read_until("rows; --top")
    assert "3 of 9 rows" in watching.shown
    assert watching.end(signal.SIGINT) == 0


def test_ctrl_c_anywhere(terminal):
    hanging = terminal("hang", "info")
    hanging.read_until("\n")
    assert hanging.end(signal.SIGINT) == 130
    assert hanging.shown.replace("\r", "") == "hanging\nsharedstate-cli: interrupted.\n"
