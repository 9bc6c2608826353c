"""Clusters that outlive the command that started them."""

from __future__ import annotations

import binascii
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sharedstate.errors import InvalidValueError, LocalClusterError
from sharedstate.local import form, ports
from sharedstate.local.admin import Admin
from sharedstate.local.manager import LocalManager
from sharedstate.local.node import SLOTS, Node
from sharedstate.local.process import birth_of
from sharedstate.local.state import default_directory
from tests.support import poll

from .conftest import FIRST_PORT

if TYPE_CHECKING:
    from sharedstate.local.survey import ClusterStatus


def fill(status: ClusterStatus, count: int = 50) -> None:
    """SET key0 .. key<count-1> on whoever serves them."""
    for number in range(count):
        with owner_of(status, f"key{number}") as admin:
            assert admin.call("SET", f"key{number}", number) == "OK"


def read(status: ClusterStatus, count: int = 50) -> list[str | None]:
    values = []
    for number in range(count):
        with owner_of(status, f"key{number}") as admin:
            values.append(admin.call("GET", f"key{number}"))
    return values


def owner_of(status: ClusterStatus, key: str) -> Admin:
    with Admin("127.0.0.1", next(node.port for node in status.nodes if node.state == "running")) as admin:
        slots = admin.call("CLUSTER", "SLOTS")
    slot = binascii.crc_hqx(key.encode(), 0) % SLOTS
    return Admin("127.0.0.1", next(entry[2][1] for entry in slots if entry[0] <= slot <= entry[1]))


def pids(status: ClusterStatus) -> list[int]:
    return [node.pid for node in status.nodes if node.pid is not None]


def kill(status: ClusterStatus, index: int) -> None:
    pid = status.nodes[index].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    poll(lambda: birth_of(pid) is None, what="the server ends")


def test_data_and_nodes_survive_down_and_up(manager: LocalManager, server: str | None) -> None:
    first = manager.up(3, 1, server=server)
    assert first.action == "created"
    assert first.started == 6
    assert first.status.state == "up"
    assert [node.role for node in first.status.nodes] == ["primary"] * 3 + ["replica"] * 3
    assert sum(node.slots for node in first.status.nodes) == SLOTS
    fill(first.status)

    assert manager.down() == 6
    assert not any(birth_of(pid) for pid in pids(first.status))
    assert manager.status().state == "down"
    assert manager.status().problem is None
    assert manager.down() == 0

    again = manager.up()
    assert again.action == "started"
    assert again.started == 6
    assert again.status.url == first.status.url
    assert again.status.server == first.status.server
    assert [node.slots for node in again.status.nodes] == [node.slots for node in first.status.nodes]
    assert read(again.status) == [str(number) for number in range(50)]


def test_up_again_changes_nothing(manager: LocalManager) -> None:
    first = manager.up(2, 0)
    second = manager.up()
    third = manager.up(2, 0, port=first.status.nodes[0].port)
    assert (second.action, second.started) == (third.action, third.started) == ("running", 0)
    assert pids(second.status) == pids(third.status) == pids(first.status)


@pytest.mark.slow
def test_one_crashed_server_is_started_again(manager: LocalManager) -> None:
    first = manager.up(3, 1)
    fill(first.status)
    kill(first.status, 0)
    broken = manager.status()
    assert broken.state == "impaired"
    assert broken.problem == f"the server on port {first.status.nodes[0].port} does not run"
    assert broken.nodes[0].state == "stopped"
    assert broken.nodes[0].pid is None
    assert broken.nodes[0].memory is None

    healed = manager.up()
    assert (healed.action, healed.started) == ("healed", 1)
    assert healed.status.state == "up"
    assert pids(healed.status)[1:] == pids(first.status)[1:]
    assert read(healed.status) == [str(number) for number in range(50)]


