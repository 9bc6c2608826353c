"""Forms a cluster out of servers that have not run yet.

Two ways. The usual one, CLUSTER MEET, cannot beat two seconds: a primary that has just booted refuses to
serve for that long, lest it be an old primary back from a partition. The quick one, a third of a second, lets
each primary boot as the replica of a made-up node, the ghost, that owns its slots: a replica need not wait.
Then it takes over from the ghost, forgets it, and meets the others. This leans on the format of nodes.conf,
which has been the same from Redis 6.2 to Valkey 9.1; should it ever fail, the usual way is there.
"""

from __future__ import annotations

import itertools
import secrets
import shutil
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from sharedstate.errors import LocalClusterError

from .admin import Admin, ReplyError, parse_info
from .node import SLOTS, Node, connected, wait_healthy
from .server import PortTakenError

if TYPE_CHECKING:
    from .process import Watchdog

__all__ = ["Start", "form", "slot_ranges"]

Start = Literal["ghost", "meet"]

# Longer than any start that works, and short enough not to matter much when the usual way must follow.
_GHOST_SECONDS = 6.0
_MEET_SECONDS = 30.0

# An address where nobody is: told to the nodes in place of the real one until all have taken over, so that
# none hears from another that it still is a replica.
_NOWHERE = "127.0.0.1:1@2"


def form(
    nodes: Sequence[Node], watchdog: Watchdog, *, start: Start = "ghost", detached: bool = False
) -> None:
    """Start the nodes and make them one healthy cluster.

    Args:
        nodes: primaries first; their directories hold no data.
        watchdog: starts the processes and minds them.
        start: ``ghost`` for the quick way, with the usual one as fallback, or ``meet`` for the usual one.
        detached: the processes are to outlive this one.

    Raises:
        PortTakenError: a port was taken meanwhile.
        LocalClusterError: it did not work.
        In both cases nodes may still run.
    """
    for node in nodes:
        node.write_config()
    if start == "ghost":
        try:
            _form_by_ghost(nodes, watchdog, time.monotonic() + _GHOST_SECONDS, detached=detached)
        except PortTakenError:
            raise
        except LocalClusterError:
            for node in nodes:
                node.kill(watchdog)
                shutil.rmtree(node.directory, ignore_errors=True)
                node.write_config()
        else:
            return
    _form_by_meet(nodes, watchdog, time.monotonic() + _MEET_SECONDS, detached=detached)


def slot_ranges(count: int) -> list[tuple[int, int]]:
    """All slots in ``count`` even, contiguous, inclusive ranges."""
    edges = [SLOTS * i // count for i in range(count + 1)]
    return [(first, after - 1) for first, after in itertools.pairwise(edges)]


def _form_by_ghost(nodes: Sequence[Node], watchdog: Watchdog, deadline: float, *, detached: bool) -> None:
    primaries = [node for node in nodes if node.follows is None]
    replicas = [node for node in nodes if node.follows is not None]
    ranges = slot_ranges(len(primaries))
    ghosts = [secrets.token_hex(20) for _ in primaries]
    for node in nodes:
        node.id = secrets.token_hex(20)
    for node, ghost in zip(primaries, ghosts, strict=True):
        others = [
            _line(
                ghost if other is node else other.id, _NOWHERE, "master", epoch=other.index + 1, slots=slots
            )
            for other, slots in zip(primaries, ranges, strict=True)
        ]
        _write_nodes(node, ghost, others, epoch=len(primaries) + node.index)
        node.launch(watchdog, detached=detached)
    _settle(primaries, ghosts, deadline)
    known = [
        _line(node.id, _address(node), "master", epoch=len(primaries) + node.index + 1, slots=slots)
        for node, slots in zip(primaries, ranges, strict=True)
    ]
    for node in replicas:
        assert node.follows is not None
        _write_nodes(node, primaries[node.follows].id, known, epoch=2 * len(primaries))
        node.launch(watchdog, detached=detached)
    for node in replicas:
        node.wait_ready(deadline)
    _meet_all(nodes, replicas)
    wait_healthy(nodes, deadline)


def _form_by_meet(nodes: Sequence[Node], watchdog: Watchdog, deadline: float, *, detached: bool) -> None:
    for node in nodes:
        node.launch(watchdog, detached=detached)
    for node in nodes:
        node.wait_ready(deadline)
    primaries = [node for node in nodes if node.follows is None]
    ranges = slot_ranges(len(primaries))
    with connected(nodes) as links:
        try:
            for node, admin in links:
                node.id = str(admin.call("CLUSTER", "MYID"))
                admin.call("CLUSTER", "SET-CONFIG-EPOCH", node.index + 1)
                if node.follows is None:
                    admin.call("CLUSTER", "ADDSLOTSRANGE", *ranges[node.index])
            _meet_all(nodes, nodes)
            for node, admin in links:
                if node.follows is not None:
                    _replicate(admin, primaries[node.follows], deadline)
        except (OSError, ReplyError) as error:
            raise LocalClusterError(f"the local cluster could not be formed: {error}.") from error
    wait_healthy(nodes, deadline)


def _settle(primaries: Sequence[Node], ghosts: Sequence[str], deadline: float) -> None:
    """Let the primaries take over from their ghosts, then know each other."""
    for node in primaries:
        node.wait_ready(deadline)
    with connected(primaries) as links:
        try:
            for node, admin in links:
                # Taken over before its state is ok, a node would wait its two seconds after all.
                while parse_info(admin.call("CLUSTER", "INFO"))["cluster_state"] != "ok":
                    if time.monotonic() > deadline:
                        raise LocalClusterError(
                            f"the server on port {node.port} did not accept its nodes.conf."
                        )
                    time.sleep(0.002)
            for (_, admin), ghost in zip(links, ghosts, strict=True):
                admin.call("CLUSTER", "FAILOVER", "TAKEOVER")
                admin.call("CLUSTER", "FORGET", ghost)
        except (OSError, ReplyError) as error:
            raise LocalClusterError(f"the local cluster could not be formed quickly: {error}.") from error
    _meet_all(primaries, primaries)


def _meet_all(nodes: Sequence[Node], newcomers: Sequence[Node]) -> None:
    """Let each newcomer meet all that stand before it; waiting for gossip to spread would take longer."""
    with connected(newcomers) as links:
        for node, admin in links:
            for other in nodes[: node.index]:
                admin.call("CLUSTER", "MEET", other.host, other.client_port, other.bus_port)


def _replicate(admin: Admin, primary: Node, deadline: float) -> None:
    """Become a replica, as soon as the primary is known."""
    while True:
        try:
            admin.call("CLUSTER", "REPLICATE", primary.id)
        except ReplyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _address(node: Node) -> str:
    return f"{node.host}:{node.client_port}@{node.bus_port}"


def _line(name: str, address: str, flags: str, *, epoch: int, slots: tuple[int, int] | None = None) -> str:
    served = "" if slots is None else f" {slots[0]}-{slots[1]}"
    return f"{name} {address} {flags} - 0 0 {epoch} connected{served}"


def _write_nodes(node: Node, primary_id: str, others: Sequence[str], *, epoch: int) -> None:
    """Write nodes.conf for a node that boots as a replica.

    Each primary gets another current epoch, so that the takeovers get distinct ones.
    """
    myself = f"{node.id} {_address(node)} myself,slave {primary_id} 0 0 0 connected"
    lines = [myself, *others, f"vars currentEpoch {epoch} lastVoteEpoch 0"]
    (node.directory / "nodes.conf").write_text("\n".join(lines) + "\n", encoding="ascii")
