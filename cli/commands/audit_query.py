"""``audit query``: questions about exported files."""

from __future__ import annotations

import datetime as dt
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sharedstate.errors import InvalidValueError

from ..audit_options import show
from ..context import Environment, pass_environment
from ..options import example, format_option

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["query"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@click.command(
    "query",
    epilog=example(
        """
        $ sharedstate-cli audit query --dir /var/lib/audit --series spam --series virus --since 7d --mask 24 --limit 2
             1284112  192.0.2.0/24
               99120  198.51.100.0/24
        """
    ),
)
@click.option("--dir", "folder", required=True, type=click.Path(file_okay=False), help="Where the files are.")
@click.option(
    "--series", multiple=True, metavar="RE", help="Series whose whole name matches; again for a union."
)
@click.option("--block", metavar="IP/MASK", help="Only addresses in this block.")
@click.option(
    "--since",
    metavar="TIME",
    help="Only windows that end after: 2026-01-05, 2026-01-05T14:00 (UTC), 90m, 24h, 7d.",
)
@click.option("--until", metavar="TIME", help="Only windows that begin before.")
@click.option("--seconds", type=click.IntRange(min=1), help="Only windows of this length.")
@click.option("--node", metavar="NODE", help="Files of one node.  [default: those of all together]")
@click.option("--mask", type=int, metavar="BITS", help="Add addresses up to networks of this length.")
@click.option("--by-series", is_flag=True, help="A row for each series, instead of their union.")
@click.option(
    "--order",
    type=click.Choice(["count", "key", "start"]),
    default="count",
    show_default=True,
    help="Largest first, by name, or window by window.",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many rows.")
@click.option("--threshold", type=int, metavar="N", help="Only rows that count at least N.")
@format_option
@pass_environment
def query(
    environment: Environment,
    folder: str,
    series: tuple[str, ...],
    block: str | None,
    since: str | None,
    until: str | None,
    seconds: int | None,
    node: str | None,
    mask: int | None,
    by_series: bool,
    order: str,
    limit: int | None,
    threshold: int | None,
) -> None:
    """Ask the files of audit export: which addresses or networks did most, in which series, since when.

    Reads csv, jsonl and parquet, compressed or not, mixed as they are. Redis is not asked. Plain output has the count,
    then what it is of.
    """
    from sharedstate.exports.query import FileQuery
    from sharedstate.exports.query import query as ask

    now = time.time()
    answer = ask(
        Path(folder),
        FileQuery(
            series=series,
            block=block,
            since=None if since is None else moment(since, now),
            until=None if until is None else moment(until, now),
            seconds=seconds,
            node=node,
            mask=mask,
            by_series=by_series,
            order=order,
            limit=limit,
            threshold=threshold,
        ),
    )
    from ..views.records import record_csv
    from ..views.text import printable

    def shown(row: tuple[Any, ...]) -> list[str]:
        """A row's cells as text, its moment as one."""
        return [
            dt.datetime.fromtimestamp(value, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            if name == "start"
            else str(value)
            for name, value in zip(answer.columns, row, strict=True)
        ]

    def table() -> RenderableType:
        from ..views.audit_table import answer_table

        return answer_table(answer.columns, map(shown, answer.rows), answer.files)

    show(
        environment,
        table=table,
        plain=lambda: (f"{row[-1]:>12}  {printable(' '.join(shown(row)[:-1]))}" for row in answer.rows),
        json=lambda: {
            "files": answer.files,
            "rows": [dict(zip(answer.columns, row, strict=True)) for row in answer.rows],
        },
        csv=lambda: record_csv([answer.columns, *answer.rows]),
    )


def moment(text: str, now: float) -> float:
    """A moment, seconds since the epoch: a date, a date and time (UTC unless it says otherwise), or how long ago.

    Raises:
        InvalidValueError: it is none.
    """
    match = re.fullmatch(r"(\d+)([smhdw])", text)
    if match:
        return now - int(match[1]) * _UNITS[match[2]]
    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidValueError(
            f"{text!r} is no moment: give a date such as 2026-01-05, a time such as 2026-01-05T14:00, "
            "or how long ago, such as 24h or 7d."
        ) from error
    return (when if when.tzinfo else when.replace(tzinfo=dt.UTC)).timestamp()
