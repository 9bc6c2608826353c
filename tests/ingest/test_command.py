"""``sharedstate-cli ingest postfix``: options, summaries, bad input, signals."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from sharedstate_cli.context import Environment
from sharedstate_cli.main import cli
from sharedstate_cli.status import ExitStatus

from .recorder import Recorder

LOGS = Path(__file__).parents[2] / "examples" / "logs"
LOG = LOGS / "relay-0-1.log"


class JoinedState:
    """As much of a joined state as the command uses."""

    node = "relay-0-1"

    def __init__(self) -> None:
        self.events = Recorder()
        self.calls: list[str] = []

    def flush(self) -> None:
        self.calls.append("flush")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self.calls.append("close")


class JoinedEnvironment(Environment):
    """An environment whose `connect` joins nothing."""

    def __init__(self, **options: object) -> None:
        self.messages = io.StringIO()
        self.output = io.StringIO()
        super().__init__(stdout=self.output, stderr=self.messages, environ={}, **options)
        self.state = JoinedState()

    def connect(self, **options: object) -> JoinedState:
        return self.state


def run(*args: object, environment: JoinedEnvironment | None = None) -> tuple[int, JoinedEnvironment]:
    environment = environment or JoinedEnvironment()
    with pytest.raises(SystemExit) as leave:
        cli.main(["ingest", "postfix", *map(str, args)], obj=environment)
    assert isinstance(leave.value.code, int)
    return leave.value.code, environment


def test_a_file_becomes_events_and_a_summary():
    status, environment = run(LOG)
    assert status == ExitStatus.OK
    assert environment.state.calls == ["flush", "close"]
    assert sum(environment.state.events.connections.values()) == 36
    first, *rows = environment.output.getvalue().splitlines()
    assert first.startswith("2,400 lines in ")
    assert [row.split()[0] for row in rows] == ["287", "251", "36", "287", "191", "392", "37", "8", "1"]
    assert environment.messages.getvalue() == ""


def test_summaries_for_machines():
    _, environment = run("--dry-run", "--format", "json", LOG)
    numbers = json.loads(environment.output.getvalue())
    assert (numbers["lines"], numbers["open_sessions"], numbers["killed"]) == (2400, 36, 1)
    _, environment = run("--dry-run", "--format", "csv", LOG)
    names, values = environment.output.getvalue().splitlines()
    assert dict(zip(names.split(","), values.split(","), strict=True))["lines"] == "2400"


def test_quiet():
    _, environment = run("--quiet", LOG)
    assert environment.output.getvalue() + environment.messages.getvalue() == ""


def test_dry_run_joins_nothing():
    status, environment = run("--dry-run", LOG)
    assert (status, environment.state.calls) == (ExitStatus.OK, [])


def test_several_files_are_one_log(tmp_path: Path):
    lines = LOG.read_bytes().splitlines(keepends=True)
    older, newer = tmp_path / "mail.log.1.gz", tmp_path / "mail.log"
    older.write_bytes(gzip.compress(b"".join(lines[:1200])))
    newer.write_bytes(b"".join(lines[1200:]))
    _, environment = run(older, newer)
    _, whole = run(LOG)
    assert environment.state.events.told == whole.state.events.told


def test_standard_input(tmp_path: Path):
    with LOG.open() as stdin:
        status, environment = run("-", environment=JoinedEnvironment(stdin=stdin))
    assert status == ExitStatus.OK
    assert sum(environment.state.events.connections.values()) == 36


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_bar_for_a_large_file_on_a_terminal_only(tmp_path: Path):
    large = tmp_path / "mail.log"
    large.write_bytes(LOG.read_bytes() * 60)
    for stream, path, shown in (
        (Terminal(), large, True),
        (Terminal(), LOG, False),
        (io.StringIO(), large, False),
    ):
        environment = JoinedEnvironment()
        environment.stderr = stream
        run("--dry-run", path, environment=environment)
        assert ("mail.log" in stream.getvalue()) is shown


@pytest.mark.parametrize(
    ("args", "status", "sentence"),
    [
        (["{}/none.log"], ExitStatus.USAGE, "does not exist"),
        (["{}"], ExitStatus.USAGE, "is a directory"),
        (["{}/binary"], ExitStatus.INVALID_VALUE, "no line of"),
        (["{}/damaged.gz"], ExitStatus.INVALID_VALUE, "damaged gzip file"),
        (["--from", "end", "{}/binary"], ExitStatus.USAGE, "--from goes with --follow"),
        (["--follow", "--hold", "{}/binary"], ExitStatus.USAGE, "--hold has no use"),
        (["--follow", "-"], ExitStatus.USAGE, "leave out --follow"),
        (["--follow", "x.gz"], ExitStatus.USAGE, "leave out --follow"),
        (["--follow", "{}"], ExitStatus.USAGE, "is a directory"),
        (["-", "-"], ExitStatus.USAGE, "can be given once"),
        (["-"], ExitStatus.USAGE, "standard input is closed"),
        (["--session-timeout", "0", "{}/binary"], ExitStatus.USAGE, "--session-timeout"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, args: list[str], status: ExitStatus, sentence: str):
    (tmp_path / "binary").write_bytes(os.urandom(100_000))
    (tmp_path / "damaged.gz").write_bytes(gzip.compress(os.urandom(5000))[:2000])
    result, environment = run(*(arg.format(tmp_path) for arg in args))
    assert result == status
    assert sentence in environment.messages.getvalue()
    assert environment.messages.getvalue().count("\n") == 1
    assert environment.output.getvalue() == ""


def test_an_empty_file_is_no_mistake(tmp_path: Path):
    (tmp_path / "mail.log").touch()
    assert run(tmp_path / "mail.log")[0] == ExitStatus.OK


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_following_ends_in_order(tmp_path: Path, number: signal.Signals):
    command = [sys.executable, "-m", "sharedstate_cli.main", "ingest", "postfix", "--dry-run", "--follow"]
    late = tmp_path / "late.log"
    with subprocess.Popen(
        [*command, "--format", "json", str(LOG), str(late)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline().endswith("late.log does not exist yet; waiting for it.\n")
        process.send_signal(number)
        output = process.stdout.read()
        assert process.stderr.read() == ""
    assert process.returncode == ExitStatus.OK
    assert "open_sessions" in json.loads(output)
