"""A cluster that lives inside this process: for tests and for programs that bring their own Redis."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sharedstate.errors import InvalidValueError, LocalClusterError

from .embedded import Embedded
from .form import Start, form
from .node import Node, complaint, connected, wait_healthy
from .ports import BUS_OFFSET
from .process import Watchdog
from .server import Options, OptionValue, Server, TlsFiles, plain_options

if TYPE_CHECKING:
    from .admin import Admin

__all__ = ["LocalCluster", "check_counts", "cluster_options"]


class LocalCluster(Embedded):
    """A real Redis Cluster of server processes on the loopback address.

    ::

        with LocalCluster(primaries=3, replicas=1) as cluster:
            state = sharedstate.connect(cluster.url)

    It starts in a third of a second (one and a half with replicas) and keeps nothing: the servers end and
    their files go when the block ends, and also when this process is killed. One that lasts is made by
    ``sharedstate-cli local up``. All nodes are on this machine: nothing survives the loss of the machine.

    Args:
        primaries: how many nodes share the slots, 1 to 100.
        replicas: how many replicas each primary has, 0 to 5.
        dir: empty or missing directory for the nodes' files and logs, which then stay; default a temporary
            one.
        port: first of consecutive ports, each also with the one 10000 above; default free ones at random.
        server: the server program, see :func:`find_server`.
        node_timeout_ms: after how long without an answer a node counts as failed; replicas take over about
            half a second later.
        start: ``ghost``, the quick way, with the usual one as fallback, or ``meet``, the usual one (2 s).
        options: more settings of the servers, name to value.
        password: of the default user; becomes part of the URL.
        tls: certificate files, with a server that was built with TLS; the URL is then ``rediss://``.
    """

    _noun = "local cluster"

    def __init__(
        self,
        primaries: int = 3,
        replicas: int = 1,
        *,
        dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the name of the command's option
        port: int | None = None,
        server: str | os.PathLike[str] | None = None,
        node_timeout_ms: int = 1000,
        start: Start = "ghost",
        options: Options | None = None,
        password: str | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        check_counts(primaries, replicas)
        if start not in ("ghost", "meet"):
            raise InvalidValueError(f"start is {start!r}: give 'ghost' or 'meet'.")
        if node_timeout_ms < 100:
            raise InvalidValueError(f"node_timeout_ms is {node_timeout_ms}: give 100 or more milliseconds.")
        super().__init__(
            server, port, cluster_options(node_timeout_ms, persistent=False), options, password, tls
        )
        if password is not None:
            self._options |= {"masterauth": password}
        self.primaries = primaries
        self.replicas = replicas
        self.nodes: list[Node] = []
        self._dir = None if dir is None else Path(dir).absolute()
        self._start = start

    def _count(self) -> int:
        return self.primaries * (1 + self.replicas)

    def _servers(self) -> list[Server]:
        return list(self.nodes)

    def _launch(self, watchdog: Watchdog, ports: list[int], tls_ports: list[int | None]) -> None:
        self.nodes = [
            Node(
                self.binary,
                self._home / str(port),
                port,
                self._options_of(port, tls_port),
                index=index,
                follows=None if index < self.primaries else index % self.primaries,
                tls_port=tls_port,
                password=self._password,
            )
            for index, (port, tls_port) in enumerate(zip(ports, tls_ports, strict=True))
        ]
        form(self.nodes, watchdog, start=self._start)

    @property
    def _temporary(self) -> bool:
        return self._dir is None

    def _make_home(self) -> Path:
        if self._dir is None:
            return super()._make_home()
        try:
            self._dir.mkdir(parents=True, exist_ok=True)
            occupied = any(self._dir.iterdir())
        except OSError as error:
            raise LocalClusterError(
                f"the directory {self._dir} cannot be used ({error.strerror}): choose one that you may write."
            ) from error
        if occupied:
            raise LocalClusterError(f"the directory {self._dir} is not empty: choose an empty one.")
        return self._dir

    def _options_of(self, port: int, tls_port: int | None) -> dict[str, OptionValue]:
        options = {"cluster-port": port + BUS_OFFSET} | self._options
        if self._tls is None or tls_port is None:
            return options
        return options | self._tls.options(tls_port) | {"tls-cluster": "yes", "tls-replication": "yes"}

    def primary_of(self, slot: int) -> Node:
        """The node that serves a slot now, in the eyes of the running nodes.

        Raises:
            LocalClusterError: nobody serves it.
        """
        for observer in self.nodes:
            if observer.alive:
                rows = observer.rows()
                for row in rows:
                    serves = any(first <= slot <= last for first, last in row.ranges)
                    if serves and "fail" not in row.flags:
                        return self._by_port(row.port)
        raise LocalClusterError(f"nobody serves slot {slot}.")

    def replicas_of(self, primary: Node) -> list[Node]:
        """The running replicas of a primary, as it knows them."""
        rows = primary.rows()
        own = next(row.id for row in rows if "myself" in row.flags)
        found = [self._by_port(row.port) for row in rows if row.primary_id == own]
        return [node for node in found if node.alive]

    def replica_of(self, primary: Node) -> Node:
        """The first running replica of a primary.

        Raises:
            LocalClusterError: it has none.
        """
        for node in self.replicas_of(primary):
            return node
        raise LocalClusterError(f"the primary on port {primary.port} has no running replica.")

    def _by_port(self, port: int) -> Node:
        # Asked without TLS, a server tells the ports without TLS once it has learned them.
        return next(node for node in self.nodes if port in (node.port, node.tls_port))

    def healthy(self) -> bool:
        """Whether the running nodes are one healthy cluster, see :meth:`wait_healthy`."""
        return complaint([node for node in self.nodes if node.alive]) is None

    def wait_healthy(self, timeout: float = 15.0) -> None:
        """Wait until the running nodes cover all slots, agree about it, and have their replicas synced.

        Raises:
            LocalClusterError: not within ``timeout`` seconds; the message says what is missing.
        """
        wait_healthy([node for node in self.nodes if node.alive], time.monotonic() + timeout)

    def kill(self, node: Node) -> None:
        """SIGKILL; returns when the process is gone. Its data goes with it: nothing is kept on disk."""
        node.kill(self._watchdog)

    def pause(self, node: Node) -> None:
        """SIGSTOP: the node keeps its connections and answers nobody."""
        node.pause()

    def resume(self, node: Node) -> None:
        """SIGCONT after :meth:`pause`."""
        node.resume()

    def restart(self, node: Node, timeout: float = 15.0) -> None:
        """Start a node again, killing it first if it runs; returns when it answers, empty.

        A primary waits two seconds more before it serves; see :meth:`wait_healthy`.

        Raises:
            LocalClusterError: it did not start.
        """
        assert self._watchdog is not None, "start comes first"
        self.kill(node)
        node.launch(self._watchdog)
        node.wait_ready(time.monotonic() + timeout)

    def flush_all(self) -> None:
        """FLUSHALL on every primary that runs."""
        self._on_primaries("FLUSHALL")

    def flush_scripts(self) -> None:
        """SCRIPT FLUSH on every primary that runs."""
        self._on_primaries("SCRIPT", "FLUSH")

    def _on_primaries(self, *words: str) -> None:
        for node in self.nodes:
            if node.alive:
                with node.admin() as admin:
                    if admin.call("ROLE")[0] == "master":
                        admin.call(*words)

    def failover(self, replica: Node, timeout: float = 15.0) -> None:
        """Let a replica take over from its living primary without loss; returns when it has.

        Raises:
            LocalClusterError: it did not within ``timeout`` seconds.
        """
        replica.call("CLUSTER", "FAILOVER")
        deadline = time.monotonic() + timeout
        while replica.role != "primary":
            if time.monotonic() > deadline:
                raise LocalClusterError(f"the replica on port {replica.port} did not take over in time.")
            time.sleep(0.005)

    def migrate_slot(self, slot: int, target: Node) -> None:
        """Move a slot with its keys to another primary, by SETSLOT and MIGRATE."""
        with self.migrating(slot, target):
            pass

    @contextmanager
    def migrating(self, slot: int, target: Node, moved: float = 0.0) -> Iterator[None]:
        """Hold a slot half migrated for the length of the block, then finish the migration.

        Inside, the source answers ASK for keys that are not there (any more).

        Args:
            slot: which one.
            target: a primary that does not serve it.
            moved: share of the slot's keys, 0.0 to 1.0, that is moved before the block.
        """
        self._agree()
        source = self.primary_of(slot)
        if source is target:
            raise InvalidValueError(f"slot {slot} is on port {target.port} already: choose another target.")
        with connected([source, target]) as ((_, giver), (_, taker)):
            ids = {node: admin.call("CLUSTER", "MYID") for node, admin in ((source, giver), (target, taker))}
            taker.call("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
            giver.call("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
            self._move_keys(
                giver, slot, target, round(moved * giver.call("CLUSTER", "COUNTKEYSINSLOT", slot))
            )
        try:
            yield
        finally:
            with connected([source, target]) as ((_, giver), (_, taker)):
                while left := giver.call("CLUSTER", "COUNTKEYSINSLOT", slot):
                    self._move_keys(giver, slot, target, left)
                for admin in (taker, giver):
                    admin.call("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
            self._agree()

    def _agree(self, timeout: float = 15.0) -> None:
        """Wait until all nodes have heard of the last move.

        A node that takes a slot before that gives itself an epoch which another has already, and then both own it.
        """
        self.wait_healthy(timeout)
        deadline = time.monotonic() + timeout
        while len({self._epoch(node) for node in self.nodes if node.alive}) > 1:
            if time.monotonic() > deadline:
                raise LocalClusterError("the nodes did not agree on an epoch in time.")
            time.sleep(0.005)

    @staticmethod
    def _epoch(node: Node) -> str:
        text = str(node.call("CLUSTER", "INFO"))
        return next(line for line in text.split() if line.startswith("cluster_current_epoch"))

    def _move_keys(self, giver: Admin, slot: int, target: Node, count: int) -> None:
        if not count:
            return
        keys = giver.call("CLUSTER", "GETKEYSINSLOT", slot, count)
        login = () if self._password is None else ("AUTH", self._password)
        giver.call("MIGRATE", target.host, target.client_port, "", 0, 5000, *login, "KEYS", *keys)


def cluster_options(node_timeout_ms: int, *, persistent: bool) -> dict[str, OptionValue]:
    """What the nodes of a local cluster have in common."""
    return plain_options(persistent=persistent) | {
        "cluster-enabled": "yes",
        "cluster-config-file": "nodes.conf",
        "cluster-node-timeout": node_timeout_ms,
        "cluster-announce-ip": "127.0.0.1",
        # Else a replica may leave its primary for one that has lost its own, and nobody knows where it is.
        "cluster-allow-replica-migration": "no",
    }


def check_counts(primaries: int, replicas: int) -> None:
    """Refuse cluster sizes that make no sense on one machine.

    Raises:
        InvalidValueError: naming the number.
    """
    if not 1 <= primaries <= 100:
        raise InvalidValueError(f"{primaries} primaries are asked for: give 1 to 100.")
    if not 0 <= replicas <= 5:
        raise InvalidValueError(f"{replicas} replicas of each primary are asked for: give 0 to 5.")
