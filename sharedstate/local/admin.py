"""A plain connection to one local server, for the commands that form and watch a cluster.

The library's own link is not used here: it wants a healthy cluster, and this code makes one.
"""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Any, Self

import hiredis

__all__ = ["Admin", "NodeRow", "ReplyError", "parse_info", "parse_nodes"]


class ReplyError(Exception):
    """The server answered with an error."""


class Admin:
    """One connection to one server; replies come decoded as text.

    Args:
        host: address to connect to.
        port: port without TLS.
        password: sent with AUTH when given.
        timeout: seconds for connecting and for each reply.

    Raises:
        OSError: nobody listens, or the connection broke; also from :meth:`call`.
        ReplyError: the server refused the password or, from :meth:`call`, the command.
    """

    def __init__(self, host: str, port: int, *, password: str | None = None, timeout: float = 5.0) -> None:
        self._reader = hiredis.Reader(
            protocolError=ReplyError, replyError=ReplyError, encoding="utf-8", errors="surrogateescape"
        )
        self._socket = socket.create_connection((host, port), timeout)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if password is not None:
                self.call("AUTH", password)
        except BaseException:
            self._socket.close()
            raise

    def call(self, *words: str | bytes | int) -> Any:
        """Send one command and return its reply. One round trip."""
        self._socket.sendall(hiredis.pack_command(words))  # type: ignore[arg-type]  # its stub means tuple[..., ...]
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            self._reader.feed(data)
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def info(self, *sections: str) -> dict[str, str]:
        """Some sections of INFO. One round trip."""
        return parse_info(self.call("INFO", *sections))

    def close(self) -> None:
        """Close the connection; more than once does no harm."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class NodeRow:
    """One line of CLUSTER NODES.

    Attributes:
        id: the node's 40 hexadecimal digits.
        host: as announced, empty before anyone told the node.
        port: client port.
        flags: such as ``myself``, ``master``, ``slave``, ``fail``.
        primary_id: id of the primary it follows, or None.
        connected: whether the bus link from the answering node is up.
        ranges: slots served, as inclusive pairs, without slots in migration.
    """

    __slots__ = ("connected", "flags", "host", "id", "port", "primary_id", "ranges")

    def __init__(self, line: str) -> None:
        words = line.split(" ")
        self.id = words[0]
        address = words[1].partition(",")[0].partition("@")[0]
        self.host, _, port = address.rpartition(":")
        self.port = int(port)
        self.flags = frozenset(words[2].split(","))
        self.primary_id = None if words[3] == "-" else words[3]
        self.connected = words[7] == "connected"
        pairs = [word.partition("-") for word in words[8:] if not word.startswith("[")]
        self.ranges = tuple((int(first), int(last or first)) for first, _, last in pairs)

    @property
    def is_primary(self) -> bool:
        """Whether the node counts as a primary in the answering node's view."""
        return "master" in self.flags


def parse_nodes(text: str) -> list[NodeRow]:
    """The lines of CLUSTER NODES, without nodes still in handshake."""
    rows = [NodeRow(line) for line in text.splitlines() if line]
    return [row for row in rows if "handshake" not in row.flags]


def parse_info(text: str) -> dict[str, str]:
    """The ``name:value`` lines of INFO and CLUSTER INFO."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
