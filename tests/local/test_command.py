"""``sharedstate-cli local`` as an operator types it."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sharedstate.local.ports import free_block
from sharedstate.local.process import birth_of
from tests.support import poll

from .conftest import CLI, FIRST_PORT, Ran

Local = Callable[..., Ran]


@pytest.mark.slow
def test_a_day_in_its_life(local: Local, tmp_path: Path) -> None:
    home = tmp_path / "state" / "sharedstate" / "local"
    [port, *_] = free_block(4, start=FIRST_PORT)
    up = local("up", "--primaries", "2", "--replicas", "1", "--port", str(port))
    assert up.status == 0, up.err
    assert re.match(rf"Started a new cluster of 4 servers \((Valkey|Redis) [\d.]+\) in {home}\.\n", up.out)
    assert re.search(
        r"^    export SHAREDSTATE_URL=redis://127\.0\.0\.1:\d+(,127\.0\.0\.1:\d+){3}$", up.out, re.MULTILINE
    )

    again = local("up")
    assert again.status == 0
    assert again.out.startswith("Already running: 4 servers")

    plain = local("status", "--format", "plain")
    assert plain.status == 0
    assert plain.out.startswith(f"Cluster: up\nDirectory: {home}\nServer: ")
    servers = re.findall(
        r"^127\.0\.0\.1:(\d+) (primary|replica of \d+) running pid \d+ slots (\d+) keys 0 memory \d+$",
        plain.out,
        re.M,
    )
    assert [slots for _, _, slots in servers] == ["8192", "8192", "0", "0"]

    found = json.loads(local("status", "--format", "json").out)
    assert found["state"] == "up"
    assert [node["follows"] for node in found["nodes"][2:]] == [node["port"] for node in found["nodes"][:2]]
    rows = list(csv.DictReader(local("status", "--format", "csv").out.splitlines()))
    assert [int(row["port"]) for row in rows] == [node["port"] for node in found["nodes"]]
    table = local("status", "--format", "table")
    assert "Local cluster up" in table.out
    assert f"127.0.0.1:{found['nodes'][3]['port']}" in table.out

    os.kill(found["nodes"][0]["pid"], signal.SIGKILL)
    poll(lambda: birth_of(found["nodes"][0]["pid"]) is None, what="the server ends")
    impaired = local("status")
    assert impaired.status == 10
    assert "Cluster: impaired: the server on port" in impaired.out
    healed = local("up")
    assert healed.status == 0
    assert healed.out.startswith("Started 1 of 4 servers that did not run")

    down = local("down")
    assert (down.status, down.out) == (0, f"Stopped 4 servers; the data is kept in {home}.\n")
    assert local("status").status == 10
    assert local("down").out == f"Nothing to stop: no server of a local cluster runs in {home}.\n"
    back = local("up")
    assert back.out.startswith("Started the cluster of 4 servers"), back
    assert back.out.splitlines()[2] == up.out.splitlines()[2], "the URL is the same"


def test_two_ups_at_once(local: Local, tmp_path: Path) -> None:
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path / "state")}
    both = [
        subprocess.Popen(
            [*CLI, "local", "up", "--primaries", "1", "--replicas", "0"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = sorted(process.communicate(timeout=100) for process in both)
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0].startswith("Already running: 1 server (")
    assert outputs[1][0].startswith("Started a new cluster of 1 server (")
    assert local("down").out.startswith("Stopped 1 server;")


def test_servers_outlive_the_terminal(local: Local) -> None:
    """They are in sessions of their own, so that neither Ctrl-C nor SIGHUP of the terminal reaches them."""
    local("up", "--primaries", "1", "--replicas", "0")
    [node] = json.loads(local("status", "--format", "json").out)["nodes"]
    assert os.getsid(node["pid"]) not in (os.getsid(0), os.getpid())
    assert local("status").status == 0


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["up", "--primaries", "0"], 2, "--primaries"),
        (["up", "--primaries", "many"], 2, "--primaries"),
        (["up", "--replicas", "9"], 2, "--replicas"),
        (["up", "--port", "60000"], 2, "--port"),
        (["up", "--port", "55535"], 10, "port 55535 is out of range"),
        (["up", "--dir", "/dev/null"], 10, "the directory /dev/null cannot be used (it is not a directory)"),
        (["up", "--dir", "/proc/new"], 10, "the directory /proc/new cannot be used"),
        (["up", "--server", "/nowhere/redis"], 10, "'/nowhere/redis' does not exist"),
        (["up", "--server", "/bin/sh"], 10, "is not a Redis or Valkey server"),
        (["status"], 10, "there is no local cluster in"),
        (["status", "--dir", "/nowhere"], 10, "there is no local cluster in /nowhere"),
        (["status", "--format", "xml"], 2, "--format"),
        (["upp"], 2, "did you mean 'up'?"),
        ([], 2, "Usage: "),
        (["down", "now"], 2, "now"),
    ],
)
def test_wrong_words(local: Local, tmp_path: Path, words: list[str], status: int, message: str) -> None:
    ran = local(*words)
    assert (ran.status, ran.out) == (status, "")
    assert message in ran.err
    assert not (tmp_path / "state" / "sharedstate" / "local").exists()


@pytest.mark.parametrize("command", [[], ["up"], ["status"], ["down"]])
def test_help(local: Local, command: list[str]) -> None:
    ran = local(*command, "--help")
    assert ran.status == 0
    assert "Example:" in ran.out
