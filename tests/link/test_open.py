"""Opening: what cannot serve us is refused, each with its own sentence."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from sharedstate.errors import (
    AuthenticationError,
    LinkError,
    PermissionDeniedError,
    UnreachableError,
    UnsuitableServerError,
)
from sharedstate.local import LocalCluster, LocalServer
from tests.proxy import FaultProxy
from tests.support import poll

from .calls import SLOT, count, get

if TYPE_CHECKING:
    from .faces import Face

SCHEDULING = 1.5


@contextmanager
def impostor(talk: Callable[[socket.socket], object]) -> Iterator[str]:
    """Something that listens and is not Redis; gives its host:port."""
    listener = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                end, _ = listener.accept()
            except OSError:
                return
            ends.append(end)
            with suppress(OSError):
                talk(end)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for end in ends:
            end.close()
        thread.join(5.0)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def smtp(end: socket.socket) -> None:
    end.sendall(b"220 mx.example.com ESMTP Postfix\r\n")


def http(end: socket.socket) -> None:
    end.recv(1000)
    end.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def pop3(end: socket.socket) -> None:
    end.recv(1000)
    end.sendall(b"+OK POP3 ready\r\n-ERR what?\r\n")


def mute(end: socket.socket) -> None:
    pass


def rude(end: socket.socket) -> None:
    end.recv(1000)
    end.close()


def old(version: bytes) -> Callable[[socket.socket], None]:
    """A server of another version; none as old is at hand, so its INFO is played."""
    info = b"# Server\r\n" + version + b"\r\nredis_mode:standalone\r\ncluster_enabled:0\r\nrole:master\r\n"

    def talk(end: socket.socket) -> None:
        end.recv(1000)
        end.sendall(b"$%d\r\n%s\r\n" % (len(info), info))
        end.sendall(b"-ERR This instance has cluster support disabled\r\n")

    return talk


@pytest.mark.parametrize(
    ("talk", "sentence"),
    [
        (smtp, "answered '220 mx.example.com ESMTP Postfix', so it is no Redis server: check host and port."),
        (http, "answered 'HTTP/1.1 400 Bad Request', so it is no Redis server: check host and port."),
        (pop3, "answered 'OK POP3 ready' to INFO, so it is no Redis server: check host and port."),
        (
            old(b"redis_version:6.2.14"),
            "runs redis 6.2.14, which is too old: Redis 7.0 or Valkey 7.2 or newer",
        ),
        (
            old(b"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:7.1.9"),
            "runs valkey 7.1.9, which is too old",
        ),
    ],
    ids=["smtp", "http", "pop3", "redis 6", "old valkey"],
)
def test_what_is_not_a_redis_of_today(
    face: Face, talk: Callable[[socket.socket], None], sentence: str
) -> None:
    with impostor(talk) as address, pytest.raises(UnsuitableServerError) as caught:
        face.open(f"redis://{address}")
    assert str(caught.value).startswith(address)
    assert sentence in str(caught.value)


def test_a_valkey_is_known_by_its_own_version(face: Face) -> None:
    with impostor(old(b"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1")) as address:
        assert face.open(f"redis://{address}").topology.server == "valkey 8.0.1"


def test_silence_ends_at_the_deadline(face: Face) -> None:
    with impostor(mute) as address:
        begun = time.monotonic()
        with pytest.raises(UnreachableError, match="gave no answer in time"):
            face.open(f"redis://{address}", 0.3)
        assert time.monotonic() - begun < 0.3 + SCHEDULING


def test_a_door_in_the_face_hints_at_tls(face: Face) -> None:
    with impostor(rude) as address, pytest.raises(UnreachableError, match="use rediss://"):
        face.open(f"redis://{address}", 0.3)


def test_nobody_there_is_told_at_once(face: Face) -> None:
    first, second = free_port(), free_port()
    begun = time.monotonic()
    with pytest.raises(UnreachableError) as caught:
        face.open(f"redis://127.0.0.1:{first}", 30.0)
    assert str(caught.value) == (
        f"127.0.0.1:{first} refused the connection: check that Redis runs there and can be reached."
    )
    with pytest.raises(UnreachableError) as caught:
        face.open(f"redis://127.0.0.1:{first},127.0.0.1:{second}", 30.0)
    assert str(caught.value) == (
        "no server of the URL can be reached: "
        f"127.0.0.1:{first} refused the connection, 127.0.0.1:{second} refused the connection."
    )
    assert time.monotonic() - begun < 10.0


def test_a_name_that_does_not_resolve(face: Face) -> None:
    with pytest.raises(UnreachableError, match=r"no\.such\.host\.invalid:6379 has a name that"):
        face.open("redis://no.such.host.invalid", 2.0)


def test_a_name_server_that_hangs(
    face: Face, standalone: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's resolver knows no deadline; we do."""
    released = threading.Event()

    def hang(host: str, *args: object, **options: object) -> list[object]:
        if options.get("flags") == socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        released.wait(10.0)
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    begun = time.monotonic()
    with pytest.raises(UnreachableError, match="has a name that did not resolve in time"):
        face.open("redis://slow.example", 0.3)
    assert time.monotonic() - begun < 0.3 + SCHEDULING
    released.set()


