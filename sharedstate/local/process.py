"""Starts server processes and makes sure that none outlives the one who is responsible for it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

__all__ = ["Process", "Watchdog", "birth_of"]

# Reads the process ids of the servers from its input. When the input ends, its writer is gone: by kill -9, by
# a crash, by anything. A signal asked from the kernel at the parent's death (PR_SET_PDEATHSIG) would not do:
# it comes when the *thread* that started the server ends.
_WATCH = """
trap '' HUP INT TERM QUIT
pids=' '
while read -r what pid; do
    case $what in
        +) pids="$pids$pid " ;;
        -) case $pids in *" $pid "*) pids="${pids%%" $pid "*} ${pids#*" $pid "}" ;; esac ;;
        q) exit 0 ;;
    esac
done
[ "$pids" = ' ' ] || kill -9 $pids
[ -z "$1" ] || rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
"""

# Each server is announced to the watchdog by the shell that becomes it, before it exists: there is no moment
# in which it runs unwatched. Standard output is the watchdog's pipe until then.
_CHILD = 'echo "+ $$"; exec "$@" >>"$0" 2>&1'

# The same for a server that is to outlive us. The shell ends at once, so that the server belongs to init, and
# tells its process id on standard error.
_DETACHED = '"$@" </dev/null >>"$0" 2>&1 & echo "+ $!"; echo "$!" >&2'


class Process:
    """One server process: our child, or one that an earlier command started.

    Args:
        pid: process id.
        birth: what :func:`birth_of` said about it; a process with another birth is a stranger.
        child: the handle, when it is our child.
    """

    __slots__ = ("_child", "birth", "pid")

    def __init__(self, pid: int, birth: str | None, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self.birth = birth
        self._child = child

    def alive(self) -> bool:
        """Whether the process still runs (a stopped one does, a zombie does not)."""
        if self._child is not None:
            return self._child.poll() is None
        return self.birth is not None and birth_of(self.pid) == self.birth

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for the end; whether it came."""
        if self._child is not None:
            try:
                self._child.wait(timeout)
            except subprocess.TimeoutExpired:
                return False
            return True
        deadline = time.monotonic() + timeout
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def kill(self) -> None:
        """SIGKILL and wait: afterwards the process is gone and its port is free."""
        self.signal(signal.SIGKILL)
        self.wait(10.0)


class Watchdog:
    """A small shell that kills the servers, and removes a directory, when this process is gone.

    A forked child of this process closes its copy of the pipe, so that it does not keep the servers alive.

    Args:
        remove: directory to remove as well, or None.
    """

    _open: ClassVar[weakref.WeakSet[Watchdog]] = weakref.WeakSet()

    def __init__(self, remove: Path | None = None) -> None:
        reader, self._writer = os.pipe()
        try:
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", _WATCH, "sharedstate-watchdog", str(remove or "")],
                stdin=reader,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            os.close(self._writer)
            raise
        finally:
            os.close(reader)
        Watchdog._open.add(self)

    def spawn(self, command: Sequence[str], directory: Path, *, detached: bool = False) -> Process:
        """Start a server in its directory; its output goes to ``server.log`` there.

        A session of its own keeps a Ctrl-C in the terminal from shutting it down.

        Args:
            command: program and arguments.
            directory: working directory.
            detached: it is to live on when this process ends, after :meth:`release`.
        """
        shell = subprocess.Popen(
            ["/bin/sh", "-c", _DETACHED if detached else _CHILD, str(directory / "server.log"), *command],
            stdin=subprocess.DEVNULL,
            stdout=self._writer,
            stderr=subprocess.PIPE if detached else subprocess.DEVNULL,
            cwd=directory,
            start_new_session=True,
        )
        if not detached:
            return Process(shell.pid, birth_of(shell.pid), shell)
        pid = int(shell.communicate()[1])
        return Process(pid, birth_of(pid))

    def forget(self, process: Process) -> None:
        """Tell that a process has ended, so that its id, when given to another, is never killed."""
        self._tell(f"- {process.pid}\n")

    def release(self) -> None:
        """End the watch and leave the servers alone."""
        if self in Watchdog._open:
            self._tell("q\n")
            self._close()
            self._shell.wait()

    def _tell(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._writer, line.encode())

    def _close(self) -> None:
        Watchdog._open.discard(self)
        os.close(self._writer)

    @classmethod
    def _after_fork(cls) -> None:
        for watchdog in list(cls._open):
            watchdog._close()


os.register_at_fork(after_in_child=Watchdog._after_fork)


def birth_of(pid: int) -> str | None:
    """When a process started, in words that no other process of this machine ever shares with its id.

    Returns None when no such process runs; a zombie does not run.
    """
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return None
        # The name in parentheses may hold parentheses and spaces: fields are counted after the last one.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"
    listed = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    return None if not listed or listed[0].startswith("Z") else " ".join(listed[1:])
