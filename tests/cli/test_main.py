"""The frame: finding commands, help, settings, exit statuses, streams."""

import ast
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from sharedstate_cli import main as console
from sharedstate_cli.context import Environment
from sharedstate_cli.errors import NotAMemberError, NothingToSetError
from sharedstate_cli.lazy import LazyGroup
from sharedstate_cli.main import cli
from sharedstate_cli.options import FORMATS
from sharedstate_cli.status import ExitStatus, explain

from sharedstate import errors

from .hands import fleet, golden, run

FOLDER = Path(console.__file__).parent
OWN = (
    "cluster",
    "shared",
    "throttle",
    "membership",
    "info",
    "nodename",
    "nodeaddr",
    "reset",
    "help",
    "completion",
    "version",
)


def commands(group=cli, path=()):
    """Every command, with the words that lead to it."""
    for name, entry in group.entries.items():
        if not path and name not in OWN:
            continue
        command = entry.load()
        yield (*path, name), command
        if isinstance(command, LazyGroup):
            yield from commands(command, (*path, name))


COMMANDS = {" ".join(path): command for path, command in commands()}


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_explains_itself_with_an_example(path):
    """``X --help`` and ``help X`` say the same: a line, options, and an example with what comes back."""
    status, environment = run("help", *path.split())
    assert status == 0
    assert environment.output.startswith(f"Usage: sharedstate-cli {path} ")
    assert "Example:\n    $ sharedstate-cli " in environment.output
    assert COMMANDS[path].help


def test_help_lists_the_commands_of_its_level():
    _, top = run("help")
    for name, entry in cli.entries.items():
        assert f"  {name}" in top.output
        assert entry.summary in " ".join(top.output.split())
    for status in ExitStatus:
        assert str(int(status)) in top.output
    _, cluster = run("cluster", "help")
    _, shared = run("shared", "help")
    assert "membership" in cluster.output
    assert "ingest" not in cluster.output
    assert "show" in shared.output
    assert run("help", "cluster")[1].output == cluster.output
    assert "Usage: sharedstate-cli cluster shared show" in run("cluster", "help", "shared", "show")[1].output


def test_a_group_without_a_command_lists_its_commands_as_an_error():
    for words in ((), ("shared",), ("cluster", "shared")):
        status, environment = run(*words)
        assert (status, environment.output) == (ExitStatus.USAGE, "")
        assert "Commands:" in environment.messages


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("clustr",), "no such command 'clustr': did you mean 'cluster'? Try 'sharedstate-cli --help'."),
        (("help", "shared", "shwo"), "no such command 'shwo': did you mean 'show'?"),
        (("help", "info", "more"), "'sharedstate-cli info' has no commands below it."),
        (("shared", "show"), "missing argument 'NAME'."),
        (("shared", "show", "x", "from"), "after the object's name comes 'from NODE', not 'from'."),
        (("shared", "show", "x", "of", "y"), "after the object's name comes 'from NODE', not 'of y'."),
        (
            ("shared", "show", "x", "from", "y", "--node", "z"),
            "two nodes are asked for, 'y' and 'z': name one.",
        ),
        (("shared", "show", "x", "from", "y", "--by-node"), "one node's view has no columns for nodes"),
        (("shared", "show", "x", "--watch", "--format", "csv"), "csv has one header only"),
        (("shared", "show", "x", "--top", "0"), "'--top': 0 is not in the range x>=1."),
        (("shared", "show", "x", "--watch", "0"), "0.0 is not in the range x>=0.1."),
        (("throttle", "show", "x", "of", "y"), "after the throttle's name comes 'from NODE', not 'of y'."),
        (("throttle", "reset"), "which throttles? Name them, or say --all."),
        (("throttle", "reset", "x", "--all"), "--all means every throttle: leave out 'x'."),
        (("throttle", "reset", "--all"), "there is no terminal to ask on"),
        (("throttle", "watch", "x", "--format", "csv"), "csv has one header only"),
        (("throttle", "watch", "x", "--top", "3"), "one throttle's nodes come in one order"),
        (
            ("throttle", "watch", "x", "soon"),
            "after the pattern or name comes a number of seconds, not 'soon'.",
        ),
        (("throttle", "watch", "x", "1", "y"), "a pattern or name and a number of seconds are all"),
        (("throttle", "watch", "0.01"), "0.01 is not a number of seconds to wait: give 0.1 to 86400."),
        (("throttle", "check", "x", "--cost", "0"), "'--cost': 0 is not in the range x>=1."),
        (("throttle", "set", "x"), "missing argument 'SPEC'."),
        (("--timeout", "soon", "info"), "'--timeout': 'soon' is not a valid float range."),
        (("info", "--format", "xml"), "'xml' is not one of 'table', 'plain', 'json', 'csv'."),
        (("info", "--nod"), "no such option"),
        (("info", "extra"), "got unexpected extra argument"),
    ],
)
def test_a_wrong_command_line_gets_one_sentence(words, sentence):
    status, environment = run(*words)
    assert (status, environment.output) == (ExitStatus.USAGE, "")
    assert environment.messages.startswith("sharedstate-cli: ")
    assert sentence.lower() in environment.messages.lower()
    assert "Try 'sharedstate-cli" in environment.messages
    assert environment.messages.count("\n") == 1