@pytest.mark.slow
def test_crashed_primary_comes_back_as_the_replica_of_its_replica(manager: LocalManager) -> None:
    first = manager.up(3, 1)
    fill(first.status)
    kill(first.status, 0)
    poll(lambda: manager.status().nodes[3].role == "primary", what="the replica takes over", timeout=20)
    healed = manager.up()
    assert healed.action == "healed"
    assert healed.status.nodes[0].role == "replica"
    assert healed.status.nodes[0].follows == first.status.nodes[3].port
    assert read(healed.status) == [str(number) for number in range(50)]


def test_all_servers_killed_as_by_a_power_cut(manager: LocalManager) -> None:
    first = manager.up(2, 0)
    fill(first.status)
    for index in (0, 1):
        kill(first.status, index)
    assert manager.status().state == "down"
    again = manager.up()
    assert again.action == "started"
    assert read(again.status) == [str(number) for number in range(50)]


def test_silent_server_is_reported_and_woken(manager: LocalManager) -> None:
    first = manager.up(2, 0)
    os.kill(pids(first.status)[1], signal.SIGSTOP)
    broken = manager.status()
    assert broken.state == "impaired"
    assert broken.nodes[1].state == "silent"
    assert broken.nodes[1].pid == first.status.nodes[1].pid
    woken = manager.up()
    assert woken.action == "running"
    assert woken.status.state == "up"


def test_down_ends_a_stopped_server_as_well(manager: LocalManager) -> None:
    first = manager.up(1, 0)
    os.kill(pids(first.status)[0], signal.SIGSTOP)
    assert manager.down() == 1
    assert birth_of(pids(first.status)[0]) is None


def test_process_id_that_belongs_to_another_is_left_alone(manager: LocalManager) -> None:
    """As after a reboot: the noted ids now belong to strangers, here to this very process."""
    first = manager.up(1, 0)
    kill(first.status, 0)
    path = manager.directory / "cluster.json"
    state = json.loads(path.read_text())
    for birth in (state["nodes"][0]["birth"], "another-boot/1", None):
        state["nodes"][0] |= {"pid": os.getpid(), "birth": birth}
        path.write_text(json.dumps(state))
        assert manager.status().state == "down"
        assert manager.down() == 0
    assert manager.up().action == "started"


def test_server_whose_process_id_was_lost_is_found_by_its_port(manager: LocalManager) -> None:
    first = manager.up(1, 0)
    path = manager.directory / "cluster.json"
    state = json.loads(path.read_text())
    state["nodes"][0] |= {"pid": None, "birth": None}
    path.write_text(json.dumps(state))
    assert manager.up().action == "running"
    assert pids(manager.status()) == pids(first.status)
    assert manager.down() == 1
    assert birth_of(pids(first.status)[0]) is None


def test_cluster_is_moved_to_other_ports(manager: LocalManager) -> None:
    first = manager.up(2, 1)
    fill(first.status)
    [port, *_] = ports.free_block(4, start=FIRST_PORT + 300)
    with pytest.raises(
        LocalClusterError, match="stop it with `sharedstate-cli local down` before you move it"
    ):
        manager.up(port=port)
    manager.down()
    moved = manager.up(port=port)
    assert [node.port for node in moved.status.nodes] == [port, port + 1, port + 2, port + 3]
    assert moved.status.state == "up"
    assert read(moved.status) == [str(number) for number in range(50)]


def test_port_taken_while_it_was_down(manager: LocalManager) -> None:
    first = manager.up(2, 0)
    manager.down()
    port = first.status.nodes[1].port
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(LocalClusterError, match=f"port {port} on 127.0.0.1 is taken by another program"),
    ):
        manager.up()
    assert manager.status().state == "down", "nothing is left half started"
    assert manager.up().action == "started"


