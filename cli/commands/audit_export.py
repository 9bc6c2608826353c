"""``audit export``: closed windows into files, each once; made for cron."""

from __future__ import annotations

from pathlib import Path

import click

from ..complete import complete_node
from ..context import Environment, pass_environment
from ..options import connection_options, example
from ..progress import progress
from ..status import ExitStatus

__all__ = ["export"]


@click.command(
    "export",
    epilog=example(
        """
        $ sharedstate-cli audit export --dir /var/lib/audit --series 'spam|virus' --gzip
        $ ls /var/lib/audit
        20260105T140000Z-300s-spam.csv.gz  20260105T140000Z-300s-virus.csv.gz
        """
    ),
)
@click.option("--dir", "folder", required=True, type=click.Path(file_okay=False), help="Where the files go.")
@click.option("--series", metavar="RE", help="Only series whose whole name matches.")
@click.option("--exclude", metavar="RE", help="But not series whose whole name matches this.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    default="csv",
    show_default=True,
    help="What the files are.",
)
@click.option("--gzip", is_flag=True, help="Compress csv and jsonl.")
@click.option(
    "--node", metavar="NODE", shell_complete=complete_node, help="One node's part.  [default: all together]"
)
@click.option("--mask", type=int, metavar="BITS", help="Add addresses up to networks of this length.")
@click.option(
    "--job",
    metavar="NAME",
    help="Name of this export; each exports every window once.  [default: by node and mask]",
)
@click.option(
    "--settle",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Let a window be closed for so long first.",
)
@connection_options
@pass_environment
def export(
    environment: Environment,
    folder: str,
    series: str | None,
    exclude: str | None,
    format_: str,
    gzip: bool,
    node: str | None,
    mask: int | None,
    job: str | None,
    settle: float,
) -> ExitStatus:
    """Write closed windows of audit series to files: each window once, whichever host runs this, and however often.

    Says nothing when all went well. Redis keeps how far the export is; where another run is at work, this one leaves
    the windows to it. A missed run catches up as far as the windows last. Exit status 12 says that windows were over
    before any run came to them.
    """
    from sharedstate.exports.job import Exporter
    from sharedstate.exports.query import compile_pattern

    wanted = compile_pattern(series or ".*")
    unwanted = compile_pattern(exclude) if exclude is not None else None
    with environment.observe() as observer, progress(environment, "rows", None) as advance:
        exporter = Exporter(
            observer.audit,
            Path(folder),
            format=format_,
            gzip=gzip,
            node=node,
            mask=mask,
            job=job,
            settle=settle,
            advance=advance,
        )
        specs = [
            spec
            for spec in observer.audit.series()
            if spec.type != "time"
            and wanted.fullmatch(spec.name)
            and not (unwanted and unwanted.fullmatch(spec.name))
            and (mask is None or spec.type.is_cidr)
        ]
        report = exporter.export(specs)
    for name in report.unsure:
        environment.warn(
            f"{name} in {folder} was left by a run so long ago that nobody knows whether its window was exported: "
            "compare and remove it."
        )
    if report.lost:
        windows = "1 window was" if report.lost == 1 else f"{report.lost} windows were"
        environment.warn(f"{windows} over before any run of this export came to them: run it more often.")
        return ExitStatus.WINDOWS_LOST
    return ExitStatus.OK
