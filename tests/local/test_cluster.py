"""Clusters that live in this process."""

from __future__ import annotations

import binascii
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import SSLConnection

from sharedstate.errors import InvalidValueError, LocalClusterError
from sharedstate.local import LocalCluster, LocalServer, form, ports
from sharedstate.local import embedded as embedded_module
from sharedstate.local.admin import Admin, ReplyError, parse_info
from sharedstate.local.node import SLOTS
from tests.support import certificates, missing, poll

from .conftest import FIRST_PORT

if TYPE_CHECKING:
    from sharedstate.local import TlsFiles

    from .conftest import ServerPath


def tls_call(files: TlsFiles, port: int | None, *words: str) -> Any:
    """One command over TLS, with the authority and the host checked."""
    connection: Any = SSLConnection(
        host="127.0.0.1", port=port, ssl_ca_certs=str(files.authority), ssl_check_hostname=True
    )
    try:
        connection.send_command(*words)
        return connection.read_response()
    finally:
        connection.disconnect()


def slot_of(key: str) -> int:
    return binascii.crc_hqx(key.encode(), 0) % SLOTS


@pytest.mark.parametrize("replicas", [0, 1])
@pytest.mark.parametrize("start", ["ghost", "meet"])
def test_start_and_stop(server: ServerPath, start: Literal["ghost", "meet"], replicas: int) -> None:
    with LocalCluster(primaries=3, replicas=replicas, server=server, start=start) as started:
        nodes = started.nodes
        home = nodes[0].directory.parent
        assert len(nodes) == 3 * (1 + replicas)
        assert [node.role for node in nodes] == ["primary"] * 3 + ["replica"] * (3 * replicas)
        assert started.url == "redis://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        assert started.healthy()
        epochs = {parse_info(str(node.call("CLUSTER", "INFO")))["cluster_my_epoch"] for node in nodes[:3]}
        assert len(epochs) == 3, "primaries of one epoch could fight over a slot"
        for number in range(30):
            key = f"key{number}"
            owner = started.primary_of(slot_of(key))
            assert owner.call("SET", key, number) == "OK"
    assert not any(node.alive for node in nodes)
    assert all(ports.is_free(node.port) and ports.is_free(node.bus_port) for node in nodes)
    assert not home.exists()


def test_one_primary_alone() -> None:
    with LocalCluster(primaries=1, replicas=0) as started:
        assert started.primary_of(0) is started.primary_of(SLOTS - 1)


def test_only_the_loopback_address_is_bound(cluster: LocalCluster) -> None:
    assert cluster.nodes[0].call("CONFIG", "GET", "bind") == ["bind", "127.0.0.1"]


def test_nothing_is_kept_on_disk(cluster: LocalCluster) -> None:
    for node in cluster.nodes:
        assert node.call("CONFIG", "GET", "save") == ["save", ""]
        assert node.call("CONFIG", "GET", "appendonly") == ["appendonly", "no"]


def test_two_clusters_at_once_do_not_mix() -> None:
    with LocalCluster(replicas=0) as one, LocalCluster(replicas=0) as two:
        assert not {node.port for node in one.nodes} & {node.port for node in two.nodes}
        assert all(len(node.rows()) == 3 for node in (*one.nodes, *two.nodes))


def test_stop_is_idempotent_and_start_again_works() -> None:
    started = LocalCluster(primaries=1, replicas=0)
    started.stop()
    started.start()
    with pytest.raises(LocalClusterError, match="already started"):
        started.start()
    first = started.nodes[0].pid
    started.stop()
    started.stop()
    with started:
        assert started.healthy()
        assert started.nodes[0].pid != first


def test_quick_start_falls_back_to_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        form, "_write_nodes", lambda node, *_, **__: (node.directory / "nodes.conf").write_text("?")
    )
    with LocalCluster(replicas=0) as started:
        assert started.healthy()


@pytest.mark.parametrize("offset", [0, ports.BUS_OFFSET], ids=["client port", "bus port"])
def test_port_taken_meanwhile_is_tried_again_elsewhere(monkeypatch: pytest.MonkeyPatch, offset: int) -> None:
    offers: list[list[int]] = [ports.pick(3), ports.pick(3)]
    with socket.create_server(("127.0.0.1", offers[0][1] + offset)):
        monkeypatch.setattr(embedded_module, "pick", lambda count: offers.pop(0))
        with LocalCluster(replicas=0) as started:
            assert started.healthy()
            assert not offers


