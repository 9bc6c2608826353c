"""No server outlives the process that is responsible for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sharedstate.local.process import birth_of
from tests.support import need_server, poll

OWNER = """
import json, os, sys, time
from sharedstate.local import LocalCluster
cluster = LocalCluster(primaries=3, replicas=0).start()
{more}
home = str(cluster.nodes[0].directory.parent)
print(json.dumps({{"pids": [node.pid for node in cluster.nodes], "home": home}}), flush=True)
{end}
"""

# The child drops the pipe that it inherited, so that the test sees the end of its output.
FORK = """
if not os.fork():
    os.close(1)
    time.sleep(60)
    os._exit(0)
"""

FORK_AND_STOP = """
child = os.fork()
if not child:
    cluster.stop()
    sys.exit()  # runs what is registered with atexit
assert os.waitpid(child, 0)[1] == 0
"""

WAIT = "sys.stdin.read()"


@contextmanager
def owner(end: str = WAIT, more: str = "") -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A process that owns a cluster, and what it says about it."""
    need_server()
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(end=end, more=more)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def assert_gone(told: dict[str, Any]) -> None:
    poll(lambda: not any(birth_of(pid) for pid in told["pids"]), what="the servers end")
    poll(lambda: not Path(told["home"]).exists(), what="the directory is removed")


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)
def test_parent_killed(number: signal.Signals) -> None:
    with owner() as (process, told):
        assert all(birth_of(pid) for pid in told["pids"])
        process.send_signal(number)
        process.wait()
        assert_gone(told)


def test_parent_killed_with_a_server_paused() -> None:
    with owner(more="cluster.pause(cluster.nodes[1])") as (process, told):
        process.kill()
        process.wait()
        assert_gone(told)


def test_restarted_server_is_watched_too() -> None:
    with owner(more="cluster.restart(cluster.nodes[1])") as (process, told):
        process.kill()
        process.wait()
        assert_gone(told)


@pytest.mark.parametrize("end", ["sys.exit()", "1/0", "cluster.stop()"])
def test_parent_ends_by_itself(end: str) -> None:
    with owner(end=end) as (process, told):
        process.wait()
        assert_gone(told)


def test_terminals_interrupt_does_not_reach_the_servers() -> None:
    with owner() as (process, told):
        # The terminal's Ctrl-C goes to all processes of the group; the parent ignores it here.
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
        assert_gone(told)
        assert process.returncode != 0
    with owner(more="import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)") as (process, told):
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdin is not None
        assert all(birth_of(pid) for pid in told["pids"])


def test_forked_child_does_not_keep_the_servers_alive() -> None:
    with owner(more=FORK) as (process, told):
        process.kill()
        process.wait()
        assert_gone(told)
        os.killpg(process.pid, signal.SIGKILL)


def test_forked_child_does_not_stop_the_parents_cluster() -> None:
    with owner(more=FORK_AND_STOP) as (_, told):
        assert all(birth_of(pid) for pid in told["pids"])
        assert Path(told["home"]).exists()
