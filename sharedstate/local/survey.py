"""Looks at a long-lived cluster, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .admin import NodeRow, ReplyError, parse_nodes
from .node import Node, complaint

__all__ = ["ClusterStatus", "NodeStatus", "survey"]


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One server.

    Attributes:
        host: address.
        port: client port.
        state: ``running``, ``silent`` (the process is there but does not answer) or ``stopped``.
        role: ``primary`` or ``replica``; None when nobody could be asked.
        follows: port of the primary it follows, None for a primary.
        pid: None when stopped.
        slots: how many it serves.
        keys: how many it holds; None when it does not answer.
        memory: bytes in use; None when it does not answer.
    """

    host: str
    port: int
    state: Literal["running", "silent", "stopped"]
    role: Literal["primary", "replica"] | None
    follows: int | None
    pid: int | None
    slots: int
    keys: int | None
    memory: int | None


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The cluster.

    Attributes:
        directory: where it keeps its data.
        url: for ``sharedstate.connect`` and SHAREDSTATE_URL.
        server: name and version of the servers, empty when none answers.
        state: ``up`` (all servers run and agree), ``impaired`` or ``down`` (none runs).
        problem: what is wrong when impaired, else None.
        nodes: in order of their ports at creation.
    """

    directory: Path
    url: str
    server: str
    state: Literal["up", "impaired", "down"]
    problem: str | None
    nodes: tuple[NodeStatus, ...]


@dataclass(slots=True)
class _Answer:
    info: dict[str, str]
    keys: int
    rows: list[NodeRow]


def survey(directory: Path, nodes: Sequence[Node]) -> ClusterStatus:
    """Ask every server about itself and about the cluster. Up to six round trips each, 1 s at most."""
    answers = {node.port: answer for node in nodes if node.alive and (answer := _ask(node))}
    # A node that cannot be asked is described by one that can.
    rows: dict[int, NodeRow] = {}
    ports: dict[str, int] = {}
    for port, answer in answers.items():
        ports |= {row.id: row.port for row in answer.rows}
        for row in answer.rows:
            if "myself" in row.flags:
                rows[port] = row
            else:
                rows.setdefault(row.port, row)
    statuses = tuple(_describe(node, answers.get(node.port), rows.get(node.port), ports) for node in nodes)
    overall: Literal["up", "impaired", "down"] = "down"
    problem: str | None = None
    stopped = [status.port for status in statuses if status.state == "stopped"]
    if len(stopped) < len(nodes):
        problem = complaint(nodes, timeout=1.0)
        overall = "impaired" if problem else "up"
    info = next(iter(answers.values())).info if answers else {}
    name = info.get("server_name", "redis").title()
    version = info.get("valkey_version") or info.get("redis_version")
    return ClusterStatus(
        directory=directory,
        url="redis://" + ",".join(node.address for node in nodes),
        server=f"{name} {version}" if version else "",
        state=overall,
        problem=problem,
        nodes=statuses,
    )


def _ask(node: Node) -> _Answer | None:
    try:
        with node.admin(timeout=1.0) as admin:
            return _Answer(
                info=admin.info("server", "memory", "replication"),
                keys=int(admin.call("DBSIZE")),
                rows=parse_nodes(admin.call("CLUSTER", "NODES")),
            )
    except (OSError, ReplyError):
        return None


def _describe(node: Node, answer: _Answer | None, row: NodeRow | None, ports: dict[str, int]) -> NodeStatus:
    role: Literal["primary", "replica"] | None = None
    if row is not None:
        role = "primary" if row.is_primary else "replica"
    return NodeStatus(
        host=node.host,
        port=node.port,
        state="running" if answer else "silent" if node.alive else "stopped",
        role=role,
        follows=ports.get(row.primary_id) if row is not None and row.primary_id else None,
        pid=node.pid,
        slots=sum(last - first + 1 for first, last in row.ranges) if row is not None else 0,
        keys=answer.keys if answer else None,
        memory=int(answer.info["used_memory"]) if answer else None,
    )
