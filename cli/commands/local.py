"""``local``: a Redis Cluster on this machine that outlives the command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..context import Environment, pass_environment
from ..lazy import Entry, LazyGroup
from ..options import example, format_option
from ..status import ExitStatus

__all__ = ["down", "local", "status", "up"]

F = TypeVar("F", bound=Callable[..., Any])


def directory_option(function: F) -> F:
    """Which cluster: ``--dir``."""
    return click.option(
        "--dir",
        "directory",
        type=click.Path(),
        metavar="DIR",
        help="Where the cluster keeps its data.  [default: $XDG_STATE_HOME/sharedstate/local]",
    )(function)


@click.command(
    "local",
    cls=LazyGroup,
    entries={
        "up": Entry("local:up", "Start the cluster, or what is missing of it."),
        "status": Entry("local:status", "Show the servers of the cluster."),
        "down": Entry("local:down", "Stop the cluster and keep its data."),
        "help": Entry("help:help_command", "List commands, or explain one."),
    },
    epilog=example(
        """
        $ sharedstate-cli local up
        Started a new cluster of 6 servers (Valkey 9.1.2) in /home/ada/.local/state/sharedstate/local.
        """
    ),
)
def local() -> None:
    """Run a Redis Cluster on this machine: for trying out, development, and fleets of one host.

    Its servers listen on 127.0.0.1 only, without TLS. It is a real cluster and keeps its data, but what takes
    the machine takes all of it.
    """


@click.command(
    "up",
    epilog=example(
        """
        $ sharedstate-cli local up --primaries 3 --replicas 0 --port 18000
        Started a new cluster of 3 servers (Valkey 9.1.2) in /home/ada/.local/state/sharedstate/local.
        """
    ),
)
@click.option(
    "--primaries",
    type=click.IntRange(1, 100),
    metavar="N",
    help="Servers that share the slots.  [default: 3]",
)
@click.option("--replicas", type=click.IntRange(0, 5), metavar="N", help="Replicas of each.  [default: 1]")
@directory_option
@click.option(
    "--port",
    type=click.IntRange(1, 55535),
    metavar="PORT",
    help="First of consecutive ports; each server also uses the one 10000 above its own.  "
    "[default: where it was; for a new cluster the first free ones from 17000]",
)
@click.option(
    "--server",
    type=click.Path(),
    metavar="PATH",
    help="valkey-server or redis-server to run.  "
    "[env: SHAREDSTATE_SERVER; default: the one of 'sharedstate[local]', else the system's]",
)
@pass_environment
def up(
    environment: Environment,
    primaries: int | None,
    replicas: int | None,
    directory: str | None,
    port: int | None,
    server: str | None,
) -> None:
    """Start the cluster and wait until it is healthy.

    One that was stopped comes back with its data, one that runs is left alone, and servers that crashed are
    started again. The servers live on when this command has ended.
    """
    from sharedstate.local.manager import LocalManager

    from ..views.local import up_lines

    result = LocalManager(directory).up(primaries, replicas, port=port, server=server)
    environment.echo_lines(up_lines(result))


@click.command(
    "status",
    epilog=example(
        """
        $ sharedstate-cli local status --format plain
        Cluster: up
        Directory: /home/ada/.local/state/sharedstate/local
        Server: Valkey 9.1.2
        URL: redis://127.0.0.1:17000
        127.0.0.1:17000 primary running pid 4711 slots 16384 keys 12 memory 2892344
        """
    ),
)
@directory_option
@format_option
@pass_environment
def status(environment: Environment, directory: str | None) -> None:
    """Show the servers of the cluster: role, state, process, slots, keys, memory in bytes.

    Succeeds when all servers run and agree, else it ends with status 10 and names the problem.
    """
    from sharedstate.local.manager import LocalManager

    found = LocalManager(directory).status()
    if environment.format == "table":
        from ..views.local import status_table

        environment.out.print(status_table(found))
    elif environment.format == "json":
        from ..views.local import status_json
        from ..views.records import pretty

        environment.echo(pretty(status_json(found)))
    elif environment.format == "csv":
        from ..views.local import status_csv

        environment.echo_lines(status_csv(found))
    else:
        from ..views.local import status_lines

        environment.echo_lines(status_lines(found))
    if found.state != "up":
        click.get_current_context().exit(ExitStatus.LOCAL_CLUSTER)


@click.command(
    "down",
    epilog=example(
        """
        $ sharedstate-cli local down
        Stopped 6 servers; the data is kept in /home/ada/.local/state/sharedstate/local.
        """
    ),
)
@directory_option
@pass_environment
def down(environment: Environment, directory: str | None) -> None:
    """Stop the cluster and keep its data; when it does not run, there is nothing to do."""
    from sharedstate.local.manager import LocalManager

    from ..views.local import down_line

    manager = LocalManager(directory)
    environment.echo(down_line(manager.down(), str(manager.directory)))
