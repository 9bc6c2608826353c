"""Sentinel: the primary is found, checked, and found again after a failover."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sharedstate.errors import AuthenticationError, UnsuitableServerError
from sharedstate.local import LocalServer
from sharedstate.local.admin import Admin, ReplyError
from sharedstate.local.ports import pick
from tests.support import poll

from .calls import count

if TYPE_CHECKING:
    from .faces import Face


@dataclass
class Group:
    """A primary with a replica, watched by Sentinels."""

    primary: LocalServer
    replica: LocalServer
    ports: list[int]

    @property
    def hosts(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def known_primary(self, port: int) -> int:
        with Admin("127.0.0.1", port, password="watch") as admin:
            return int(admin.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")[1])


@pytest.fixture
def group(debian_server: str, tmp_path: Path) -> Iterator[Group]:
    with (
        LocalServer(server=debian_server, password="pw", options={"masterauth": "pw"}) as primary,
        LocalServer(
            server=debian_server,
            password="pw",
            options={"masterauth": "pw", "replicaof": f"127.0.0.1 {primary.node.port}"},
        ) as replica,
    ):
        poll(lambda: "master_link_status:up" in str(replica.node.call("INFO", "replication")))
        processes, ports = [], pick(1)
        for port in ports:
            config = tmp_path / f"{port}.conf"
            config.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nrequirepass watch\n"
                f"sentinel monitor mymaster 127.0.0.1 {primary.node.port} 1\n"
                "sentinel auth-pass mymaster pw\n"
                "sentinel down-after-milliseconds mymaster 300\n"
                "sentinel failover-timeout mymaster 2000\n"
            )
            processes.append(
                subprocess.Popen([debian_server, str(config), "--sentinel"], stdout=subprocess.DEVNULL)
            )
        try:
            for port in ports:
                poll(lambda port=port: knows_the_replica(port))
            yield Group(primary, replica, ports)
        finally:
            for process in processes:
                process.kill()
                process.wait()


def knows_the_replica(port: int) -> bool:
    try:
        with Admin("127.0.0.1", port, password="watch") as admin:
            shown = admin.call("SENTINEL", "MASTER", "mymaster")
    except OSError:
        return False
    facts = dict(zip(shown[::2], shown[1::2], strict=True))
    return str(facts["num-slaves"]) == "1"


def accepts_failover(port: int) -> bool:
    """Not before the Sentinel has heard enough from the replica."""
    with Admin("127.0.0.1", port, password="watch") as admin, contextlib.suppress(ReplyError):
        return str(admin.call("SENTINEL", "FAILOVER", "mymaster")) == "OK"
    return False


@pytest.mark.slow
def test_discovery_and_failover(face: Face, group: Group) -> None:
    link = face.open(f"redis+sentinel://:pw@{group.hosts}/mymaster?sentinel_password=watch")
    assert link.topology.mode == "sentinel"
    assert link.topology.primaries == (group.primary.node.address,)
    assert link.one(count()) == 1
    poll(lambda: group.replica.node.call("GET", "ss:{t}:n") == "1")
    before = link.disturbances
    group.primary.kill()
    assert link.one(count(), 20.0) == 2
    assert link.topology.primaries == (group.replica.node.address,)
    assert link.disturbances > before


@pytest.mark.slow
def test_a_switch_of_primaries(face: Face, group: Group) -> None:
    """The old primary lives on as a replica: it answers READONLY, or closes our connection."""
    link = face.open(f"redis+sentinel://:pw@{group.hosts}/mymaster?sentinel_password=watch")
    assert link.one(count()) == 1
    poll(lambda: group.replica.node.call("GET", "ss:{t}:n") == "1")
    poll(lambda: accepts_failover(group.ports[0]), 15.0)
    poll(lambda: group.known_primary(group.ports[0]) == group.replica.node.port, 15.0)
    group.primary.node.call("REPLICAOF", "127.0.0.1", group.replica.node.port)  # the Sentinel takes 10 s
    # The Sentinel also cuts the demoted server's connections, maybe in the middle of our call.
    assert link.one(count(resend=True), 15.0) in (2, 3)
    assert link.topology.primaries == (group.replica.node.address,)


def test_what_is_wrong_is_said(face: Face, group: Group, standalone: LocalServer) -> None:
    with pytest.raises(UnsuitableServerError, match="watches no service 'other': check the URL's path"):
        face.open(f"redis+sentinel://:pw@{group.hosts}/other?sentinel_password=watch")
    with pytest.raises(AuthenticationError, match=f"127.0.0.1:{group.ports[0]} requires a login"):
        face.open(f"redis+sentinel://:pw@{group.hosts}/mymaster")
    with pytest.raises(AuthenticationError, match=f"{group.primary.node.address} refused the password"):
        face.open(f"redis+sentinel://:no@{group.hosts}/mymaster?sentinel_password=watch")
    with pytest.raises(UnsuitableServerError, match="is no Sentinel: use redis://"):
        face.open(f"redis+sentinel://{standalone.node.address}/mymaster")
    with pytest.raises(UnsuitableServerError, match="is a Sentinel: write redis\\+sentinel://"):
        face.open(f"redis://:watch@127.0.0.1:{group.ports[0]}")
    begun = time.monotonic()
    dead = pick(1)[0]
    link = face.open(f"redis+sentinel://:pw@127.0.0.1:{dead},{group.hosts}/mymaster?sentinel_password=watch")
    assert link.one(count()) == 1
    assert time.monotonic() - begun < 5.0
