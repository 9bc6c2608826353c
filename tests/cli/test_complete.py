"""Shell completion."""

import threading

import pytest
from click.shell_completion import ShellComplete
from sharedstate_cli import complete
from sharedstate_cli.main import COMPLETE_VARIABLE, PROGRAM, cli

from .hands import HandMadeEnvironment, fleet, member, run


def suggested(*words, observer=None, environment=None):
    """What the shell is told when the last of `words` is being typed."""
    environment = environment or HandMadeEnvironment(observer)
    shell = ShellComplete(cli, {"obj": environment}, PROGRAM, COMPLETE_VARIABLE)
    items = shell.get_completions(list(words[:-1]), words[-1])
    assert environment.output == environment.messages == ""
    return [item.value for item in items]


def test_commands():
    assert suggested("mem") == ["membership"]
    assert suggested("cluster", "node") == ["nodename", "nodeaddr"]
    assert suggested("cluster", "shared", "") == ["list", "show", "help"]
    assert "--timeout" in suggested("info", "--")
    assert suggested("--format", "") == ["table", "plain", "json", "csv"]


def test_objects_and_nodes():
    for mount in ((), ("cluster",)):
        show = (*mount, "shared", "show")
        assert suggested(*show, "outbound") == ["outbound_cidr", "outbound_domains"]
        assert suggested(*show, "inbound_cidr", "") == ["from"]
        assert suggested(*show, "inbound_cidr", "from", "") == ["relay-0-1", "relay-0-2", "relay-0-3"]
        assert suggested(*show, "inbound_cidr", "from", "relay-0-1", "") == []
        assert suggested(*show, "inbound_cidr", "--node", "relay-0-3") == ["relay-0-3"]


def test_throttles():
    for words in (("show",), ("check",), ("set",), ("watch",), ("list",), ("reset", "tenant:7")):
        assert suggested("throttle", *words, "tenant:") == ["tenant:7", "tenant:9"]
    assert suggested("cluster", "throttle", "show", "tenant:7", "") == ["from"]
    assert suggested("throttle", "show", "tenant:7", "from", "relay-0-2") == ["relay-0-2"]
    assert suggested("throttle", "w") == ["watch"]


def test_names_that_could_not_be_typed_are_left_out():
    observer = fleet(live=[member("relay\x1b[2J"), member("relay-1")])
    assert suggested("shared", "show", "x", "from", "", observer=observer) == ["relay-1"]


def test_any_failure_means_no_names():
    for error in (OSError("no route"), ZeroDivisionError()):
        assert suggested("shared", "show", "", observer=fleet(error=error)) == []


def test_a_server_that_hangs_does_not_hang_the_shell(monkeypatch):
    monkeypatch.setattr(complete, "PATIENCE", 0.01)
    released = threading.Event()

    class Hanging(HandMadeEnvironment):
        def observe(self, **options):
            released.wait(60)
            return self.observer

    assert suggested("shared", "show", "", environment=Hanging()) == []
    released.set()


def test_half_a_second_is_all_it_takes():
    environment = HandMadeEnvironment()
    suggested("shared", "show", "", environment=environment)
    assert environment.timeout == 0.5


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(shell):
    status, environment = run("completion", shell)
    assert status == 0
    assert f"{COMPLETE_VARIABLE}={shell}_complete" in environment.output
    assert "sharedstate-cli" in environment.output


def test_another_shell():
    assert run("completion", "tcsh")[0] == 2
