"""Fixtures of the local clusters' own tests."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sharedstate.local import manager as manager_module
from sharedstate.local.manager import LocalManager
from sharedstate.local.ports import free_block
from tests.support import need_server

ServerPath = str | None

#: Where this worker's long-lived clusters begin to look for ports. They give them back when they are down,
#: and no other worker may take them then.
FIRST_PORT = 17200 + 600 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 9)


@pytest.fixture(params=[None, "redis-server"], ids=["packaged", "system"])
def server(request: pytest.FixtureRequest) -> ServerPath:
    """Each of the two server programs: the packaged Valkey and the system's Redis."""
    path: ServerPath = request.param
    need_server(path)
    return path


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalManager]:
    """A manager of a directory of its own; what it started is stopped in the end."""
    need_server()
    monkeypatch.setattr(manager_module, "free_block", functools.partial(free_block, start=FIRST_PORT))
    made = LocalManager(tmp_path / "cluster")
    yield made
    made.down()


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str


CLI = [sys.executable, "-c", "from sharedstate_cli.main import main; main()"]


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Callable[..., Ran]]:
    """Runs ``sharedstate-cli local ...`` as an operator does, in a home of its own."""
    need_server()
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path / "state"), "NO_COLOR": "1"}

    def run(*words: str) -> Ran:
        done = subprocess.run(
            [*CLI, "local", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    yield run
    LocalManager(tmp_path / "state" / "sharedstate" / "local").down()
