"""``throttle check NAME [SPEC]``."""

from __future__ import annotations

import click

from ..complete import complete_throttle
from ..context import Environment, pass_environment
from ..options import connection_options, example, format_option, node_option
from ..status import ExitStatus

__all__ = ["throttle_check"]


@click.command(
    "check",
    epilog=example(
        """
        $ sharedstate-cli throttle check tenant:7 30/min || echo "status $?"
        Throttle: tenant:7
        Allowed: no
        Limit: 30
        Remaining: 0
        Retry After: 1.204310
        Reset After: 59.204310
        Decided By: redis
        status 11
        """
    ),
)
@click.argument("name", metavar="NAME", shell_complete=complete_throttle)
@click.argument("spec", metavar="[SPEC]", required=False)
@click.option(
    "--cost", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Tokens wanted."
)
@click.option("--peek", is_flag=True, help="Only look: take nothing, make nothing.")
@connection_options
@node_option
@format_option
@pass_environment
def throttle_check(
    environment: Environment, name: str, spec: str | None, cost: int, peek: bool
) -> ExitStatus:
    """Take tokens of a throttle if they are there, and say what was decided.

    SPEC, such as 30/min or '60/min,max_burst=1', makes the throttle if the fleet has none; without it the throttle
    must exist. Ends with status 0 when allowed and 11 when refused. When Redis does not answer nobody decides:
    status 6.
    """
    with environment.observe() as observer:
        decision = observer.check_throttle(name, spec, cost=cost, peek=peek)
    if environment.format == "table":
        from ..views.throttle_table import decision_table

        environment.out.print(decision_table(decision))
    elif environment.format == "plain":
        from ..views.throttle_plain import decision_lines

        environment.echo_lines(decision_lines(decision))
    else:
        from ..views.records import pretty
        from ..views.throttle_records import decision_record, single_csv

        record = decision_record(decision)
        if environment.format == "json":
            environment.echo(pretty(record))
        else:
            environment.echo_lines(single_csv(record))
    return ExitStatus.OK if decision.allowed else ExitStatus.THROTTLED
