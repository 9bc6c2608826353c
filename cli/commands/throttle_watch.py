"""``throttle watch [PATTERN|NAME] [SECONDS]``."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Protocol

import click

from ..complete import complete_throttle
from ..context import Environment, pass_environment
from ..options import connection_options, example, format_option
from ..throttles import SORTS, Summary, ThrottleReport, choose, report, summarize

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sharedstate.objects.throttle import BucketView
    from sharedstate.observer import Observer

__all__ = ["throttle_watch"]

_SECONDS = 2.0
_LEAST = 0.1

#: Lines of a picture that are no rows, and one for a notice.
_LIST_FRAME = 6
_SHOW_FRAME = 13


@click.command(
    "watch",
    epilog=example(
        """
        $ sharedstate-cli throttle watch domain:yahoo.com 5 --format json
        {"throttle": "domain:yahoo.com", …, "admitted_per_second": null, "refused_per_second": null, …}
        {"throttle": "domain:yahoo.com", …, "admitted_per_second": 0.4, "refused_per_second": 0.0, …}
        """
    ),
)
@click.argument("words", metavar="[PATTERN|NAME] [SECONDS]", nargs=-1, shell_complete=complete_throttle)
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
def throttle_watch(
    environment: Environment, words: tuple[str, ...], top: int | None, sort: str | None
) -> None:
    """Show throttles again every so many seconds, 2 if not said, with rates, until Ctrl-C.

    A PATTERN such as 'tenant:*' shows what list does, a NAME what show does; a lone number is SECONDS. Admitted/s and
    refused/s are what became known between two looks, so the first look has none: a lease's tokens count when
    its member asks for the next one.
    """
    what, seconds = _meant(words)
    if environment.format == "csv":
        raise click.UsageError("csv has one header only: watch with --format json, a document per line.")
    one = what is not None and not any(sign in what for sign in "*?[")
    if one and (top or sort):
        raise click.UsageError("one throttle's nodes come in one order: leave out --top and --sort.")
    with environment.observe() as observer:
        watched: _Watched = (
            _One(environment, observer, what)
            if what is not None and one
            else _Many(environment, observer, what, sort or ("used" if top else "name"), top)
        )
        _run(environment, seconds, watched)


def _meant(words: tuple[str, ...]) -> tuple[str | None, float]:
    """What to watch and how often."""
    if len(words) > 2:
        raise click.UsageError(f"a pattern or name and a number of seconds are all, not {' '.join(words)!r}.")
    if len(words) == 2:
        seconds = _number(words[1])
        if seconds is None:
            raise click.UsageError(f"after the pattern or name comes a number of seconds, not {words[1]!r}.")
        return words[0], _long_enough(seconds)
    seconds = _number(words[0]) if words else _SECONDS
    return (words[0], _SECONDS) if seconds is None else (None, _long_enough(seconds))


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]+(\.[0-9]*)?", text, re.ASCII) else None


def _long_enough(seconds: float) -> float:
    if not _LEAST <= seconds <= 86_400:
        raise click.UsageError(f"{seconds:g} is not a number of seconds to wait: give {_LEAST} to 86400.")
    return seconds


class _Watched(Protocol):
    """What is looked at again and again; each look is compared with the one before."""

    def picture(self, height: int | None) -> RenderableType: ...

    def lines(self) -> list[str]: ...

    def document(self) -> object: ...


class _Many:
    def __init__(
        self, environment: Environment, observer: Observer, pattern: str | None, sort: str, top: int | None
    ) -> None:
        self._environment = environment
        self._observer = observer
        self._pattern = pattern
        self._sort = sort
        self._top = top
        self._before: dict[str, BucketView] | None = None

    def _look(self) -> list[Summary]:
        views = self._observer.throttles(self._pattern)
        found = summarize(views, self._before)
        self._before = views
        return found

    def picture(self, height: int | None) -> RenderableType:
        from ..views.table import ROW_LIMIT
        from ..views.throttle_table import list_table

        rows = ROW_LIMIT if height is None else max(1, height - _LIST_FRAME)
        found = self._look()
        options = self._environment.out.options
        return list_table(
            choose(found, sort=self._sort, top=min(rows, self._top or rows)),
            matched=len(found),
            width=options.max_width,
            now=self._environment.now,
            rates=True,
            ascii_only=options.ascii_only,
        )

    def lines(self) -> list[str]:
        from ..views.throttle_plain import list_lines

        return list(list_lines(choose(self._look(), sort=self._sort, top=self._top), rates=True))

    def document(self) -> object:
        from ..views.throttle_records import list_json

        found = self._look()
        chosen = choose(found, sort=self._sort, top=self._top)
        return list_json(chosen, matched=len(found), now=self._environment.now, rates=True)


class _One:
    def __init__(self, environment: Environment, observer: Observer, name: str) -> None:
        self._environment = environment
        self._observer = observer
        self._name = name
        self._before: BucketView | None = None

    def _look(self) -> ThrottleReport:
        view = self._observer.throttle_view(self._name)
        found = report(self._name, view, self._before)
        self._before = view
        return found

    def picture(self, height: int | None) -> RenderableType:
        from ..views.throttle_table import report_table

        options = self._environment.out.options
        return report_table(
            self._look(),
            width=options.max_width,
            now=self._environment.now,
            rates=True,
            most=None if height is None else max(1, height - _SHOW_FRAME),
            ascii_only=options.ascii_only,
        )

    def lines(self) -> list[str]:
        from ..views.throttle_plain import report_lines

        return list(report_lines(self._look(), rates=True))

    def document(self) -> object:
        from ..views.throttle_records import report_json

        return report_json(self._look(), now=self._environment.now, rates=True)


def _run(environment: Environment, seconds: float, watched: _Watched) -> None:
    from ..watch import watch_lines, watch_screen

    def again() -> None:
        if environment.format == "json":
            environment.echo(json.dumps(watched.document()))
        elif environment.format == "plain":
            environment.echo_lines([*watched.lines(), ""])
        else:
            environment.out.print(watched.picture(None))
            environment.echo()

    if environment.format == "table" and environment.tty:
        watch_screen(environment, seconds, watched.picture)
    else:
        watch_lines(environment, seconds, again)
