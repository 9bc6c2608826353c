"""What the audit commands print as text: the manual's forms, JSON and CSV. docs/console.md promises these shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .records import record_csv
from .text import printable

if TYPE_CHECKING:
    from sharedstate.audit.series import SeriesSpec

    from ..audit_report import AllRow, DomainRow, Top, WindowRow

__all__ = [
    "all_csv",
    "domain_csv",
    "domain_json",
    "domain_lines",
    "inbound_csv",
    "inbound_json",
    "inbound_lines",
    "series_csv",
    "series_json",
    "series_lines",
    "top_csv",
    "top_json",
    "top_lines",
]


def inbound_lines(rows: Iterable[WindowRow]) -> Iterator[str]:
    """``inbound_audit show ip``: a line for each type, window size and window."""
    for row in rows:
        for window, count in enumerate(row.counts):
            yield f"{printable(row.title)} {row.monitor.interval}/{window}: {count}"


def inbound_csv(key: str, rows: Iterable[WindowRow]) -> Iterator[str]:
    """The same, for programs."""
    records = (
        (row.series, key, row.monitor.interval, window, count)
        for row in rows
        for window, count in enumerate(row.counts)
    )
    return record_csv([("series", "key", "interval", "window", "count"), *records])


def inbound_json(key: str, node: str | None, rows: Iterable[WindowRow]) -> dict[str, Any]:
    """The same, for programs."""
    return {
        "key": key,
        "node": node,
        "series": [
            {
                "series": row.series,
                "interval": row.monitor.interval,
                "windows": row.counts,
                "total": sum(row.counts),
                "nodes": row.nodes,
            }
            for row in rows
        ],
    }


def all_csv(rows: Iterable[AllRow]) -> Iterator[str]:
    """``inbound_audit show all``."""
    yield "series,key,interval,window,count"
    yield from record_csv((row.series, row.key, row.interval, row.window, row.count) for row in rows)


def domain_lines(rows: Iterable[DomainRow]) -> Iterator[str]:
    """``outbound_audit show``: receptions, deliveries, mean delivery time, transient and permanent failures."""
    for row in rows:
        yield (
            f"{printable(row.domain)} {row.interval}/{row.window}: r: {row.receptions} d: {row.deliveries} "
            f"dt: {row.seconds:.2f} t: {row.transfails} f: {row.permfails}"
        )


_DOMAIN_COLUMNS = (
    "domain",
    "interval",
    "window",
    "receptions",
    "deliveries",
    "mean_seconds",
    "p95_seconds",
    "transfails",
    "permfails",
)


def _domain_values(row: DomainRow) -> tuple[Any, ...]:
    values = dataclasses.astuple(row)
    return (*values[:5], round(row.seconds, 6), round(row.slow, 6), *values[7:])


def domain_csv(rows: Iterable[DomainRow]) -> Iterator[str]:
    """The same, for programs."""
    yield ",".join(_DOMAIN_COLUMNS)
    yield from record_csv(map(_domain_values, rows))


def domain_json(node: str | None, rows: Iterable[DomainRow]) -> dict[str, Any]:
    """The same, for programs."""
    return {
        "node": node,
        "windows": [dict(zip(_DOMAIN_COLUMNS, _domain_values(row), strict=True)) for row in rows],
    }


def top_lines(rows: Iterable[Top]) -> Iterator[str]:
    """``audit top``: count, growth, network."""
    for row in rows:
        yield f"{row.count:>12} {row.growth:>+12}  {printable(row.key)}"


def top_csv(rows: Iterable[Top]) -> Iterator[str]:
    """The same, for programs."""
    records = ((row.key, row.count, row.before, row.growth) for row in rows)
    return record_csv([("key", "count", "before", "growth"), *records])


def top_json(series: str, node: str | None, rows: Iterable[Top], keys: int) -> dict[str, Any]:
    """The same, for programs; `keys` is how many there are in all."""
    return {
        "series": series,
        "node": node,
        "keys": keys,
        "top": [
            {"key": row.key, "count": row.count, "before": row.before, "growth": row.growth} for row in rows
        ],
    }


def series_lines(specs: Iterable[SeriesSpec]) -> Iterator[str]:
    """``audit list``."""
    for spec in specs:
        yield f"{printable(spec.name):>30} [{spec.type}, {' '.join(map(str, spec.monitors))}, {spec.replicate}]"


def series_csv(specs: Iterable[SeriesSpec]) -> Iterator[str]:
    """The same, for programs."""
    records = (
        (spec.name, spec.type, " ".join(map(str, spec.monitors)), spec.replicate, spec.shards)
        for spec in specs
    )
    return record_csv([("name", "type", "monitors", "replicate", "shards"), *records])


def series_json(specs: Iterable[SeriesSpec]) -> dict[str, Any]:
    """The same, for programs."""
    return {
        "series": [
            {
                "name": spec.name,
                "type": spec.type,
                "monitors": [str(monitor) for monitor in spec.monitors],
                "replicate": spec.replicate,
                "shards": spec.shards,
            }
            for spec in specs
        ]
    }