def test_a_socket_that_is_not_there(face: Face) -> None:
    with pytest.raises(UnreachableError, match=r"/no/such\.sock cannot be connected to \(No such file"):
        face.open("unix:///no/such.sock")


def test_a_dead_host_among_the_hosts_is_passed_over(face: Face, cluster: LocalCluster) -> None:
    with impostor(mute) as silent:
        link = face.open(f"redis://127.0.0.1:{free_port()},{silent},{cluster.nodes[0].address}", 3.0)
    assert len(link.topology.primaries) == 3


def test_a_wrong_password(face: Face) -> None:
    with LocalServer(password="right") as server:
        address = server.node.address
        with pytest.raises(AuthenticationError) as caught:
            face.open(f"redis://:wrong@{address}")
        assert str(caught.value) == (
            f"{address} refused the password of the default user: check user and password in the server URL."
        )
        with pytest.raises(AuthenticationError, match="refused the password of user 'nobody'"):
            face.open(f"redis://nobody:wrong@{address}")
        with pytest.raises(AuthenticationError, match="requires a login: put user:password@"):
            face.open(f"redis://{address}")
        assert face.open(f"redis://:right@{address}").one(count()) == 1


def test_a_password_where_none_is_set(face: Face, standalone: LocalServer) -> None:
    with pytest.raises(AuthenticationError):
        face.open(f"redis://:secret@{standalone.node.address}")


def test_a_database_and_a_name(face: Face, standalone: LocalServer) -> None:
    link = face.open(f"{standalone.url}/5", client_name="mx1")
    assert link.one(count()) == 1
    assert face.open(standalone.url).one(get()) == 0
    assert "name=mx1 " in str(standalone.node.call("CLIENT", "LIST"))


def test_a_database_that_a_server_has_not(face: Face, standalone: LocalServer) -> None:
    with pytest.raises(UnsuitableServerError, match="has no database 99 for us"):
        face.open(f"{standalone.url}/99")


def test_a_database_of_a_cluster(face: Face, cluster: LocalCluster) -> None:
    with pytest.raises(UnsuitableServerError, match="a cluster has database 0 only"):
        face.open(f"{cluster.url}/1")


