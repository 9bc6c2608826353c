"""One server without cluster mode."""

from __future__ import annotations

import os
import time

from .embedded import Embedded
from .process import Watchdog
from .server import Options, OptionValue, Server, TlsFiles, plain_options

__all__ = ["LocalServer"]


class LocalServer(Embedded):
    """A single server on the loopback address, without cluster mode; for tests.

    It ends, and its files go, with the block or with this process.

    Args:
        port: default a free one at random.
        server: the server program, see :func:`find_server`.
        options: more settings, name to value (a sequence of values repeats the setting).
        password: of the default user; becomes part of the URL.
        tls: certificate files, with a server that was built with TLS; the URL is then ``rediss://``.
    """

    _noun = "local server"

    def __init__(
        self,
        *,
        port: int | None = None,
        server: str | os.PathLike[str] | None = None,
        options: Options | None = None,
        password: str | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        super().__init__(server, port, plain_options(persistent=False), options, password, tls)
        self._server: Server | None = None

    def _count(self) -> int:
        return 1

    def _servers(self) -> list[Server]:
        return [] if self._server is None else [self._server]

    def _launch(self, _: Watchdog, ports: list[int], tls_ports: list[int | None]) -> None:
        [port], [tls_port] = ports, tls_ports
        options: dict[str, OptionValue] = dict(self._options)
        if self._tls is not None and tls_port is not None:
            options |= self._tls.options(tls_port)
        self._server = Server(
            self.binary, self._home, port, options, tls_port=tls_port, password=self._password
        )
        self._server.write_config()
        self.launch()

    def launch(self) -> None:
        """Start the process, again after a :meth:`kill`; returns when it answers, empty.

        Raises:
            LocalClusterError: it did not start.
        """
        assert self._watchdog is not None, "start comes first"
        self.node.launch(self._watchdog)
        self.node.wait_ready(time.monotonic() + 15.0)

    @property
    def node(self) -> Server:
        """The server, for its port, pid, log and plain calls."""
        assert self._server is not None, "start comes first"
        return self._server

    def flush_all(self) -> None:
        """FLUSHALL."""
        self.node.call("FLUSHALL")

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        if self._server is not None:
            self._server.kill(self._watchdog)

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nobody."""
        self.node.pause()

    def resume(self) -> None:
        """SIGCONT after :meth:`pause`."""
        self.node.resume()