def test_options_stand_before_or_after_the_command():
    for words in (
        ("--url", "redis://a", "--config", "c", "--cluster", "d", "--timeout", "2", "--node", "n", "info"),
        ("info", "--url", "redis://a", "--config", "c", "--cluster", "d", "--timeout", "2", "--node", "n"),
    ):
        _, environment = run(*words)
        settings = environment.settings
        assert (settings.url, settings.config, settings.cluster) == ("redis://a", "c", "d")
        assert (settings.node, environment.timeout) == ("n", 2.0)
    assert run("--format", "json", "shared", "list", "--format", "csv")[1].output.startswith("name,class,")


def test_the_view_of_a_node_does_not_rename_us():
    _, environment = run("--node", "me", "shared", "show", "inbound_cidr", "--node", "relay-0-1")
    assert environment.settings.node == "me"
    assert "#ec1-12137#relay-0-1" in environment.output


def test_format_by_terminal_environment_and_option(monkeypatch):
    def form(tty, variable=None, option=None):
        environment = Environment(
            stdout=io.StringIO(), tty=tty, environ={"SHAREDSTATE_FORMAT": variable} if variable else {}
        )
        environment.settings.format = option
        return environment.format

    assert (form(True), form(False)) == ("table", "plain")
    assert (form(True, "json"), form(True, "json", "csv")) == ("json", "csv")
    assert {form(False, None, name) for name in FORMATS} == set(FORMATS)


def test_an_unknown_format_in_the_environment_is_named():
    environment = Environment(
        stdout=io.StringIO(), stderr=io.StringIO(), environ={"SHAREDSTATE_FORMAT": "xml"}
    )
    with pytest.raises(SystemExit) as leave:
        cli.main(["version"], obj=environment)
    assert leave.value.code == ExitStatus.USAGE
    assert environment.stderr.getvalue().startswith(
        "sharedstate-cli: SHAREDSTATE_FORMAT is 'xml': set it to one of"
    )


def test_colour():
    def colour(tty=True, **environ):
        return Environment(stdout=io.StringIO(), tty=tty, environ=environ).colour

    assert colour()
    assert not colour(tty=False)
    assert not colour(NO_COLOR="1")
    assert colour(NO_COLOR="")
    assert not colour(TERM="dumb")


def test_a_terminal_gets_colour_unless_it_is_not_wanted():
    def drawn(**environ):
        environment = Environment(
            stdout=io.StringIO(), tty=True, environ={"TERM": "xterm-256color", **environ}
        )
        environment.out.print("x", style="red")
        return environment.stdout.getvalue()

    assert drawn() == "\x1b[31mx\x1b[0m\n"
    assert drawn(NO_COLOR="1") == "x\n"
    assert drawn(TERM="dumb") == "x\n"