def test_an_evicting_policy(face: Face, standalone: LocalServer) -> None:
    address = standalone.node.address
    standalone.node.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    face.open(standalone.url)
    standalone.node.call("CONFIG", "SET", "maxmemory", "100mb")
    with pytest.raises(UnsuitableServerError) as caught:
        face.open(standalone.url)
    assert str(caught.value) == (
        f"{address} has maxmemory-policy allkeys-lru and would evict shared state: "
        "set it to noeviction, or to a volatile one."
    )
    standalone.node.call("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    face.open(standalone.url)


def test_an_evicting_policy_on_another_node_of_the_cluster(face: Face, cluster: LocalCluster) -> None:
    node = cluster.nodes[2]
    try:
        node.call("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
        node.call("CONFIG", "SET", "maxmemory", "100mb")
        with pytest.raises(
            UnsuitableServerError, match=f"{node.address} has maxmemory-policy allkeys-random"
        ):
            face.open(f"redis://{cluster.nodes[0].address}")
    finally:
        node.call("CONFIG", "SET", "maxmemory", "0")
        node.call("CONFIG", "SET", "maxmemory-policy", "noeviction")


def test_slots_without_a_node(face: Face, cluster: LocalCluster) -> None:
    node = cluster.primary_of(SLOT)
    url = f"redis://{node.address}"
    node.call("CLUSTER", "DELSLOTS", SLOT, SLOT - 1)
    try:
        with pytest.raises(UnsuitableServerError) as caught:
            face.open(url)
        assert f"the cluster at {node.address} has 2 of 16384 slots without a node" in str(caught.value)
    finally:
        node.call("CLUSTER", "ADDSLOTS", SLOT, SLOT - 1)
        cluster.wait_healthy()


def test_a_replica_is_not_a_place_to_write(face: Face, standalone: LocalServer) -> None:
    with LocalServer() as replica:
        replica.node.call("REPLICAOF", "127.0.0.1", standalone.node.port)
        poll(lambda: "master_link_status:up" in str(replica.node.call("INFO", "replication")))
        with pytest.raises(UnsuitableServerError) as caught:
            face.open(replica.url)
        assert f"is a read-only replica of 127.0.0.1:{standalone.node.port}" in str(caught.value)
        link = face.open(f"{replica.url},{standalone.node.address}")
        assert link.topology.primaries == (standalone.node.address,)


def test_several_hosts_of_a_replicated_server(face: Face, standalone: LocalServer) -> None:
    """Without Sentinels somebody else promotes the replica; we find it."""
    with LocalServer() as replica:
        replica.node.call("REPLICAOF", "127.0.0.1", standalone.node.port)
        poll(lambda: "master_link_status:up" in str(replica.node.call("INFO", "replication")))
        link = face.open(f"{standalone.url},{replica.node.address}")
        assert link.one(count()) == 1
        poll(lambda: replica.node.call("GET", "ss:{t}:n") == "1")
        standalone.kill()
        link.wait_until_cut()
        replica.node.call("REPLICAOF", "NO", "ONE")
        assert link.one(count()) == 2
        assert link.topology.primaries == (replica.node.address,)


def test_a_demoted_server_is_left(face: Face, standalone: LocalServer) -> None:
    with LocalServer() as other:
        link = face.open(f"{standalone.url},{other.node.address}")
        assert link.one(count()) == 1
        before = link.disturbances
        standalone.node.call("REPLICAOF", "127.0.0.1", other.node.port)
        assert link.one(count()) == 1
        assert link.disturbances > before
        assert link.topology.primaries == (other.node.address,)


ACL = ("reset", "on", ">pw", "~ss:*", "+cluster|slots", "+evalsha", "+eval", "+incr")


def grant(cluster: LocalCluster, *rules: str) -> None:
    for node in cluster.nodes:
        node.call("ACL", "SETUSER", "mta", *rules)


def test_the_smallest_acl(face: Face, cluster: LocalCluster) -> None:
    grant(cluster, *ACL)
    link = face.open(f"redis://mta:pw@{cluster.url.removeprefix('redis://')}")
    assert link.topology.server == "", "INFO is not among the rights"
    assert link.one(count()) == 1
    denied = link.one(count("other:{t}:n"))
    assert isinstance(denied, PermissionDeniedError)
    assert "does not let user 'mta' run script count" in str(denied)
    grant(cluster, "-incr")
    inside = link.one(count())
    assert isinstance(inside, PermissionDeniedError), inside
    denied = link.one(get())
    assert isinstance(denied, PermissionDeniedError)


def test_what_the_acl_lacks_is_named(face: Face, cluster: LocalCluster) -> None:
    url = f"redis://mta:pw@{cluster.nodes[0].address}"
    grant(cluster, *ACL, "-cluster|slots")
    with pytest.raises(PermissionDeniedError) as caught:
        face.open(url)
    assert str(caught.value).endswith(
        "does not let user 'mta' run CLUSTER SLOTS: grant it with ACL SETUSER mta +cluster|slots."
    )


def test_acl_of_a_single_server_may_deny_cluster_slots(face: Face, standalone: LocalServer) -> None:
    standalone.node.call("ACL", "SETUSER", "mta", *ACL, "-cluster|slots", "+info")
    assert face.open(f"redis://mta:pw@{standalone.node.address}").one(count()) == 1


def test_a_login_that_is_withdrawn(face: Face, standalone: LocalServer) -> None:
    standalone.node.call("ACL", "SETUSER", "mta", *ACL, "+info")
    link = face.open(f"redis://mta:pw@{standalone.node.address}")
    assert link.one(count()) == 1
    standalone.node.call("ACL", "DELUSER", "mta")
    link.wait_until_cut()
    error = link.one(count())
    assert isinstance(error, AuthenticationError), error
    assert isinstance(error, LinkError)


def test_a_server_that_comes_up_late_is_waited_for(face: Face, standalone: LocalServer) -> None:
    """Slow is not refused: as long as somebody may answer, opening goes on."""
    with FaultProxy("127.0.0.1", standalone.node.port) as proxy:
        proxy.cut_requests(3)
        assert face.open(f"redis://{proxy.address}").one(count()) == 1
