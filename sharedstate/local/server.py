"""One server: its directory, its configuration file, its process."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sharedstate.errors import LocalClusterError

from .admin import Admin, ReplyError
from .ports import BUS_OFFSET, LOOPBACK
from .process import Process, birth_of

if TYPE_CHECKING:
    from .binary import ServerBinary
    from .process import Watchdog

__all__ = ["OptionValue", "Options", "PortTakenError", "Server", "TlsFiles", "plain_options"]

OptionValue = str | int | Sequence[str]
Options = Mapping[str, OptionValue]

_TAKEN: Final = ("Address already in use", "Failed listening on port", "Could not bind")


class PortTakenError(LocalClusterError):
    """A server did not start because its port was taken; other ports may do."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of a server with TLS.

    Attributes:
        certificate: the server's certificate.
        key: its key.
        authority: certificates of the authority that signed it and the clients' certificates.
        require_client_certificate: refuse clients that show none.
    """

    certificate: Path
    key: Path
    authority: Path
    require_client_certificate: bool = False

    def options(self, port: int) -> dict[str, OptionValue]:
        """The server's settings for these files."""
        return {
            "tls-port": port,
            "tls-cert-file": str(self.certificate.absolute()),
            "tls-key-file": str(self.key.absolute()),
            "tls-ca-cert-file": str(self.authority.absolute()),
            "tls-auth-clients": "yes" if self.require_client_certificate else "no",
        }


class Server:
    """A server on the loopback address.

    Args:
        binary: the program.
        directory: where its files are; made by :meth:`write_config`.
        port: port without TLS; administration uses it.
        options: settings of the configuration file, name to value (a sequence of values repeats the line).
        tls_port: port with TLS, or None.
        password: of the default user, for administration; set it in ``options`` as well.
    """

    host: Final = LOOPBACK

    def __init__(
        self,
        binary: ServerBinary,
        directory: Path,
        port: int,
        options: Options,
        *,
        tls_port: int | None = None,
        password: str | None = None,
    ) -> None:
        self.binary = binary
        self.directory = directory
        self.port = port
        self.tls_port = tls_port
        self.options = options
        self.password = password
        self.process: Process | None = None
        self._said_before = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address} pid {self.pid}>"

    @property
    def address(self) -> str:
        """``host:port`` for clients: the TLS port where there is one."""
        return f"{self.host}:{self.client_port}"

    @property
    def client_port(self) -> int:
        """The TLS port where there is one, else the plain one."""
        return self.tls_port or self.port

    @property
    def bus_port(self) -> int:
        """Port of the cluster bus."""
        return self.port + BUS_OFFSET

    @property
    def pid(self) -> int | None:
        """Process id, None while it does not run."""
        return self.process.pid if self.process is not None and self.process.alive() else None

    @property
    def alive(self) -> bool:
        """Whether the process runs; a paused one does."""
        return self.pid is not None

    @property
    def log(self) -> str:
        """All that the server has said so far."""
        try:
            return (self.directory / "server.log").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def write_config(self) -> None:
        """Make the directory and write the configuration file.

        Raises:
            LocalClusterError: the directory cannot be made or written.
        """
        lines = [f"port {self.port}", f"dir {_quoted(str(self.directory))}"]
        for name, value in self.options.items():
            values = [value] if isinstance(value, str | int) else value
            lines.extend(f"{name} {each if name in _RAW else _quoted(str(each))}" for each in values)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._config.write_text("\n".join(lines) + "\n", encoding="utf-8")
            self._config.chmod(0o600)
        except OSError as error:
            raise LocalClusterError(
                f"the directory {self.directory} cannot be used ({error.strerror}): "
                f"choose one that you may write to with --dir."
            ) from error

    def launch(self, watchdog: Watchdog, *, detached: bool = False) -> None:
        """Start the process; it does not listen yet when this returns."""
        self._said_before = len(self.log)
        self.process = watchdog.spawn(
            [str(self.binary.path), str(self._config)], self.directory, detached=detached
        )

    def admin(self, timeout: float = 5.0) -> Admin:
        """A connection for administration; the caller closes it.

        Raises:
            OSError: the server does not listen.
        """
        return Admin(self.host, self.port, password=self.password, timeout=timeout)

    def call(self, *words: str | bytes | int) -> object:
        """One command on a connection of its own.

        Raises:
            OSError: the server does not listen.
            ReplyError: the server refused.
        """
        with self.admin() as admin:
            return admin.call(*words)

    def wait_ready(self, deadline: float) -> None:
        """Wait until the server answers and has loaded its data.

        Args:
            deadline: on the clock of :func:`time.monotonic`.

        Raises:
            PortTakenError: its port is taken by another program.
            LocalClusterError: it ended, or was not ready in time; the message holds its last words.
        """
        while True:
            assert self.process is not None, "launch comes first"
            # Looked at before the connection, lest it end in between without ever having been asked.
            ended = not self.process.alive()
            if self._answers():
                return
            if ended:
                raise self._failure("ended instead of starting")
            if time.monotonic() > deadline:
                raise self._failure("was not ready in time")
            time.sleep(0.002)

    def adopt(self) -> None:
        """Find the process again by its port, when nobody noted its id."""
        info = self._ask()
        if info is not None:
            pid = int(info["process_id"])
            self.process = Process(pid, birth_of(pid))

    def _answers(self) -> bool:
        """Whether the server is there and has loaded its data."""
        info = self._ask()
        return info is not None and info["loading"] == "0"

    def _ask(self) -> dict[str, str] | None:
        """INFO of this very server; None when another, or none, has its port."""
        try:
            with self.admin(timeout=1.0) as admin:
                info = admin.info("server", "persistence")
        except (OSError, ReplyError):
            return None
        return info if info.get("config_file") == str(self._config) else None

    def _failure(self, what: str) -> LocalClusterError:
        lines = [line for line in self.log[self._said_before :].splitlines() if line.strip()]
        if any(mark in line for mark in _TAKEN for line in lines[-12:]):
            return PortTakenError(
                f"port {self.port} or {self.bus_port} on {self.host} is taken by another program: "
                "stop that program or choose another port."
            )
        words = " / ".join(line.strip() for line in lines[-3:]) or "nothing"
        return LocalClusterError(
            f"the server {self.binary.path} on port {self.port} {what}; "
            f"its log {self.directory / 'server.log'} ends with: {words}"
        )

    def kill(self, watchdog: Watchdog | None = None) -> None:
        """SIGKILL; returns when the process is gone."""
        if self.process is not None:
            self.process.kill()
            if watchdog is not None:
                watchdog.forget(self.process)

    def pause(self) -> None:
        """SIGSTOP: it keeps its port and its connections but answers nobody."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after :meth:`pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.signal(number)

    @property
    def _config(self) -> Path:
        return self.directory / "server.conf"


# These take several words on one line, so their value is written as it is.
_RAW = frozenset({"save", "user", "client-output-buffer-limit", "rename-command", "bind"})


def plain_options(*, persistent: bool) -> dict[str, OptionValue]:
    """What every local server has in common.

    Args:
        persistent: keep the data in an append-only file, synced every second.
    """
    options: dict[str, OptionValue] = {
        "bind": LOOPBACK,
        "save": '""',
        "appendonly": "yes" if persistent else "no",
        # The defaults are for networks: replicas would be listed after 10 s and synced after 5 s.
        "repl-ping-replica-period": 1,
        "repl-diskless-sync-delay": 0,
        "shutdown-timeout": 2,
    }
    return options if persistent else options | {"enable-debug-command": "local"}


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