EXPECTED = {
    errors.ConfigError("expected a number", "a.conf", 3, 7): ExitStatus.CONFIGURATION,
    errors.ShardMismatchError("16 here, 32 there."): ExitStatus.CONFIGURATION,
    errors.MissingExtraError("no duckdb."): ExitStatus.MISSING_EXTRA,
    errors.SeriesMismatchError("16 here, 32 there."): ExitStatus.CONFIGURATION,
    errors.UnknownObjectError("x", []): ExitStatus.UNKNOWN_NAME,
    errors.UnknownNodeError("x", []): ExitStatus.UNKNOWN_NAME,
    errors.UnknownThrottleError("x", []): ExitStatus.UNKNOWN_NAME,
    errors.UnknownSeriesError("x", []): ExitStatus.UNKNOWN_NAME,
    NotAMemberError("x", "c", []): ExitStatus.UNKNOWN_NAME,
    NothingToSetError(errors.UnknownThrottleError("x", [])): ExitStatus.UNKNOWN_NAME,
    errors.InvalidAddressError("x"): ExitStatus.INVALID_VALUE,
    errors.InvalidUrlError("x"): ExitStatus.INVALID_VALUE,
    errors.InvalidThrottleError("x"): ExitStatus.INVALID_VALUE,
    errors.CountBelowZeroError("x"): ExitStatus.INVALID_VALUE,
    errors.LinkError("x"): ExitStatus.UNREACHABLE,
    errors.UnreachableError("x"): ExitStatus.UNREACHABLE,
    errors.AmbiguousError("x"): ExitStatus.UNREACHABLE,
    errors.AuthenticationError("x"): ExitStatus.REFUSED_LOGIN,
    errors.PermissionDeniedError("x"): ExitStatus.REFUSED_LOGIN,
    errors.UnsuitableServerError("x"): ExitStatus.UNSUITABLE,
    errors.ServerRefusedError("OOM", "x"): ExitStatus.REFUSED_CALL,
    errors.LocalClusterError("x"): ExitStatus.LOCAL_CLUSTER,
    errors.ClosedError("x"): ExitStatus.INTERNAL,
    KeyboardInterrupt(): ExitStatus.INTERRUPTED,
    ZeroDivisionError("x"): ExitStatus.INTERNAL,
    PermissionError(13, "Permission denied", "a.log"): ExitStatus.INTERNAL,
}


@pytest.mark.parametrize("error", EXPECTED, ids=lambda error: type(error).__name__)
def test_every_error_has_its_status_and_one_sentence(error):
    status, environment = run("shared", "list", observer=fleet(error=error))
    assert status == EXPECTED[error] == explain(error)[0]
    assert environment.output == ""
    assert environment.messages == f"sharedstate-cli: {explain(error)[1]}\n"


def test_ctrl_c_in_an_import_is_ctrl_c():
    """What is raised in __set_name__ reaches us as a RuntimeError on Python 3.11."""
    wrapped = RuntimeError("Error calling __set_name__")
    wrapped.__cause__ = KeyboardInterrupt()
    assert explain(wrapped) == (ExitStatus.INTERRUPTED, "interrupted.")


def test_every_class_of_error_has_a_status():
    """A new class in `sharedstate.errors` has to be thought about here."""
    known = {type(error) for error in EXPECTED}
    abstract = {errors.SharedStateError, errors.InvalidValueError, errors.UnknownNameError}
    same = {errors.InvalidDomainError, errors.InvalidNameError}
    assert {getattr(errors, name) for name in errors.__all__} - abstract - same <= known


def test_sentences():
    assert explain(PermissionError(13, "Permission denied", "a.log"))[1] == "a.log: Permission denied."
    assert explain(ZeroDivisionError("x"))[1].startswith(
        "internal error, ZeroDivisionError: x; set SHAREDSTATE_"
    )


def test_a_traceback_is_shown_when_asked_for(monkeypatch):
    monkeypatch.setenv("SHAREDSTATE_TRACEBACK", "1")
    _, environment = run("shared", "list", observer=fleet(error=ZeroDivisionError("x")))
    assert environment.messages.startswith("Traceback (most recent call last)")


