"""One server without cluster mode."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from sharedstate.errors import LocalClusterError

from .binary import find_server
from .ports import check_block, pick
from .process import Watchdog
from .server import Options, OptionValue, PortTakenError, Server, TlsFiles, plain_options

__all__ = ["LocalServer"]


class LocalServer:
    """A single server on the loopback address, without cluster mode; for tests.

    It ends, and its files go, with the block or with this process.

    Args:
        port: default a free one at random.
        server: the server program, see :func:`find_server`.
        options: more settings, name to value (a sequence of values repeats the setting).
        password: of the default user; becomes part of the URL.
        tls: certificate files, with a server that was built with TLS; the URL is then ``rediss://``.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        server: str | os.PathLike[str] | None = None,
        options: Options | None = None,
        password: str | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self.binary = find_server(server)
        self._port = port
        self._tls = tls
        self._password = password
        self._options = plain_options(persistent=False) | dict(options or {})
        if password is not None:
            self._options |= {"requirepass": password}
        self._server: Server | None = None
        self._watchdog: Watchdog | None = None
        self._owner = 0
        self._home = Path()

    def start(self) -> Self:
        """Start the server and wait until it answers.

        Raises:
            LocalClusterError: it could not be started; nothing is left behind.
        """
        if self._watchdog is not None:
            raise LocalClusterError("this local server is already started.")
        for attempts_left in (4, 3, 2, 1, 0):
            try:
                self._start_once()
            except PortTakenError:
                self.stop()
                if self._port is not None or not attempts_left:
                    raise
            except BaseException:
                self.stop()
                raise
            else:
                return self
        raise AssertionError("the last attempt returns or raises")

    def _start_once(self) -> None:
        [port] = pick(1) if self._port is None else check_block(self._port, 1)
        tls_port: int | None = None
        options: dict[str, OptionValue] = dict(self._options)
        if self._tls is not None:
            [tls_port] = pick(1)
            options |= self._tls.options(tls_port)
        self._home = Path(tempfile.mkdtemp(prefix="sharedstate-"))
        self._owner = os.getpid()
        self._watchdog = Watchdog(self._home)
        atexit.register(self.stop)
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

    def stop(self) -> None:
        """End the server and remove its files; more than once, or in a forked child, does nothing."""
        if self._watchdog is None or self._owner != os.getpid():
            return
        atexit.unregister(self.stop)
        self.kill()
        self._watchdog.release()
        self._watchdog = None
        shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def node(self) -> Server:
        """The server, for its port, pid, log and plain calls."""
        assert self._server is not None, "start comes first"
        return self._server

    @property
    def url(self) -> str:
        """URL of the server."""
        scheme = "redis" if self._tls is None else "rediss"
        login = "" if self._password is None else f":{self._password}@"
        return f"{scheme}://{login}{self.node.address}"

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
