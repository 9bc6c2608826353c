"""JSON and CSV: for programs. docs/console.md promises these shapes.

JSON escapes control characters by itself; CSV shows them as `printable` does.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .text import printable

if TYPE_CHECKING:
    from sharedstate.results import FleetInfo, Member
    from sharedstate.specs import ObjectSpec

    from ..report import Report, Row

__all__ = [
    "info_csv",
    "info_json",
    "member_csv",
    "member_json",
    "object_csv",
    "object_json",
    "pretty",
    "record_csv",
    "report_csv",
    "report_json",
]


def pretty(value: Any) -> str:
    """A JSON document to be read by people as well."""
    return json.dumps(value, indent=2)


def record_csv(records: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Lines of CSV (RFC 4180, but ended by a line feed alone)."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="")
    for record in records:
        writer.writerow([printable(cell) if isinstance(cell, str) else cell for cell in record])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def object_json(specs: Sequence[ObjectSpec]) -> dict[str, Any]:
    """``shared list``."""
    return {"objects": [_object(spec) for spec in specs]}


def object_csv(specs: Sequence[ObjectSpec]) -> Iterator[str]:
    """``shared list``."""
    columns = ("name", "class", "kind", "shards", "max_delay", "max_pending", "binding_group", "count_by")
    rows = [_object(spec) for spec in specs]
    return record_csv([columns, *([row[column] for column in columns] for row in rows)])


def _object(spec: ObjectSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "class": spec.cls,
        "kind": str(spec.kind),
        "shards": spec.shards,
        "max_delay": spec.max_delay,
        "max_pending": spec.max_pending,
        "binding_group": spec.binding_group,
        "count_by": str(spec.count_by),
    }


def report_json(report: Report, now: dt.datetime) -> Iterator[str]:
    """``shared show``: one JSON document, a row on each line; totals come last, being known last."""
    head = {
        "object": report.spec.name,
        "class": report.spec.cls,
        "kind": str(report.spec.kind),
        "view": report.label,
        "node": report.node,
        "time": _stamp(now),
        "nodes": list(report.nodes),
    }
    yield f'{json.dumps(head)[:-1]}, "rows": ['
    last: str | None = None
    for row in report.rows:
        if last is not None:
            yield f"{last},"
        last = json.dumps(_row(report, row))
    if last is not None:
        yield last
    tail: dict[str, Any] = {"matched": report.matched, "total": report.total}
    if report.nodes:
        tail["node_totals"] = dict(zip(report.nodes, report.node_totals, strict=True))
    yield f"], {json.dumps(tail)[1:]}"


def _row(report: Report, row: Row) -> dict[str, Any]:
    record: dict[str, Any] = {"item": row.item, "count": row.total}
    if report.nodes:
        record["nodes"] = dict(zip(report.nodes, row.nodes, strict=True))
    return record


def report_csv(report: Report) -> Iterator[str]:
    """``shared show``: item, count, and a column for each node."""
    yield from record_csv([("item", "count", *report.nodes)])
    yield from record_csv((row.item, row.total, *row.nodes) for row in report.rows)


def member_json(members: Iterable[Member]) -> dict[str, Any]:
    """``membership``."""
    return {"members": [_member(member) for member in members]}


def member_csv(members: Iterable[Member]) -> Iterator[str]:
    """``membership``; a member's groups are one cell, separated by blanks."""
    columns = ("private_name", "shared_name", "node", "type", "version", "address", "groups", "pid", "joined")
    yield from record_csv([columns])
    for member in members:
        record = _member(member) | {"groups": " ".join(member.groups)}
        yield from record_csv([[record[column] for column in columns]])


def _member(member: Member) -> dict[str, Any]:
    return {
        "private_name": member.private_name,
        "shared_name": member.shared_name,
        "node": None if member.role == "Manager" or not member.node else member.node,
        "type": member.role,
        "version": member.version,
        "address": member.address,
        "groups": list(member.groups),
        "pid": member.pid,
        "joined": _stamp(dt.datetime.fromtimestamp(member.joined, dt.UTC)),
    }


def info_json(info: FleetInfo, member: Member) -> dict[str, Any]:
    """``info``."""
    return {
        "node": member.node,
        "daemon": info.server_port,
        "private_name": member.private_name,
        "shared_name": member.shared_name,
        "control_group": info.control_group,
        "cluster_group": info.cluster,
        "leader": info.leader.node if info.leader else None,
        "logger_group": None,
        "topology": info.topology,
        "server": info.server,
        "primaries": list(info.primaries),
    }


def info_csv(info: FleetInfo, member: Member) -> Iterator[str]:
    """``info``; the primaries are one cell, separated by blanks."""
    record = info_json(info, member) | {"primaries": " ".join(info.primaries)}
    return record_csv([tuple(record), tuple(record.values())])


def _stamp(time: dt.datetime) -> str:
    return time.isoformat(timespec="seconds")
