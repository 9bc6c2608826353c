"""The local cluster, as lines, records and a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .records import record_csv
from .text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sharedstate.local.manager import UpResult
    from sharedstate.local.survey import ClusterStatus, NodeStatus

__all__ = ["down_line", "status_csv", "status_json", "status_lines", "status_table", "up_lines"]

_COLUMNS = ("host", "port", "role", "follows", "state", "pid", "slots", "keys", "memory")


def up_lines(result: UpResult) -> Iterator[str]:
    """``local up``: what was done, the URL, and what to try next."""
    status = result.status
    many = f"{len(status.nodes)} {_servers(len(status.nodes))}"
    where = printable(str(status.directory))
    if result.action == "created":
        yield f"Started a new cluster of {many} ({status.server}) in {where}."
    elif result.action == "started":
        yield f"Started the cluster of {many} ({status.server}) in {where}, with its data."
    elif result.action == "healed":
        yield f"Started {result.started} of {many} that did not run ({status.server}) in {where}."
    else:
        yield f"Already running: {many} ({status.server}) in {where}."
    yield ""
    yield f"    export SHAREDSTATE_URL={status.url}"
    yield ""
    yield "Then try `sharedstate-cli shared list`, and `sharedstate-cli local status` for the servers."
    yield "`sharedstate-cli local down` stops them and keeps the data."


def down_line(stopped: int, directory: str) -> str:
    """``local down``: what was done."""
    if not stopped:
        return f"Nothing to stop: no server of a local cluster runs in {printable(directory)}."
    return f"Stopped {stopped} {_servers(stopped)}; the data is kept in {printable(directory)}."


def status_lines(status: ClusterStatus) -> Iterator[str]:
    """``local status``, one server a line."""
    yield f"Cluster: {_summary(status)}"
    yield f"Directory: {printable(str(status.directory))}"
    yield f"Server: {status.server or '-'}"
    yield f"URL: {status.url}"
    for node in status.nodes:
        yield (
            f"{node.host}:{node.port} {_role(node)} {node.state} "
            f"pid {_shown(node.pid)} slots {node.slots} keys {_shown(node.keys)} memory {_shown(node.memory)}"
        )


def status_json(status: ClusterStatus) -> dict[str, Any]:
    """``local status``."""
    return dataclasses.asdict(status) | {"directory": str(status.directory)}


def status_csv(status: ClusterStatus) -> Iterator[str]:
    """``local status``, the servers only."""
    yield from record_csv([_COLUMNS])
    yield from record_csv([[getattr(node, column) for column in _COLUMNS] for node in status.nodes])


def status_table(status: ClusterStatus) -> RenderableType:
    """``local status``."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for heading in ("Server", "Role", "State"):
        table.add_column(heading, no_wrap=True)
    for heading in ("Pid", "Slots", "Keys", "Memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    for node in status.nodes:
        table.add_row(
            f"{node.host}:{node.port}",
            _role(node),
            Text(node.state, style="green" if node.state == "running" else "bold red"),
            _shown(node.pid),
            f"{node.slots:,}",
            "-" if node.keys is None else f"{node.keys:,}",
            "-" if node.memory is None else f"{node.memory / 2**20:.1f} MiB",
        )
    return Group(
        Text.assemble(
            "Local cluster ",
            (_summary(status), "bold green" if status.state == "up" else "bold red"),
            f", {status.server}" if status.server else "",
        ),
        Text(f"{printable(str(status.directory))}\n{status.url}"),
        table,
    )


def _summary(status: ClusterStatus) -> str:
    return f"{status.state}: {status.problem}" if status.problem else status.state


def _role(node: NodeStatus) -> str:
    return f"replica of {node.follows}" if node.role == "replica" and node.follows else node.role or "-"


def _servers(count: int) -> str:
    return "server" if count == 1 else "servers"


def _shown(value: int | None) -> str:
    return "-" if value is None else str(value)
