"""JSON and CSV of the ``throttle`` commands; docs/console.md promises these shapes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .records import record_csv

if TYPE_CHECKING:
    from sharedstate.objects.throttle import BucketView
    from sharedstate.throttle.decision import Decision

    from ..throttles import Pace, Part, Summary, ThrottleReport

__all__ = [
    "change_record",
    "decision_record",
    "list_csv",
    "list_json",
    "report_csv",
    "report_json",
    "reset_json",
    "single_csv",
    "table_csv",
]


def list_json(
    summaries: Sequence[Summary], *, matched: int, now: dt.datetime, rates: bool = False
) -> dict[str, Any]:
    """``throttle list``."""
    return {
        "time": now.isoformat(timespec="seconds"),
        "throttles": [_summary(summary, rates=rates) for summary in summaries],
        "matched": matched,
    }


def list_csv(summaries: Sequence[Summary]) -> Iterator[str]:
    """``throttle list``."""
    return table_csv(_LISTED, [_summary(summary) for summary in summaries])


def _summary(summary: Summary, *, rates: bool = False) -> dict[str, Any]:
    view = summary.view
    return {
        "name": summary.name,
        **_bucket(summary),
        "holders": summary.holders,
        "processes": summary.processes,
        "taken": view.taken,
        "refused": view.refused,
        **(_pace(summary.pace) if rates else {}),
    }


def _bucket(summary: Summary) -> dict[str, Any]:
    view = summary.view
    return {
        "spec": str(view.spec),
        "limit": view.spec.limit,
        "period": view.spec.period / 1e6,
        "burst": view.spec.burst,
        "by_hand": view.by_hand,
        "left": view.left,
        "used": round(summary.used, 6),
        "leased": view.leased,
        "reset_after": view.reset_after,
    }


_LISTED = (
    "name",
    "spec",
    "limit",
    "period",
    "burst",
    "by_hand",
    "left",
    "used",
    "leased",
    "reset_after",
    "holders",
    "processes",
    "taken",
    "refused",
)


def report_json(report: ThrottleReport, *, now: dt.datetime, rates: bool = False) -> dict[str, Any]:
    """``throttle show``: the bucket, and ``nodes`` or ``processes``."""
    return {
        "throttle": report.summary.name,
        "node": report.node,
        "time": now.isoformat(timespec="seconds"),
        **_bucket(report.summary),
        "taken": report.taken,
        "refused": report.refused,
        **(_pace(report.pace) if rates else {}),
        "processes" if report.by_process else "nodes": [
            _part(part, by_process=report.by_process, rates=rates) for part in report.parts
        ],
    }


def report_csv(report: ThrottleReport) -> Iterator[str]:
    """``throttle show``: a row for each node or process."""
    who = ("process", "node") if report.by_process else ("node", "processes")
    columns = (*who, "taken", "held", "lease_left", "refused", "idle")
    return table_csv(columns, [_part(part, by_process=report.by_process) for part in report.parts])


def _part(part: Part, *, by_process: bool, rates: bool = False) -> dict[str, Any]:
    return {
        **({"process": part.name} if by_process else {}),
        "node": part.node,
        **({} if by_process else {"processes": part.processes}),
        "taken": part.taken,
        "held": part.held,
        "lease_left": round(part.lease_left, 6),
        "refused": part.refused,
        "idle": round(part.idle, 3),
        **(_pace(part.pace) if rates else {}),
    }


def _pace(pace: Pace | None) -> dict[str, Any]:
    return {
        "admitted_per_second": None if pace is None else round(pace.admitted, 3),
        "refused_per_second": None if pace is None else round(pace.refused, 3),
    }


def decision_record(decision: Decision) -> dict[str, Any]:
    """``throttle check``."""
    return {
        "throttle": decision.throttle,
        "allowed": decision.allowed,
        "limit": decision.limit,
        "remaining": decision.remaining,
        "retry_after": decision.retry_after,
        "reset_after": decision.reset_after,
        "decided_by": str(decision.decided_by),
    }


def change_record(name: str, before: BucketView | None, after: BucketView) -> dict[str, Any]:
    """``throttle set``."""
    return {
        "name": name,
        "before": str(before.spec) if before else None,
        "spec": str(after.spec),
        "left": after.left,
        "leased": after.leased,
    }


def reset_json(filled: Iterable[tuple[str, BucketView]]) -> list[dict[str, Any]]:
    """``throttle reset``."""
    return [
        {"name": name, "spec": str(view.spec), "left": view.left, "leased": view.leased}
        for name, view in filled
    ]


def single_csv(record: Mapping[str, Any]) -> Iterator[str]:
    """A record as headings and one row."""
    return table_csv(tuple(record), [record])


def table_csv(columns: Sequence[str], records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Headings, and a row for each record; truth values are ``true`` and ``false``, as in JSON."""
    rows = ([_cell(record[column]) for column in columns] for record in records)
    return record_csv([columns, *rows])


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
