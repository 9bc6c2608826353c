"""Files that grow: log rotation, truncation, files that come and go."""

from __future__ import annotations

import enum
import os
import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sharedstate.errors import InvalidValueError

from .source import BLOCK_BYTES, LineAssembler

if TYPE_CHECKING:
    from .postfix import PostfixLog

__all__ = ["POLL_SECONDS", "Begin", "Follower", "follow"]

#: How often a file is looked at: one stat and one read.
POLL_SECONDS = 0.15

_EXPIRE_EVERY = 64  # polls, about ten seconds
_FINGERPRINT_BYTES = 256


class Begin(enum.StrEnum):
    """What becomes of the lines that a followed file holds already."""

    SESSIONS = "sessions"  # they tell which sessions are open, and nothing else
    START = "start"  # they count as if they came now
    END = "end"  # they are skipped


class Follower:
    """One log file, wherever its name moves.

    - Renamed and created anew: the old file is read until the new one holds something, so that what the
      writer still puts into the old one is not lost; then the new one from its start.
    - Truncated (also when it has grown again since): read from its start.
    - Missing, at first or for a while, or not readable yet after a rotation: waited for.

    A last line without line feed waits for its rest. What nobody can see is lost: lines written between the
    last look and a truncation, and a whole file that came and went between two looks.

    Args:
        path: the log file.
        at_end: begin at the end of a file that is there now; one that appears later is read from its start.

    Raises:
        InvalidValueError: the path is not a regular file.
        OSError: the file may not be read.
    """

    def __init__(self, path: str | os.PathLike[str], *, at_end: bool = False) -> None:
        self.path = Path(path)
        self._offset = 0
        self._head = b""
        self._lines = LineAssembler()
        self._fd = self._open()
        if at_end and self._fd is not None:
            self._offset = os.fstat(self._fd).st_size

    def read(self) -> bytes:
        """Whole lines that came since the last call, about a quarter of a megabyte at most; none: ``b""``.

        Raises:
            InvalidValueError: the path is not a regular file.
            OSError: the file cannot be read.
        """
        if self._fd is None:
            self._fd = self._reopen()
        while self._fd is not None:
            if self._was_truncated(self._fd):
                self._lines.finish()
                self._offset = 0
            replaced = self._is_replaced(self._fd)
            data = os.pread(self._fd, BLOCK_BYTES, self._offset)
            if data:
                self._offset += len(data)
                if whole := self._lines.push(data):
                    return whole
            elif replaced:
                self.close()
                self._fd = self._reopen()
                self._offset = 0
                self._head = b""
                if rest := self._lines.finish():
                    return rest + b"\n"
            else:
                break
        return b""

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> int | None:
        try:
            # Without O_NONBLOCK the open of a FIFO would wait for its writer.
            fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise InvalidValueError(
                f"{os.fspath(self.path)!r} is not a regular file and cannot be followed: "
                "give a log file, or pipe the log in with '-'."
            )
        return fd

    def _reopen(self) -> int | None:
        try:
            return self._open()
        except PermissionError:  # log rotation creates a file first and gives it to its readers then
            return None

    def _is_replaced(self, fd: int) -> bool:
        """Whether the name stands for another file now, in which something was written already.

        Asked before the old file is read to its end: then nothing can come into it afterwards.
        """
        try:
            there = self.path.stat()
        except (FileNotFoundError, PermissionError):
            return False
        here = os.fstat(fd)
        return (there.st_ino, there.st_dev) != (here.st_ino, here.st_dev) and there.st_size > 0

    def _was_truncated(self, fd: int) -> bool:
        """Whether the file is shorter than what was read of it, or begins with something else than it did."""
        known, self._head = self._head, os.pread(fd, _FINGERPRINT_BYTES, 0)
        return os.fstat(fd).st_size < self._offset or not self._head.startswith(known)


def follow(
    paths: Sequence[str | os.PathLike[str]],
    log: PostfixLog,
    *,
    begin: Begin = Begin.SESSIONS,
    stop: threading.Event,
    after_poll: Callable[[], None] = lambda: None,
    poll: float = POLL_SECONDS,
) -> None:
    """Feed growing files to `log` until `stop` is set.

    Args:
        paths: the log files of one node.
        log: made with ``catch_up=True`` when `begin` is `Begin.SESSIONS`.
        begin: what becomes of the lines that are there already.
        stop: set it, from a signal handler or another thread, to return.
        after_poll: called when there is nothing more to read at the moment.
        poll: seconds between two looks.

    Raises:
        InvalidValueError: a path is not a regular file.
        OSError: a file may not be read.
    """
    followers = [Follower(path, at_end=begin is Begin.END) for path in paths]
    polls = 0
    try:
        while not stop.is_set():
            for follower in followers:
                while not stop.is_set() and (lines := follower.read()):
                    log.feed(lines)
            if polls == 0:
                log.go_live()
            polls += 1
            if polls % _EXPIRE_EVERY == 0:
                log.expire()
            after_poll()
            stop.wait(poll)
    finally:
        for follower in followers:
            follower.close()
