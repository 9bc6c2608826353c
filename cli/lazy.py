"""Command groups that import a command only when it is run.

A console is started for one short question at a time; importing every command for it would cost more than the
question. A group's table says where each command is and what it does in a line, which is all that help needs.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from .context import Environment
from .status import ExitStatus

__all__ = ["Entry", "LazyGroup"]


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is.

    Attributes:
        place: ``module:attribute`` below ``sharedstate_cli.commands``.
        summary: one line for the list of commands.
    """

    place: str
    summary: str

    def load(self) -> click.Command:
        """Import the command."""
        module, _, attribute = self.place.partition(":")
        command = getattr(importlib.import_module(f".commands.{module}", __package__), attribute)
        assert isinstance(command, click.Command), self.place
        return command


class LazyGroup(click.Group):
    """A group whose commands come from a table of `Entry`.

    Args:
        entries: command name to entry, in the order help lists them.
    """

    def __init__(self, *args: Any, entries: Mapping[str, Entry], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.entries = dict(entries)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names of the commands, in the table's order."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import one command."""
        entry = self.entries.get(cmd_name)
        return entry.load() if entry else None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Answer a group that was named without a command with the list of its commands, on stderr."""
        if not args and not ctx.resilient_parsing:
            ctx.ensure_object(Environment).stderr.write(ctx.get_help() + "\n")
            ctx.exit(ExitStatus.USAGE)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names, or say what was probably meant."""
        name = args[0]
        if name in self.entries or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        near = difflib.get_close_matches(name.lower(), self.entries, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self.entries)}."
        raise click.UsageError(f"no such command {name!r}: {hint}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List the commands from the table, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.entries.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete command names from the table, and options as click does."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(name, help=entry.summary)
            for name, entry in self.entries.items()
            if name.startswith(incomplete)
        ]
