"""``throttle reset NAME...|--all``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from sharedstate.errors import UnknownThrottleError

from ..complete import complete_throttle
from ..context import Environment, pass_environment
from ..options import connection_options, example, format_option
from ..status import ExitStatus

if TYPE_CHECKING:
    from sharedstate.objects.throttle import BucketView
    from sharedstate.observer import Observer

__all__ = ["throttle_reset"]


@click.command(
    "reset",
    epilog=example(
        """
        $ sharedstate-cli throttle reset tenant:7 domain:yahoo.com
        tenant:7: 30 of 30 left.
        domain:yahoo.com: 1993 of 2000 left, 7 leased out.
        """
    ),
)
@click.argument("names", metavar="NAME...|--all", nargs=-1, shell_complete=complete_throttle)
@click.option("--all", "everything", is_flag=True, help="All throttles in use; asks first.")
@click.option("--yes", is_flag=True, help="With --all, do not ask.")
@connection_options
@format_option
@pass_environment
def throttle_reset(
    environment: Environment, names: tuple[str, ...], everything: bool, yes: bool
) -> ExitStatus:
    """Fill throttles: nothing counts as spent any more. What is leased out stays out.

    If one of the names is not known, nothing is reset.
    """
    if everything and names:
        raise click.UsageError(f"--all means every throttle: leave out {' '.join(names)!r}.")
    if not everything and not names:
        raise click.UsageError("which throttles? Name them, or say --all.")
    if everything and not yes and not environment.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on whether to reset all throttles: say --yes.")
    with environment.observe() as observer:
        if everything:
            wanted: Sequence[str] = list(observer.throttles())
            if not yes and wanted and not _confirmed(environment, len(wanted)):
                environment.warn("nothing was reset.")
                return ExitStatus.INTERRUPTED
        else:
            wanted = list(dict.fromkeys(names))
            for name in wanted:
                observer.throttle_view(name)
        filled = _fill(observer, wanted, everything=everything)
    if everything and not filled:
        from .throttle_list import warn_of_none

        warn_of_none(environment, None)
    _write(environment, filled)
    return ExitStatus.OK


def _confirmed(environment: Environment, count: int) -> bool:
    environment.stderr.write(f"Reset {count} throttle{'' if count == 1 else 's'}? [y/N] ")
    environment.stderr.flush()
    return environment.stdin.readline().strip().lower() in ("y", "yes")


def _fill(observer: Observer, names: Sequence[str], *, everything: bool) -> list[tuple[str, BucketView]]:
    filled: list[tuple[str, BucketView]] = []
    for name in names:
        try:
            filled.append((name, observer.reset_throttle(name)))
        except UnknownThrottleError:
            if not everything:
                raise
            # It went since it was listed, and so did what was spent of it.
    return filled


def _write(environment: Environment, filled: Sequence[tuple[str, BucketView]]) -> None:
    if environment.format == "table":
        if filled:
            from ..views.throttle_table import reset_table

            environment.out.print(reset_table(filled))
    elif environment.format == "plain":
        from ..views.throttle_plain import reset_lines

        environment.echo_lines(reset_lines(filled))
    else:
        from ..views.records import pretty
        from ..views.throttle_records import reset_json, table_csv

        records = reset_json(filled)
        if environment.format == "json":
            environment.echo(pretty({"throttles": records}))
        else:
            environment.echo_lines(table_csv(("name", "spec", "left", "leased"), records))
