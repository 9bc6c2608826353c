"""What servers that live inside this process have in common, be they one or a cluster: their life and their URL."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from sharedstate.errors import LocalClusterError

from .binary import ServerBinary, find_server
from .ports import check_block, pick
from .process import Watchdog
from .server import Options, OptionValue, PortTakenError, Server, TlsFiles

__all__ = ["Embedded"]


class Embedded(ABC):
    """Servers of this process: they end, and their files go, with the block or with this process.

    Args:
        server: the server program, see :func:`find_server`.
        port: first of consecutive ports; default free ones at random.
        defaults: settings of the servers.
        options: more settings, which win.
        password: of the default user.
        tls: certificate files.
    """

    #: How an error names it.
    _noun: ClassVar[str]

    def __init__(
        self,
        server: str | os.PathLike[str] | None,
        port: int | None,
        defaults: dict[str, OptionValue],
        options: Options | None,
        password: str | None,
        tls: TlsFiles | None,
    ) -> None:
        self.binary: ServerBinary = find_server(server)
        self._port = port
        self._options = defaults | dict(options or {})
        self._password = password
        self._tls = tls
        if password is not None:
            self._options |= {"requirepass": password}
        self._watchdog: Watchdog | None = None
        self._owner = 0
        self._home = Path()

    @abstractmethod
    def _launch(self, watchdog: Watchdog, ports: list[int], tls_ports: list[int | None]) -> None:
        """Start the servers on these ports, with files in `_home`."""

    @abstractmethod
    def _count(self) -> int:
        """How many servers it has."""

    @abstractmethod
    def _servers(self) -> list[Server]:
        """Those that were made."""

    def start(self) -> Self:
        """Start it and wait until it serves.

        Raises:
            LocalClusterError: it could not be started; nothing is left behind.
        """
        if self._watchdog is not None:
            raise LocalClusterError(f"this {self._noun} is already started.")
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
        count = self._count()
        ports = pick(count) if self._port is None else check_block(self._port, count)
        tls_ports: list[int | None] = [None] * count if self._tls is None else [*pick(count)]
        self._home = self._make_home()
        self._owner = os.getpid()
        self._watchdog = Watchdog(self._home if self._temporary else None)
        atexit.register(self.stop)
        self._launch(self._watchdog, ports, tls_ports)

    def _make_home(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="sharedstate-"))

    @property
    def _temporary(self) -> bool:
        """Whether the files go with the servers."""
        return True

    def stop(self) -> None:
        """End the servers and remove their files; more than once, or in a forked child, does nothing."""
        if self._watchdog is None or self._owner != os.getpid():
            return
        atexit.unregister(self.stop)
        for server in self._servers():
            server.kill(self._watchdog)
        self._watchdog.release()
        self._watchdog = None
        if self._temporary:
            shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """URL of the servers: all of them, so that any may be dead."""
        scheme = "redis" if self._tls is None else "rediss"
        login = "" if self._password is None else f":{self._password}@"
        return f"{scheme}://{login}{','.join(server.address for server in self._servers())}"
