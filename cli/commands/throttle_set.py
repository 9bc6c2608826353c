"""``throttle set NAME SPEC``."""

from __future__ import annotations

import click

from sharedstate.errors import UnknownThrottleError

from ..complete import complete_throttle
from ..context import Environment, pass_environment
from ..errors import NothingToSetError
from ..options import connection_options, example, format_option

__all__ = ["throttle_set"]


@click.command(
    "set",
    epilog=example(
        """
        $ sharedstate-cli throttle set domain:yahoo.com 2,000/hr
        domain:yahoo.com: was 1000/hr, is 2000/hr, 1940 left.
        """
    ),
)
@click.argument("name", metavar="NAME", shell_complete=complete_throttle)
@click.argument("spec", metavar="SPEC")
@click.option("--create", is_flag=True, help="Make the throttle if the fleet has none of this name.")
@connection_options
@format_option
@pass_environment
def throttle_set(environment: Environment, name: str, spec: str, create: bool) -> None:
    """Give a throttle another spec for the whole fleet, at once.

    SPEC is such as 30/min, 1,000/hr or '60/min,max_burst=1'. What was spent stays spent. The spec stays until it is
    set again, whatever members come with.
    """
    from sharedstate.throttle.spec import parse_spec

    wanted = parse_spec(spec)  # before anything is asked: a wrong spec is the caller's own
    with environment.observe() as observer:
        try:
            before = observer.throttle_view(name)
        except UnknownThrottleError as error:
            if not create:
                raise NothingToSetError(error) from error
            before = None
        after = observer.set_throttle(name, wanted)
    if environment.format in ("table", "plain"):
        from ..views.throttle_plain import change_line

        environment.echo(change_line(name, before, after))
    else:
        from ..views.records import pretty
        from ..views.throttle_records import change_record, single_csv

        record = change_record(name, before, after)
        if environment.format == "json":
            environment.echo(pretty(record))
        else:
            environment.echo_lines(single_csv(record))
