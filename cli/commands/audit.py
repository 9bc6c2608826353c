"""``audit``: any audit series, whoever feeds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..audit_options import complete_series, node_of, show
from ..complete import complete_view
from ..context import Environment, pass_environment
from ..lazy import Entry, LazyGroup
from ..options import connection_options, example, format_option

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["audit", "list_series", "top"]


@click.command(
    "audit",
    cls=LazyGroup,
    entries={
        "list": Entry("audit:list_series", "List the audit series of the fleet."),
        "top": Entry("audit:top", "Rank the networks, addresses or texts of a series."),
        "export": Entry("audit_export:export", "Write closed windows to files, each once; for cron."),
        "prune": Entry("audit_prune:prune", "Compress and remove old export files."),
        "query": Entry("audit_query:query", "Ask exported files."),
    },
    epilog=example(
        """
        $ sharedstate-cli audit top spam --mask 24 --limit 2
                 412         +380  192.0.2.0/24
                  31          -12  198.51.100.0/24
        """
    ),
)
def audit() -> None:
    """Audit series: how often anything happened, in sliding windows."""


@click.command(
    "list",
    epilog=example(
        """
        $ sharedstate-cli audit list
                               connect [cidr_any, 300,6, cluster]
                                  spam [cidr, 300,6 1800,4, cluster]
        """
    ),
)
@connection_options
@format_option
@pass_environment
def list_series(environment: Environment) -> None:
    """List the audit series of the fleet: type of the keys, windows, and who sees them."""
    from ..views import audit as views

    with environment.observe() as observer:
        specs = observer.audit.series()
    if not specs and environment.format in ("table", "plain"):
        environment.warn("no member has defined an audit series yet.")

    def table() -> RenderableType:
        from ..views.audit_table import series_table

        return series_table(specs)

    show(
        environment,
        table=table,
        plain=lambda: views.series_lines(specs),
        json=lambda: views.series_json(specs),
        csv=lambda: views.series_csv(specs),
    )


@click.command(
    "top",
    epilog=example(
        """
        $ sharedstate-cli audit top spam --mask 24 --by growth --limit 1
                 412         +380  192.0.2.0/24
        """
    ),
)
@click.argument("series", shell_complete=complete_series)
@click.argument("view", metavar="[from NODE]", nargs=-1, shell_complete=complete_view)
@click.option(
    "--mask", type=int, metavar="BITS", help="Add up networks of this length.  [default: addresses]"
)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@click.option(
    "--by",
    type=click.Choice(["count", "growth"]),
    default="count",
    show_default=True,
    help="Rank by the count, or by how much it grew over as many windows before.",
)
@click.option("--start", type=click.IntRange(min=0), default=0, show_default=True, help="The newest window.")
@click.option("--end", type=click.IntRange(min=0), help="The oldest window.  [default: the newest]")
@click.option("--monitor", metavar="SECONDS,WINDOWS", help="Which windows.  [default: the series' first]")
@connection_options
@format_option
@pass_environment
def top(
    environment: Environment,
    series: str,
    view: tuple[str, ...],
    mask: int | None,
    limit: int,
    by: str,
    start: int,
    end: int | None,
    monitor: str | None,
) -> None:
    """Rank what a series counted: single keys, or networks of addresses.

    Plain output has count, growth and key. The windows are read whole, in pages.
    """
    from sharedstate.audit.reading import Question

    from ..audit_report import top_networks
    from ..views import audit as views

    node = node_of(view)
    with environment.observe() as observer:
        windows = Question(series, "", start, end).windows(observer.audit.spec(series).monitor(monitor))
        rows, keys = top_networks(
            observer.audit,
            series,
            mask=mask,
            limit=limit,
            growth=by == "growth",
            windows=windows,
            monitor=monitor,
            node=node,
        )

    def table() -> RenderableType:
        from ..views.audit_table import top_table

        return top_table(series, node, rows, keys)

    show(
        environment,
        table=table,
        plain=lambda: views.top_lines(rows),
        json=lambda: views.top_json(series, node, rows, keys),
        csv=lambda: views.top_csv(rows),
    )