def test_new_cluster_on_a_taken_port_leaves_nothing(manager: LocalManager) -> None:
    [port, *_] = ports.free_block(2, start=FIRST_PORT + 300)
    with (
        socket.create_server(("127.0.0.1", port + 1 + ports.BUS_OFFSET)),
        pytest.raises(LocalClusterError, match=f"port {port + 1 + ports.BUS_OFFSET} on 127.0.0.1 is taken"),
    ):
        manager.up(2, 0, port=port)
    assert not manager.directory.exists()


def test_failed_start_leaves_nothing(manager: LocalManager, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def fail(nodes: list[Node], _deadline: float) -> None:
        started.extend(node.pid for node in nodes if node.pid)
        raise LocalClusterError("no.")

    monkeypatch.setattr(form, "wait_healthy", fail)
    with pytest.raises(LocalClusterError, match="no"):
        manager.up(2, 0)
    assert started
    assert not any(birth_of(pid) for pid in started)
    assert not manager.directory.exists()


def test_up_killed_midway(manager: LocalManager) -> None:
    script = f"""
import os, signal
from sharedstate.local import form, manager
def die(nodes, deadline):
    print(*(node.pid for node in nodes), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
form.wait_healthy = die
manager.LocalManager({str(manager.directory)!r}).up(2, 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL
    started = [int(pid) for pid in done.stdout.split()]
    assert len(started) == 2
    poll(lambda: not any(birth_of(pid) for pid in started), what="the servers end with it")
    assert manager.up(1, 0).action == "created"


def test_missing_place_in_the_cluster(manager: LocalManager) -> None:
    manager.up(2, 0)
    manager.down()
    shutil.rmtree(manager.directory / "node-1")
    with pytest.raises(LocalClusterError, match=r"node-1/nodes\.conf is missing"):
        manager.up()
    assert manager.status().state == "down"


def test_other_counts_than_it_has(manager: LocalManager) -> None:
    manager.up(1, 0)
    with pytest.raises(LocalClusterError, match="has 1 primaries, not 3"):
        manager.up(3)
    with pytest.raises(LocalClusterError, match="has 0 replicas of each primary, not 1"):
        manager.up(1, 1)
    with pytest.raises(InvalidValueError, match="0 primaries"):
        manager.up(0)
    assert manager.status().state == "up"


def test_directory_with_something_else(manager: LocalManager) -> None:
    manager.directory.mkdir()
    (manager.directory / "letters").touch()
    with pytest.raises(LocalClusterError, match="holds 'letters' and no local cluster"):
        manager.up(1, 0)
    assert (manager.directory / "letters").exists()
    assert manager.down() == 0
    with pytest.raises(LocalClusterError, match="there is no local cluster in"):
        manager.status()


def test_directory_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    for place, reason in (
        (path, "it is not a directory"),
        (path / "below", "Not a directory"),
        ("/proc/1/new", "No such"),
    ):
        with pytest.raises(LocalClusterError, match=f"{place} cannot be used.*{reason}.*--dir"):
            LocalManager(place).up(1, 0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_directory_that_is_not_ours(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(LocalClusterError, match="Permission denied"):
        LocalManager(tmp_path / "new").up(1, 0)
    with pytest.raises(LocalClusterError, match="Permission denied"):
        LocalManager(tmp_path).up(1, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 1}', "is damaged"),
        ('{"format": 1, "nodes": [{"port": 1}]}', "is damaged"),
        ('{"format": 2}', "has format 2"),
        ("\xff", "cannot be read"),
    ],
)
def test_damaged_state(manager: LocalManager, text: str, message: str) -> None:
    manager.directory.mkdir()
    path = manager.directory / "cluster.json"
    path.write_text(text, encoding="latin-1")
    calls: tuple[Callable[[], object], ...] = (manager.up, manager.status, manager.down)
    for call in calls:
        with pytest.raises(LocalClusterError, match=message):
            call()
    path.unlink()


def test_default_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert default_directory() == Path("/home/ada/.local/state/sharedstate/local")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert default_directory() == Path("/home/ada/.local/state/sharedstate/local")
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert default_directory() == Path("/var/state/sharedstate/local")
