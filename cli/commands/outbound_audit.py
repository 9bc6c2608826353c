"""``outbound_audit``: audit series of destination domains, in the reference's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sharedstate.names import canonical_domain

from ..audit_options import node_of, show
from ..complete import complete_view
from ..context import Environment, pass_environment
from ..lazy import Entry, LazyGroup
from ..options import connection_options, example, format_option

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..audit_report import DomainRow

__all__ = [
    "clear_all",
    "clear_domain",
    "clear_group",
    "outbound_audit",
    "show_all",
    "show_domain",
    "show_domains",
    "show_global",
    "show_group",
]


@click.command(
    "outbound_audit",
    cls=LazyGroup,
    entries={
        "show": Entry("outbound_audit:show_group", "Show a domain, all together, or each."),
        "clear": Entry("outbound_audit:clear_group", "Forget a domain, or everything."),
    },
    epilog=example(
        """
        $ sharedstate-cli outbound_audit show domain aol.com
        aol.com 300/0: r: 107 d: 111 dt: 8.20 t: 2 f: 0
        """
    ),
)
def outbound_audit() -> None:
    """Audit series of destination domains: deliveries, how long they took, and failures.

    r: messages accepted for it, d: deliveries, dt: mean delivery seconds, t: transient failures, f: permanent ones.
    """


@click.command(
    "show",
    cls=LazyGroup,
    entries={
        "domain": Entry("outbound_audit:show_domain", "Show one domain."),
        "global": Entry("outbound_audit:show_global", "Show all domains added up."),
        "domains": Entry("outbound_audit:show_domains", "List the domains that were counted."),
        "all": Entry("outbound_audit:show_all", "Show every domain."),
    },
    epilog=example(
        """
        $ sharedstate-cli outbound_audit show domains
        aol.com
        """
    ),
)
def show_group() -> None:
    """Show a domain, all of them together, or each."""


@click.command(
    "clear",
    cls=LazyGroup,
    entries={
        "domain": Entry("outbound_audit:clear_domain", "Take a domain out of every window."),
        "all": Entry("outbound_audit:clear_all", "Empty every window."),
    },
    epilog=example(
        """
        $ sharedstate-cli outbound_audit clear domain aol.com
        aol.com is cleared.
        """
    ),
)
def clear_group() -> None:
    """Forget a domain, or everything."""


@click.command(
    "domain",
    epilog=example(
        """
        $ sharedstate-cli outbound_audit show domain aol.com from relay-0-1
        aol.com 300/0: r: 107 d: 111 dt: 8.20 t: 2 f: 0
        """
    ),
)
@click.argument("domain")
@click.argument("view", metavar="[from NODE]", nargs=-1, shell_complete=complete_view)
@connection_options
@format_option
@pass_environment
def show_domain(environment: Environment, domain: str, view: tuple[str, ...]) -> None:
    """Show one domain, window by window; 0 is the current one."""
    _show(environment, [canonical_domain(domain)], node_of(view))


@click.command(
    "global",
    epilog=example(
        """
        $ sharedstate-cli outbound_audit show global
        global 300/0: r: 4107 d: 4011 dt: 3.10 t: 12 f: 5
        """
    ),
)
@click.argument("view", metavar="[from NODE]", nargs=-1, shell_complete=complete_view)
@connection_options
@format_option
@pass_environment
def show_global(environment: Environment, view: tuple[str, ...]) -> None:
    """Show all domains added up, window by window."""
    _show(environment, ["global"], node_of(view))


@click.command(
    "domains",
    epilog=example(
        """
        $ sharedstate-cli outbound_audit show domains
        aol.com
        example.org
        """
    ),
)
@click.argument("view", metavar="[from NODE]", nargs=-1, shell_complete=complete_view)
@connection_options
@format_option
@pass_environment
def show_domains(environment: Environment, view: tuple[str, ...]) -> None:
    """List the domains that were counted in any window."""
    from ..audit_report import domain_names
    from ..views.records import record_csv
    from ..views.text import printable

    with environment.observe() as observer:
        names = domain_names(observer.audit, node_of(view))

    def table() -> RenderableType:
        from rich.text import Text

        return Text("\n".join(map(printable, names)) or "Nothing to show: no domain was counted.")

    show(
        environment,
        table=table,
        plain=lambda: map(printable, names),
        json=lambda: {"domains": names},
        csv=lambda: record_csv([("domain",), *((name,) for name in names)]),
    )


@click.command(
    "all",
    epilog=example(
        """
        $ sharedstate-cli outbound_audit show all --format csv
        domain,interval,window,receptions,deliveries,mean_seconds,p95_seconds,transfails,permfails
        aol.com,300,0,107,111,8.2,21.317,2,0
        """
    ),
)
@click.argument("view", metavar="[from NODE]", nargs=-1, shell_complete=complete_view)
@connection_options
@format_option
@pass_environment
def show_all(environment: Environment, view: tuple[str, ...]) -> None:
    """Show every domain, window by window."""
    _show(environment, None, node_of(view))


def _show(environment: Environment, domains: list[str] | None, node: str | None) -> None:
    from ..audit_report import domain_names, domain_rows
    from ..views import audit as views

    with environment.observe() as observer:
        names = domain_names(observer.audit, node) if domains is None else domains
        rows: list[DomainRow] = list(domain_rows(observer.audit, names, node))

    def table() -> RenderableType:
        from ..views.audit_table import domain_table

        return domain_table(rows, node, ascii_only=environment.out.options.ascii_only)

    show(
        environment,
        table=table,
        plain=lambda: views.domain_lines(rows),
        json=lambda: views.domain_json(node, rows),
        csv=lambda: views.domain_csv(rows),
    )


@click.command(
    "domain",
    epilog=example(
        """
        $ sharedstate-cli outbound_audit clear domain aol.com
        aol.com is cleared.
        """
    ),
)
@click.argument("domain")
@connection_options
@pass_environment
def clear_domain(environment: Environment, domain: str) -> None:
    """Take a domain out of every window, of every node. The totals of all domains stay as they are."""
    from ..audit_report import outbound_series

    name = canonical_domain(domain)
    with environment.observe() as observer:
        for series in outbound_series(observer.audit):
            observer.audit.remove_item(series, name)
    environment.echo(f"{name} is cleared.")


@click.command(
    "all",
    epilog=example(
        """
        $ sharedstate-cli outbound_audit clear all
        5 series are cleared.
        """
    ),
)
@connection_options
@pass_environment
def clear_all(environment: Environment) -> None:
    """Empty every window of every outbound series, of every node."""
    from ..audit_report import outbound_series

    with environment.observe() as observer:
        names = outbound_series(observer.audit)
        for series in names:
            observer.audit.clear(series)
    environment.echo(f"{len(names)} series are cleared.")
