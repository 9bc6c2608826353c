"""``throttle list [PATTERN]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from ..complete import complete_throttle
from ..context import Environment, pass_environment
from ..options import connection_options, example, format_option
from ..throttles import SORTS, Summary, choose, summarize

if TYPE_CHECKING:
    from sharedstate.objects.throttle import BucketView

__all__ = ["throttle_list", "warn_of_none"]


@click.command(
    "list",
    epilog=example(
        """
        $ sharedstate-cli throttle list --top 2 --format csv
        name,spec,limit,period,burst,by_hand,left,used,leased,reset_after,holders,processes,taken,refused
        tenant:7,30/min,30,60.0,30,false,0,1.0,0,59.2,0,2,30,12
        domain:yahoo.com,1000/hr,1000,3600.0,1000,true,853,0.147,80,241.2,2,3,73,3
        """
    ),
)
@click.argument("pattern", metavar="[PATTERN]", required=False, shell_complete=complete_throttle)
@click.option(
    "--top", type=click.IntRange(min=1), metavar="N", help="Only N: the most used, or most refusing."
)
@click.option(
    "--sort",
    type=click.Choice(SORTS),
    help="Order of rows; used, refused: highest first.  [default: used with --top, else name]",
)
@connection_options
@format_option
@pass_environment
def throttle_list(environment: Environment, pattern: str | None, top: int | None, sort: str | None) -> None:
    """List the throttles that were in use lately, all or those like PATTERN.

    Left: tokens in the bucket. Used: share of the capacity that is spent or leased out. Leased: tokens that
    members hold and have not spent as far as is known. Holders: processes that hold them. Processes: those that
    took any of it in the last day. Refused: checks they refused.
    """
    with environment.observe() as observer:
        views: Mapping[str, BucketView] = observer.throttles(pattern)
    found = summarize(views)
    if not found:
        warn_of_none(environment, pattern)
    if environment.format == "table":
        from ..views.table import ROW_LIMIT
        from ..views.throttle_table import list_table

        if found:
            options = environment.out.options
            environment.out.print(
                list_table(
                    choose(found, sort=sort or ("used" if top else "name"), top=top or ROW_LIMIT),
                    matched=len(found),
                    width=options.max_width,
                    now=environment.now,
                    ascii_only=options.ascii_only,
                )
            )
        return
    _write(environment, choose(found, sort=sort or ("used" if top else "name"), top=top), len(found))


def _write(environment: Environment, chosen: Sequence[Summary], matched: int) -> None:
    if environment.format == "plain":
        from ..views.throttle_plain import list_lines

        environment.echo_lines(list_lines(chosen))
    elif environment.format == "json":
        from ..views.records import pretty
        from ..views.throttle_records import list_json

        environment.echo(pretty(list_json(chosen, matched=matched, now=environment.now)))
    else:
        from ..views.throttle_records import list_csv

        environment.echo_lines(list_csv(chosen))


def warn_of_none(environment: Environment, pattern: str | None) -> None:
    """Say that there is nothing to list, to people."""
    if environment.format in ("table", "plain"):
        if pattern is None:
            environment.warn("no throttle is in use.")
        else:
            from ..views.text import printable

            environment.warn(f"no throttle in use is like {printable(repr(pattern))}.")
