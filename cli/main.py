"""Entry point: the table of commands, and the one place where errors become exit numbers."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from .context import Environment
from .lazy import Entry, LazyGroup
from .options import connection_options, example, format_option, node_option
from .status import ExitStatus, explain
from .views.text import printable

__all__ = ["CLUSTER_COMMANDS", "COMMANDS", "cli", "main"]

PROGRAM = "sharedstate-cli"

#: What the reference types after ``cluster``.
CLUSTER_COMMANDS = {
    "shared": Entry("shared:shared", "List shared objects and show what they hold."),
    "throttle": Entry("throttle:throttle", "Look at throttles, ask them, and change them."),
    "membership": Entry("membership:membership", "List the live members of the fleet."),
    "info": Entry("info:info", "Show where this node is connected and who leads."),
    "nodename": Entry("info:nodename", "Show the name of this node."),
    "nodeaddr": Entry("info:nodeaddr", "Show the address this node is reached at."),
    "inbound_audit": Entry(
        "inbound_audit:inbound_audit", "Show and change what is counted by client address."
    ),
    "outbound_audit": Entry(
        "outbound_audit:outbound_audit", "Show and clear what is counted by destination."
    ),
    "audit": Entry("audit:audit", "Rank and export audit series."),
    "reset": Entry("reset:reset", "Make this node's members leave the fleet and join anew."),
    "help": Entry("help:help_command", "List commands, or explain one."),
}

COMMANDS = {
    "cluster": Entry("cluster:cluster", "The commands below up to reset, under the reference's name."),
    **CLUSTER_COMMANDS,
    "local": Entry("local:local", "Run a Redis Cluster on this machine."),
    "config": Entry("config:config", "Check configuration files."),
    "ingest": Entry("ingest:ingest", "Turn mail logs into events."),
    "completion": Entry("completion:completion", "Print the completion script of a shell."),
    "version": Entry("version:version", "Show versions."),
}


class _Console(LazyGroup):
    """The root group; runs a command and turns whatever happens into an exit status."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 - click's signature; we always stand alone
        windows_expand_args: bool = True,  # noqa: ARG002 - click's signature
        **extra: Any,
    ) -> NoReturn:
        """Run the console and exit."""
        environment: Environment = extra.setdefault("obj", None) or Environment()
        extra["obj"] = environment
        status: int
        try:
            status = self._run(
                environment, list(sys.argv[1:] if args is None else args), prog_name, complete_var, extra
            )
        except KeyboardInterrupt:
            # The second Ctrl-C of an impatient operator, while the first one's sentence was being written.
            status = ExitStatus.INTERRUPTED
        sys.exit(int(status))

    def _run(
        self,
        environment: Environment,
        args: list[str],
        prog_name: str | None,
        complete_var: str | None,
        extra: dict[str, Any],
    ) -> int:
        try:
            instruction = os.environ.get(complete_var or COMPLETE_VARIABLE)
            if instruction:
                from click.shell_completion import shell_complete

                return shell_complete(self, extra, PROGRAM, complete_var or COMPLETE_VARIABLE, instruction)
            with self.make_context(prog_name or PROGRAM, args, **extra) as context:
                result = self.invoke(context)
            environment.flush()
        except click.exceptions.Exit as leave:
            environment.flush()
            return leave.exit_code
        except BrokenPipeError:
            # The reader has seen enough (`| head`). It asked for no more, so nothing went wrong.
            environment.hush()
            return ExitStatus.OK
        except click.Abort:
            return self._report(environment, KeyboardInterrupt())
        except click.ClickException as error:
            return self._report_usage(environment, error)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one handler; it shows every error
            return self._report(environment, error)
        return result if isinstance(result, int) else ExitStatus.OK

    def _report(self, environment: Environment, error: BaseException) -> ExitStatus:
        status, sentence = explain(error)
        if os.environ.get("SHAREDSTATE_TRACEBACK"):
            import traceback

            environment.stderr.write("".join(traceback.format_exception(error)))
        _tell(environment, sentence)
        return status

    def _report_usage(self, environment: Environment, error: click.ClickException) -> ExitStatus:
        message = printable(" ".join(error.format_message().split()))
        context = getattr(error, "ctx", None)
        path = context.command_path if context else PROGRAM
        if message[1:2].islower():
            message = message[:1].lower() + message[1:]
        _tell(environment, f"{message} Try '{path} --help'.")
        return ExitStatus.USAGE

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """End help with the exit statuses."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Exit status"):
            formatter.write_dl([(str(int(status)), status.meaning) for status in ExitStatus])


#: Set by the completion scripts; tells us which shell asks.
COMPLETE_VARIABLE = "_SHAREDSTATE_CLI_COMPLETE"


def _tell(environment: Environment, sentence: str) -> None:
    """Write an error's sentence after whatever output came before it."""
    try:
        environment.flush()
    except OSError:
        environment.hush()
    try:
        environment.warn(sentence)
    except OSError:  # stderr is gone as well: the exit status has to say it alone
        return


@click.command(
    PROGRAM,
    cls=_Console,
    entries=COMMANDS,
    epilog=example(
        """
        $ sharedstate-cli --url redis://10.80.116.201:7000 shared list
        Currently managed objects:
                          inbound_cidr [lazy, cidrtree w/ snapshots]
        """
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@connection_options
@node_option
@format_option
@click.version_option(package_name="sharedstate", prog_name=PROGRAM)
def cli() -> None:
    """See what the nodes of a mail fleet share: each node's part and the fleet's sum.

    Options that say where the fleet is may stand before or after the command.
    """


def main() -> NoReturn:
    """Run the console with the arguments of the process."""
    cli.main(prog_name=PROGRAM)


if __name__ == "__main__":
    main()