class _Broken(io.StringIO):
    """A stream whose other end is closed, or that fails otherwise."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def flush(self):
        raise self.error

    write = flush_write = lambda self, text: self.flush()


@pytest.mark.parametrize(
    ("error", "expected", "sentence"),
    [
        (BrokenPipeError(32, "Broken pipe"), ExitStatus.OK, ""),
        (
            OSError(28, "No space left on device"),
            ExitStatus.INTERNAL,
            "sharedstate-cli: No space left on device.\n",
        ),
    ],
)
def test_output_that_cannot_be_written(error, expected, sentence):
    environment = Environment(stdout=_Broken(error), stderr=io.StringIO(), environ={})
    with pytest.raises(SystemExit) as leave:
        cli.main(["version"], obj=environment)
    assert (leave.value.code, environment.stderr.getvalue()) == (expected, sentence)


def test_a_message_that_cannot_be_written_leaves_the_status():
    environment = Environment(stdout=io.StringIO(), stderr=_Broken(OSError(5, "x")), environ={})
    with pytest.raises(SystemExit) as leave:
        cli.main(["versoin"], obj=environment)
    assert leave.value.code == ExitStatus.USAGE


def process(*arguments, shell=None, **options):
    command = (
        [sys.executable, "-m", "sharedstate_cli.main", *arguments] if shell is None else ["bash", "-c", shell]
    )
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def test_as_a_process():
    program = f"{sys.executable} -m sharedstate_cli.main"
    head = process(shell=f"set -o pipefail; {program} help | head -1")
    assert (head.returncode, head.stderr) == (0, "")
    assert head.stdout.startswith("Usage: sharedstate-cli ")
    closed = process(shell=f"{program} help >&-")
    assert (closed.returncode, closed.stdout, closed.stderr) == (0, "", "")
    if os.path.exists("/dev/full"):  # noqa: PTH110 - not a file to open
        full = process(shell=f"{program} version >/dev/full")
        assert (full.returncode, full.stderr) == (1, "sharedstate-cli: No space left on device.\n")
    wrong = process("membershp")
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_versions():
    assert run("version")[1].output.startswith("sharedstate ")
    assert "sharedstate-cli, version" in process("--version").stdout


def test_what_a_plain_answer_does_not_import():
    """Cold start: a question asked once pays for no table, no grammar, no event loop."""
    script = (
        "import sys\n"
        "from tests.cli.hands import run\n"
        "assert run('shared', 'show', 'inbound_cidr')[0] == 0\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=FOLDER.parent,
    )
    assert not {"rich", "lark", "idna"} & set(done.stdout.split())


def test_the_console_sends_no_redis_commands():
    """All questions go through an observer: no module imports redis or the layers below the client."""
    forbidden = {
        "redis",
        "hiredis",
        "sharedstate.link",
        "sharedstate.call",
        "sharedstate.scripts",
        "sharedstate.keys",
    }
    for path in FOLDER.rglob("*.py"):
        if path.name in ("local.py", "version.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            assert not forbidden & set(names), path


def test_the_manual_agrees():
    """docs/console.md: every exit status with its meaning, every command, every option, the transcripts."""
    manual = (FOLDER.parent / "docs" / "console.md").read_text()
    for status in ExitStatus:
        assert re.search(rf"^\| {int(status)} \| {re.escape(status.meaning)}", manual, re.MULTILINE), status
    for name in cli.entries:
        assert re.search(rf"^#+ .*\b{name}\b|`{name}`", manual, re.MULTILINE | re.IGNORECASE), name
    for option in COMMANDS["shared show"].params:
        assert isinstance(option, click.Argument) or f"`{option.opts[0]}" in manual, option.name
    for path, command in COMMANDS.items():
        if path.startswith("throttle ") and path != "throttle help":
            assert f"### {path}" in manual
            for option in command.params:
                assert isinstance(option, click.Argument) or f"`{option.opts[0]}" in manual, (
                    path,
                    option.name,
                )
    for transcript in (
        "shared_list",
        "show_inbound_cidr_from_relay-0-1",
        "info",
        "nodeaddr",
        "throttle_show",
        "throttle_reset",
    ):
        assert golden(transcript) in manual


def test_one_implementation_under_two_names():
    cluster = COMMANDS["cluster"]
    for name in ("shared", "throttle", "membership", "info", "nodename", "nodeaddr", "reset"):
        assert cluster.entries[name].load() is cli.entries[name].load()
    assert isinstance(COMMANDS["cluster shared show"], click.Command)