def test_given_port() -> None:
    [first, *_] = ports.free_block(3, start=FIRST_PORT + 300)
    with LocalCluster(replicas=0, port=first) as started:
        assert [node.port for node in started.nodes] == [first, first + 1, first + 2]
        with pytest.raises(LocalClusterError, match=f"port {first} on 127.0.0.1 is taken by another program"):
            LocalCluster(primaries=1, replicas=0, port=first).start()
        busy = first + 2 + ports.BUS_OFFSET
        with pytest.raises(LocalClusterError, match="is taken"):
            LocalServer(port=busy).start()


def test_directory_stays_for_a_look(tmp_path: Path) -> None:
    home = tmp_path / 'a place with spaces and a "quote"'
    with LocalCluster(primaries=1, replicas=0, dir=home) as started:
        port = started.nodes[0].port
    assert "Ready to accept connections" in (home / str(port) / "server.log").read_text()
    with pytest.raises(LocalClusterError, match="is not empty"):
        LocalCluster(primaries=1, replicas=0, dir=home).start()


def test_directory_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(LocalClusterError, match=f"{path} cannot be used"):
        LocalCluster(primaries=1, replicas=0, dir=path).start()


def test_server_that_ends_at_once_says_why() -> None:
    with pytest.raises(LocalClusterError, match=r"ended instead of starting.*no-such-setting"):
        LocalCluster(primaries=1, replicas=0, options={"no-such-setting": "yes"}).start()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"primaries": 0}, "0 primaries"),
        ({"primaries": 101}, "101 primaries"),
        ({"replicas": -1}, "-1 replicas"),
        ({"replicas": 6}, "6 replicas"),
        ({"start": "slow"}, "start is 'slow'"),
        ({"node_timeout_ms": 10}, "node_timeout_ms is 10"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        LocalCluster(**arguments)  # type: ignore[arg-type]  # wrong on purpose


def test_password() -> None:
    with LocalCluster(primaries=2, replicas=1, password="hush") as started:
        node = started.nodes[0]
        assert started.url.startswith(f"redis://:hush@127.0.0.1:{node.port},")
        with Admin(node.host, node.port) as admin, pytest.raises(ReplyError, match="NOAUTH"):
            admin.call("PING")
        slot = slot_of("key")
        source = started.primary_of(slot)
        source.call("SET", "key", "value")
        target = next(node for node in started.nodes[:2] if node is not source)
        started.migrate_slot(slot, target)
        assert target.call("GET", "key") == "value"


def test_paused_node_is_not_healthy_and_comes_back(cluster: LocalCluster) -> None:
    node = cluster.nodes[0]
    cluster.pause(node)
    with pytest.raises(LocalClusterError, match=f"port {node.port} does not answer"):
        cluster.wait_healthy(timeout=0.1)
    cluster.resume(node)
    cluster.wait_healthy()


def test_killed_node_comes_back_empty(replicated_cluster: LocalCluster) -> None:
    primary = replicated_cluster.primary_of(0)
    replica = replicated_cluster.replica_of(primary)
    key = next(
        f"key{number}"
        for number in range(100)
        if replicated_cluster.primary_of(slot_of(f"key{number}")) is primary
    )
    primary.call("SET", key, "value")
    poll(lambda: replica.call("DBSIZE") == 1, what="the replica has it")
    replicated_cluster.kill(primary)
    assert not primary.alive
    assert primary.role == "primary", "as last known"
    poll(lambda: replica.role == "primary", what="the replica takes over")
    replicated_cluster.restart(primary)
    replicated_cluster.wait_healthy()
    assert primary.role == "replica"
    assert replicated_cluster.replicas_of(replica) == [primary]
    assert replica.call("GET", key) == "value"


def test_failover_by_hand(replicated_cluster: LocalCluster) -> None:
    primary = replicated_cluster.primary_of(SLOTS - 1)
    replica = replicated_cluster.replica_of(primary)
    replicated_cluster.failover(replica)
    replicated_cluster.wait_healthy()
    assert replicated_cluster.primary_of(SLOTS - 1) is replica
    assert primary.role == "replica"


def test_slot_held_half_migrated(cluster: LocalCluster) -> None:
    slot = slot_of("tag")
    source = cluster.primary_of(slot)
    target = next(node for node in cluster.nodes if node is not source)
    keys = [f"{{tag}}:{number}" for number in range(10)]
    for key in keys:
        source.call("SET", key, "value")
    with cluster.migrating(slot, target, moved=0.5):
        assert source.call("CLUSTER", "COUNTKEYSINSLOT", slot) == 5
        assert target.call("CLUSTER", "COUNTKEYSINSLOT", slot) == 5
        with pytest.raises(ReplyError, match=f"ASK {slot} 127.0.0.1:{target.port}"):
            source.call("GET", "{tag}:new")
    assert cluster.primary_of(slot) is target
    assert [target.call("GET", key) for key in keys] == ["value"] * 10
    with pytest.raises(ReplyError, match=f"MOVED {slot} 127.0.0.1:{target.port}"):
        source.call("GET", keys[0])
    cluster.wait_healthy()
    with pytest.raises(InvalidValueError, match=f"slot {slot} is on port {target.port} already"):
        cluster.migrate_slot(slot, target)
    cluster.migrate_slot(slot, source)
    cluster.wait_healthy()
    assert source.call("GET", keys[0]) == "value"


@pytest.mark.slow
def test_tls(tmp_path: Path) -> None:
    if shutil.which("redis-server") is None or shutil.which("openssl") is None:
        missing("TLS needs the system's redis-server and openssl: the packaged server has none")
    files = certificates(tmp_path)
    with LocalCluster(primaries=3, replicas=1, server="redis-server", tls=files) as started:
        node = started.nodes[0]
        assert started.url.startswith(f"rediss://127.0.0.1:{node.tls_port},")
        slots = tls_call(files, node.tls_port, "CLUSTER", "SLOTS")
        told = {server[1] for entry in slots for server in entry[2:]}
        assert told == {each.tls_port for each in started.nodes}
        assert started.healthy()
        slot = slot_of("key")
        source = started.primary_of(slot)
        source.call("SET", "key", "value")
        target = next(each for each in started.nodes[:3] if each is not source)
        started.migrate_slot(slot, target)
        assert target.call("GET", "key") == "value"
    with LocalServer(server="redis-server", tls=files) as single:
        assert single.url == f"rediss://127.0.0.1:{single.node.tls_port}"


def test_single_server() -> None:
    with LocalServer(password="hush", options={"maxmemory": "50mb"}) as single:
        assert single.url == f"redis://:hush@127.0.0.1:{single.node.port}"
        assert single.node.call("CONFIG", "GET", "maxmemory") == ["maxmemory", str(50 * 2**20)]
        single.node.call("SET", "key", "value")
        single.flush_all()
        assert single.node.call("DBSIZE") == 0
        first = single.node.pid
        single.kill()
        single.launch()
        assert single.node.pid not in (None, first)
        home = single.node.directory
    assert not home.exists()


@given(st.integers(1, 1000))
def test_ranges_share_all_slots_evenly(count: int) -> None:
    ranges = form.slot_ranges(count)
    assert [slot for first, last in ranges for slot in range(first, last + 1)] == list(range(SLOTS))
    sizes = {last - first + 1 for first, last in ranges}
    assert max(sizes) - min(sizes) <= 1


def test_chosen_ports_leave_the_bus_below_the_kernels_own() -> None:
    chosen = ports.pick(20)
    assert len(set(chosen)) == 20
    assert all(10000 <= port <= 22767 for port in chosen)


@pytest.mark.parametrize("port", [0, -1, 55534, 65535])
def test_port_out_of_range(port: int) -> None:
    with pytest.raises(
        LocalClusterError, match=f"port {port} is out of range: 3 servers can use ports from 1"
    ):
        ports.check_block(port, 3)


def test_no_free_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(ports, "FIRST", taken.getsockname()[1])
        monkeypatch.setattr(ports, "LAST", taken.getsockname()[1])
        with pytest.raises(LocalClusterError, match="no 1 free ports"):
            ports.pick(1)
    with pytest.raises(LocalClusterError, match="no 100000 free ports in a row"):
        ports.free_block(100000)
