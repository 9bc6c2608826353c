"""``audit prune``: old export files."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ..context import Environment, pass_environment
from ..options import example
from ..progress import progress

__all__ = ["prune"]


@click.command(
    "prune",
    epilog=example(
        """
        $ sharedstate-cli audit prune --dir /var/lib/audit --keep-days 30 --compress-days 1
        """
    ),
)
@click.option("--dir", "folder", required=True, type=click.Path(file_okay=False), help="Where the files are.")
@click.option(
    "--keep-days",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Remove what is older.  [default: nothing]",
)
@click.option(
    "--compress-days",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Compress csv and jsonl files that are older.  [default: none]",
)
@click.option("--series", metavar="RE", help="Only files of series whose whole name matches.")
@click.option("--verbose", is_flag=True, help="Say what was done.")
@pass_environment
def prune(
    environment: Environment,
    folder: str,
    keep_days: float | None,
    compress_days: float | None,
    series: str | None,
    verbose: bool,
) -> None:
    """Compress and remove old files of audit export. Ages count from the end of a file's window.

    Files that are no exports are left alone. No row is gone at any moment before its file is removed.
    """
    from sharedstate.exports.prune import prune as prune_files
    from sharedstate.exports.query import compile_pattern

    if keep_days is None and compress_days is None:
        raise click.UsageError("nothing to do: give --keep-days, --compress-days or both.")
    wanted = compile_pattern(series or ".*")
    with progress(environment, "files", None) as advance:
        report = prune_files(
            Path(folder),
            now=time.time(),
            keep=None if keep_days is None else keep_days * 86_400,
            compress=None if compress_days is None else compress_days * 86_400,
            chosen=lambda name: wanted.fullmatch(name) is not None,
            advance=advance,
        )
    if verbose:
        environment.echo(
            f"{report.removed:,} files removed, {report.compressed:,} compressed, {report.freed:,} bytes freed."
        )
