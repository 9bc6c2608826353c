"""What a long-lived local cluster remembers between commands: a small file, and a lock beside it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sharedstate.errors import LocalClusterError

__all__ = ["ClusterState", "NodeState", "default_directory", "locked"]

_FORMAT = 1
_FILE = "cluster.json"
_LOCK = "lock"


@dataclass(slots=True)
class NodeState:
    """One server.

    Attributes:
        port: client port.
        follows: index of the primary it was made the replica of, None for one made a primary.
        pid: its process when last seen, or None.
        birth: tells that process from a later one with the same id.
    """

    port: int
    follows: int | None
    pid: int | None = None
    birth: str | None = None


@dataclass(slots=True)
class ClusterState:
    """A long-lived cluster.

    Attributes:
        primaries: how many it was made with.
        replicas: of each primary.
        server: path of the server program.
        formed: False while it is being made; what is found like that is made anew.
        nodes: primaries first.
    """

    primaries: int
    replicas: int
    server: str
    formed: bool = False
    nodes: list[NodeState] = field(default_factory=list)

    @classmethod
    def load(cls, directory: Path) -> ClusterState | None:
        """Read the state of the cluster in a directory, None when there is none.

        Raises:
            LocalClusterError: the file cannot be read or is not ours.
        """
        path = directory / _FILE
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise LocalClusterError(f"{path} cannot be read: {error}.") from error
        try:
            fields: dict[str, Any] = json.loads(text)
            found = fields.pop("format")
            if found != _FORMAT:
                raise LocalClusterError(
                    f"{path} has format {found!r}: this version of sharedstate reads format {_FORMAT} only."
                )
            nodes = [NodeState(**node) for node in fields.pop("nodes")]
            state = cls(**fields, nodes=nodes)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise LocalClusterError(
                f"{path} is damaged ({error}): put it back from a copy, or remove {directory} to begin anew."
            ) from error
        return state

    def save(self, directory: Path) -> None:
        """Write the state so that a reader, or a crash, sees either the old or the new one whole."""
        draft = directory / f"{_FILE}.new"
        with draft.open("w", encoding="utf-8") as file:
            json.dump({"format": _FORMAT} | asdict(self), file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(directory / _FILE)

    @staticmethod
    def remove(directory: Path) -> None:
        """Forget the cluster."""
        for name in (_FILE, f"{_FILE}.new"):
            (directory / name).unlink(missing_ok=True)


def default_directory() -> Path:
    """Where a long-lived cluster is kept by default: ``$XDG_STATE_HOME/sharedstate/local``.

    As the XDG rules have it, a relative XDG_STATE_HOME counts as unset, and unset means ``~/.local/state``.
    """
    home = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not home.is_absolute():
        try:
            home = Path.home() / ".local" / "state"
        except RuntimeError as error:
            raise LocalClusterError(
                "your home directory is not known: name a directory with --dir."
            ) from error
    return home / "sharedstate" / "local"


@contextmanager
def locked(directory: Path, timeout: float) -> Iterator[None]:
    """Hold the directory's lock: one command at a time changes the cluster.

    The lock goes with the process, so it is never left behind; the file stays.

    Args:
        directory: must exist.
        timeout: seconds to wait for another command to end.

    Raises:
        LocalClusterError: another command holds it for longer, or the directory is not writable.
    """
    deadline = time.monotonic() + timeout
    try:
        handle = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise LocalClusterError(
            f"the directory {directory} cannot be used ({error.strerror}): "
            "choose one that you may write with --dir."
        ) from error
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LocalClusterError(
                        f"another command has been at work on the local cluster in {directory} "
                        f"for {timeout:g} s: wait until it has ended, then try again."
                    ) from None
            time.sleep(0.05)
        yield
    finally:
        os.close(handle)
