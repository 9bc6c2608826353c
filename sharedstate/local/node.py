"""A server as a node of a cluster, and what the nodes say about the cluster."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sharedstate.errors import LocalClusterError

from .admin import Admin, NodeRow, ReplyError, parse_info, parse_nodes
from .server import Options, Server

if TYPE_CHECKING:
    from .binary import ServerBinary

__all__ = ["SLOTS", "Node", "complaint", "connected", "wait_healthy"]

SLOTS = 16384


class Node(Server):
    """One server of a cluster.

    Args:
        index: position in the cluster, primaries first.
        follows: index of the primary whose replica it starts as, None for a primary.

    Other arguments are those of :class:`Server`.
    """

    def __init__(
        self,
        binary: ServerBinary,
        directory: Path,
        port: int,
        options: Options,
        *,
        index: int,
        follows: int | None = None,
        tls_port: int | None = None,
        password: str | None = None,
    ) -> None:
        super().__init__(binary, directory, port, options, tls_port=tls_port, password=password)
        self.index = index
        self.follows = follows
        self.id = ""
        self._role = "primary" if follows is None else "replica"

    @property
    def role(self) -> str:
        """``primary`` or ``replica`` as the server itself says; as last known while it does not answer.

        One round trip on a connection of its own.
        """
        try:
            with self.admin(timeout=1.0) as admin:
                self._role = "primary" if admin.info("replication")["role"] == "master" else "replica"
        except (OSError, ReplyError):
            pass
        return self._role

    def rows(self) -> list[NodeRow]:
        """The cluster in this node's view.

        Raises:
            OSError: the node does not answer.
        """
        with self.admin() as admin:
            return parse_nodes(admin.call("CLUSTER", "NODES"))


@contextmanager
def connected(nodes: Iterable[Node], timeout: float = 5.0) -> Iterator[list[tuple[Node, Admin]]]:
    """A connection to each of the nodes, closed at the end."""
    with ExitStack() as stack:
        yield [(node, stack.enter_context(node.admin(timeout))) for node in nodes]


def wait_healthy(nodes: Sequence[Node], deadline: float) -> None:
    """Wait until these nodes are one working cluster.

    That is: each reports state ok with all slots covered, all agree on who serves which slot, all links are
    up, and the replicas are synced and listed in CLUSTER SLOTS by everyone.

    Args:
        nodes: all must run.
        deadline: on the clock of :func:`time.monotonic`.

    Raises:
        LocalClusterError: it did not come about in time; the message says what was still missing.
    """
    while True:
        missing = complaint(nodes, max(0.2, deadline - time.monotonic()))
        if missing is None:
            return
        if time.monotonic() > deadline:
            raise LocalClusterError(f"the local cluster is not healthy in time: {missing}.")
        time.sleep(0.01)


def complaint(nodes: Sequence[Node], timeout: float = 5.0) -> str | None:
    """What keeps these nodes from being one healthy cluster, None when nothing does.

    Three round trips to each node, one more to each replica.
    """
    if not nodes:
        return "no server runs"
    ids: dict[str, Node] = {}
    views: list[tuple[Node, list[NodeRow], set[str]]] = []
    for node in nodes:
        if not node.alive:
            return f"the server on port {node.port} does not run"
        try:
            with node.admin(timeout) as admin:
                rows, listed, problem = _look(admin)
        except (OSError, ReplyError) as error:
            return f"port {node.port} does not answer ({error})"
        if problem:
            return f"port {node.port} reports {problem}"
        node.id = next(row.id for row in rows if "myself" in row.flags)
        ids[node.id] = node
        views.append((node, rows, listed))
    owners: set[tuple[tuple[str, tuple[tuple[int, int], ...]], ...]] = set()
    replicas: set[str] = set()
    for node, rows, _ in views:
        seen = {row.id for row in rows if row.connected and not row.flags & {"fail", "fail?", "noaddr"}}
        if lacking := [other.port for other in nodes if other.id not in seen]:
            return f"port {node.port} has no link to port {lacking[0]}"
        replicas |= {row.id for row in rows if "slave" in row.flags and row.id in ids}
        owners.add(tuple(sorted((row.id, row.ranges) for row in rows if row.ranges)))
    if len(owners) > 1:
        return "the nodes do not agree yet on who serves which slots"
    for node, _, listed in views:
        if unlisted := replicas - listed:
            return f"port {node.port} does not list the replica on port {ids[min(unlisted)].port} yet"
    return None


def _look(admin: Admin) -> tuple[list[NodeRow], set[str], str | None]:
    """A node's rows, the ids in its CLUSTER SLOTS, and its own problem if it has one."""
    state = parse_info(admin.call("CLUSTER", "INFO"))
    rows = parse_nodes(admin.call("CLUSTER", "NODES"))
    listed = {str(server[2]) for entry in admin.call("CLUSTER", "SLOTS") for server in entry[2:]}
    myself = next(row for row in rows if "myself" in row.flags)
    problem: str | None = None
    if state["cluster_state"] != "ok":
        problem = "cluster_state:fail"
    elif state["cluster_slots_ok"] != str(SLOTS):
        problem = f"{state['cluster_slots_ok']} of {SLOTS} slots covered"
    elif "slave" in myself.flags and admin.info("replication").get("master_link_status") != "up":
        problem = "that it is not synced with its primary"
    return rows, listed, problem
