"""Bytes of a log as blocks of whole lines."""

from __future__ import annotations

import gzip
import os
import select
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from sharedstate.errors import InvalidValueError

__all__ = ["BLOCK_BYTES", "MAX_LINE_BYTES", "LineAssembler", "blocks", "stream_blocks"]

#: How much is read at once.
BLOCK_BYTES = 1 << 18

#: A "line" longer than this is no log line; it is dropped. (postlogd(8) and syslog(3) stay far below.)
MAX_LINE_BYTES = 1 << 20

_POLL_SECONDS = 0.2


class LineAssembler:
    """Cuts a stream at its last line feed and keeps the rest for the next time. Its memory is bounded."""

    __slots__ = ("_dropping", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._dropping = False  # inside a line that is too long

    def push(self, data: bytes) -> bytes:
        """Add what was read; return the lines that are whole now, the last line feed included."""
        if self._dropping:
            end = data.find(b"\n") + 1
            if not end:
                return b""
            data = data[end:]
            self._dropping = False
        end = data.rfind(b"\n") + 1
        if not end:
            self._rest += data
            if len(self._rest) > MAX_LINE_BYTES:
                self._rest = b""
                self._dropping = True
            return b""
        whole = self._rest + data[:end]
        self._rest = data[end:]
        return whole

    def finish(self) -> bytes:
        """The last line, when the stream ended without a line feed."""
        rest, self._rest, self._dropping = self._rest, b"", False
        return rest


def blocks(path: str | os.PathLike[str], *, progress: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """Whole lines of a file, a quarter of a megabyte at a time, from its start to where it ends now.

    A file that begins like a gzip file is unpacked, whatever its name.

    Args:
        path: the file.
        progress: told after each block how many bytes of the file (packed, if it is) were read so far.

    Raises:
        InvalidValueError: the file is a damaged gzip file.
        OSError: it cannot be read.
    """
    lines = LineAssembler()
    with Path(path).open("rb", buffering=0) as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file = gzip.GzipFile(fileobj=raw) if packed else raw
        try:
            while data := file.read(BLOCK_BYTES):
                if whole := lines.push(data):
                    yield whole
                if progress is not None:
                    progress(raw.tell())
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InvalidValueError(
                f"{os.fspath(path)!r} is a damaged gzip file ({str(error).rstrip('.')}): "
                "unpack it by hand to see how far it is readable."
            ) from error
    if rest := lines.finish():
        yield rest


def stream_blocks(fd: int, *, stopped: Callable[[], bool] = lambda: False) -> Iterator[bytes]:
    """Whole lines of a pipe, terminal or file that is open already, as they come, until its end.

    Yields ``b""`` five times a second while nothing comes, so that the caller can see to other things.

    Args:
        fd: file descriptor.
        stopped: asked each time; the stream is left when it says so.
    """
    lines = LineAssembler()
    while not stopped():
        if not select.select([fd], [], [], _POLL_SECONDS)[0]:
            yield b""
            continue
        data = os.read(fd, BLOCK_BYTES)
        if not data:
            if rest := lines.finish():
                yield rest
            return
        yield lines.push(data)
