"""``ingest postfix FILE…``."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from sharedstate.errors import InvalidValueError
from sharedstate.ingest import (
    DEFAULT_SESSION_TIMEOUT,
    Begin,
    DeliveryTime,
    NoEvents,
    PostfixLog,
    blocks,
    follow,
    stream_blocks,
)

from ..context import Environment, pass_environment
from ..lazy import Entry, LazyGroup
from ..options import connection_options, example, format_option, node_option
from ..views.text import printable

if TYPE_CHECKING:
    from sharedstate.client import State

__all__ = ["ingest"]

#: From this size on reading takes long enough to be watched.
_PROGRESS_BYTES = 16 << 20

#: What the summary calls the numbers; the others only show when they are not zero.
_LABELS = {
    "inbound_connects": "connections opened",
    "inbound_disconnects": "connections closed",
    "open_sessions": "connections open at the end",
    "receptions": "messages received",
    "rejections": "rejections",
    "deliveries": "deliveries",
    "transfails": "transient failures",
    "permfails": "permanent failures",
}
_REMARKS = {
    "superseded": "sessions without disconnect line: the process went on with another client",
    "killed": "sessions without disconnect line: the process died",
    "stopped": "sessions without disconnect line: Postfix was stopped or started",
    "expired": "sessions without disconnect line: silent for too long",
    "joined_midway": "sessions that began before the log",
    "unmatched_disconnects": "disconnect lines of sessions that began before the log",
    "readdressed": "sessions that changed their client address (XCLIENT)",
    "unusable_clients": "lines without a client address",
    "unusable_domains": "delivery attempts to something that is no domain name",
}

#: How often sessions that went silent are looked for: blocks of a file, seconds of a stream.
_EXPIRE_EVERY = 64
_EXPIRE_SECONDS = 5.0


@click.command(
    "ingest",
    cls=LazyGroup,
    entries={"postfix": Entry("ingest:postfix", "Read Postfix logs.")},
    epilog=example(
        """
        $ sharedstate-cli ingest postfix --follow /var/log/mail.log --node relay-0-1
        """
    ),
)
def ingest() -> None:
    """Turn mail logs into events of this node."""


@click.command(
    "postfix",
    epilog=example(
        """
        $ sharedstate-cli ingest postfix --dry-run examples/logs/relay-0-1.log
        2,400 lines in 0.01 s (388,917 a second), 1,761 of them about mail
                 287  connections opened
                 251  connections closed
                  36  connections open at the end
                 287  messages received
                 191  rejections
                 392  deliveries
                  37  transient failures
                   8  permanent failures
                   1  sessions without disconnect line: the process died

        $ sharedstate-cli ingest postfix --follow /var/log/mail.log --node relay-0-1
        """
    ),
)
@click.argument("files", metavar="FILE|-...", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option("--follow", "follows", is_flag=True, help="Go on as the files grow; log rotation is seen.")
@click.option(
    "--from",
    "begin",
    type=click.Choice([choice.value for choice in Begin]),
    help="With --follow, what the files hold already: only tells which sessions are open, counts from the "
    "start, or is skipped up to the end.  [default: sessions]",
)
@click.option("--hold", is_flag=True, help="Stay in the fleet after the last line, until Ctrl-C.")
@click.option("--dry-run", is_flag=True, help="Read and sum up, without Redis.")
@click.option(
    "--session-timeout",
    type=click.FloatRange(min=1),
    default=DEFAULT_SESSION_TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="Take a session for over when the log says nothing about it for so long.",
)
@click.option(
    "--delivery-time",
    type=click.Choice([choice.value for choice in DeliveryTime]),
    default=DeliveryTime.TOTAL.value,
    show_default=True,
    help="Seconds of a delivery: since the message came, or of the attempt that delivered it.",
)
@click.option(
    "--ignore-relay",
    "ignore_relays",
    multiple=True,
    metavar="RELAY",
    help="Do not count deliveries to this content filter, given as the log has it after relay=.",
)
@click.option("--quiet", is_flag=True, help="No summary, no progress bar.")
@connection_options
@node_option
@format_option
@pass_environment
def postfix(
    environment: Environment,
    files: tuple[str, ...],
    follows: bool,
    begin: str | None,
    hold: bool,
    dry_run: bool,
    session_timeout: float,
    delivery_time: str,
    ignore_relays: tuple[str, ...],
    quiet: bool,
) -> None:
    """Read the log of a Postfix node and tell the fleet what it says.

    FILE may be packed with gzip; - is standard input. While the command runs, this node has a member with the
    connections that the log shows to be open; when it ends, the member leaves and takes them with it.

    A log is second best for open connections: a killed smtpd logs no disconnect, and outbound connections are
    not in it.
    """
    _check(files, follows=follows, begin=begin, hold=hold)
    start = Begin(begin) if begin else Begin.SESSIONS
    with _member(environment, dry_run) as state, _stop_on_signals() as stop:
        log = PostfixLog(
            NoEvents() if state is None else state.events,
            session_timeout=session_timeout,
            delivery_time=DeliveryTime(delivery_time),
            ignore_relays=ignore_relays,
            catch_up=follows and start is Begin.SESSIONS,
        )
        seconds: float | None = None
        if follows:
            _warn_of_missing(environment, files)
            follow(files, log, begin=start, stop=stop)
        else:
            began = time.perf_counter()
            with _progress(environment, files, quiet) as advance:
                for file in files:
                    _read(environment, file, log, stop, advance)
            seconds = time.perf_counter() - began
            log.expire()
        if state is not None:
            state.flush()
        if not quiet:
            _show(environment, log, seconds)
        if hold and state is not None and not stop.is_set():
            environment.flush()
            held = f"{len(log.open_sessions)} open connections as {printable(state.node)}"
            environment.warn(f"holding {held}; Ctrl-C ends it.")
            stop.wait()


def _check(files: tuple[str, ...], *, follows: bool, begin: str | None, hold: bool) -> None:
    if begin and not follows:
        raise click.UsageError("--from goes with --follow; without it files are read from their start.")
    if hold and follows:
        raise click.UsageError("--hold has no use with --follow, which stays until it is ended.")
    if files.count("-") > 1:
        raise click.UsageError("standard input (-) can be given once.")
    for file in files:
        if follows and file == "-":
            raise click.UsageError("standard input (-) is read until its end; leave out --follow.")
        if follows and file.endswith(".gz"):
            raise click.UsageError(f"{file!r} is packed and does not grow; leave out --follow.")
        path = Path(file)
        if file == "-" or (follows and not path.exists()):
            continue
        if not path.exists():
            raise click.UsageError(f"{file!r} does not exist.")
        if path.is_dir():
            raise click.UsageError(f"{file!r} is a directory; give a log file.")
        if not os.access(path, os.R_OK):
            raise click.UsageError(f"{file!r} may not be read by this user.")


def _warn_of_missing(environment: Environment, files: tuple[str, ...]) -> None:
    for file in files:
        if not Path(file).exists():
            environment.warn(f"{printable(file)} does not exist yet; waiting for it.")


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set, so that the member leaves the fleet in an orderly way."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _member(environment: Environment, dry_run: bool) -> AbstractContextManager[State | None]:
    return nullcontext() if dry_run else environment.connect()


def _read(
    environment: Environment,
    file: str,
    log: PostfixLog,
    stop: threading.Event,
    advance: Callable[[str, int], None],
) -> None:
    lines, matched = log.summary.lines, log.summary.matched
    if file == "-":
        try:
            descriptor = environment.stdin.fileno()
        except io.UnsupportedOperation as error:
            raise click.UsageError("standard input is closed; name a file, or pipe a log in.") from error
        looked = time.monotonic()
        for block in stream_blocks(descriptor, stopped=stop.is_set):
            log.feed(block)
            if time.monotonic() - looked > _EXPIRE_SECONDS:
                log.expire()
                looked = time.monotonic()
    else:
        for number, block in enumerate(blocks(file, progress=lambda done: advance(file, done)), 1):
            log.feed(block)
            if number % _EXPIRE_EVERY == 0:
                log.expire()
            if stop.is_set():
                raise KeyboardInterrupt
    if log.summary.lines > lines and log.summary.matched == matched:
        name = "standard input" if file == "-" else repr(file)
        raise InvalidValueError(
            f"no line of {name} is one that Postfix's smtpd, qmgr, smtp or master writes about mail: give a "
            "Postfix log, such as /var/log/mail.log."
        )


@contextmanager
def _progress(
    environment: Environment, files: tuple[str, ...], quiet: bool
) -> Iterator[Callable[[str, int], None]]:
    """A progress bar on standard error, for large files and a terminal only."""
    sizes = {file: Path(file).stat().st_size for file in files if file != "-" and Path(file).is_file()}
    if quiet or not environment.stderr.isatty() or sum(sizes.values()) < _PROGRESS_BYTES:
        yield lambda _file, _done: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=environment.err, transient=True) as bar:
        tasks = {file: bar.add_task(printable(Path(file).name), total=size) for file, size in sizes.items()}
        yield lambda file, done: bar.update(tasks[file], completed=done) if file in tasks else None


def _show(environment: Environment, log: PostfixLog, seconds: float | None) -> None:
    summary = log.summary
    numbers: dict[str, int | float] = {**asdict(summary), "open_sessions": len(log.open_sessions)}
    if seconds is not None:
        numbers["seconds"] = round(seconds, 3)
    if environment.format == "json":
        environment.echo(json.dumps(numbers))
    elif environment.format == "csv":
        environment.echo(",".join(numbers))
        environment.echo(",".join(str(number) for number in numbers.values()))
    else:
        rate = f" in {seconds:.2f} s ({summary.lines / seconds:,.0f} a second)" if seconds else ""
        environment.echo(f"{summary.lines:,} lines{rate}, {summary.matched:,} of them about mail")
        rows = [(numbers[name], label) for name, label in _LABELS.items()]
        rows += [(numbers[name], label) for name, label in _REMARKS.items() if numbers[name]]
        environment.echo_lines(f"{number:>12,}  {label}" for number, label in rows)
