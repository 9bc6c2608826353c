"""``--watch`` without a terminal; `test_terminal` has one."""

import json
import os
import signal

import pytest
from sharedstate_cli import watch

from sharedstate.errors import UnreachableError

from .hands import HandMadeObserver, fleet, run


def test_plain_blocks_end_with_ctrl_c(rounds):
    _, waited = rounds
    status, environment = run("shared", "show", "outbound_cidr", "--watch", "0.5")
    assert (status, environment.messages) == (0, "")
    assert environment.output == "lazy, snapped cidrtree 'outbound_cidr', view 'global'\n\n" * 3
    assert waited == [0.5, 0.5, 0.5]


def test_two_seconds_when_not_said(rounds):
    _, waited = rounds
    assert run("shared", "show", "outbound_cidr", "--watch")[0] == 0
    assert waited == [2.0] * 3


def test_json_has_a_document_on_each_line(rounds):
    status, environment = run("shared", "show", "inbound_cidr", "--watch", "--format", "json")
    assert status == 0
    documents = [json.loads(line) for line in environment.output.splitlines()]
    assert [document["total"] for document in documents] == [31, 31, 31]


def test_a_failover_is_waited_out(rounds):
    happens, _ = rounds
    observer: HandMadeObserver = fleet()

    def fail():
        observer.error = UnreachableError("127.0.0.1:7000 does not answer.")

    def recover():
        observer.error = None

    happens[:] = [fail, recover]
    status, environment = run("shared", "show", "outbound_cidr", "--watch", observer=observer)
    assert (status, environment.messages) == (0, "sharedstate-cli: 127.0.0.1:7000 does not answer.\n")
    assert environment.output.count("lazy, snapped") == 2


def test_an_error_at_the_start_is_an_error(rounds):
    status, environment = run(
        "shared", "show", "inbound_cidr", "--watch", observer=fleet(error=UnreachableError("nobody there."))
    )
    assert (status, environment.output) == (6, "")


def test_a_defect_is_not_waited_out(rounds):
    happens, _ = rounds
    observer = fleet()

    def fail():
        observer.error = ZeroDivisionError("x")

    happens[:] = [fail]
    status, _ = run("shared", "show", "inbound_cidr", "--watch", observer=observer)
    assert status == 1


@pytest.mark.parametrize("output", ["screen", "lines"])
def test_ctrl_c_that_became_another_error_is_ctrl_c(monkeypatch, output):
    """Python 3.11 makes a RuntimeError of what is raised while a class is made, as in an import."""

    def interrupted_import(_):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()
        except BaseException as error:
            raise RuntimeError("Error calling __set_name__") from error

    monkeypatch.setattr(watch.time, "sleep", interrupted_import)
    status, environment = run("shared", "show", "inbound_cidr", "--watch", tty=output == "screen")
    assert (status, environment.messages) == (0, "")


def test_ctrl_c_that_was_swallowed_ends_the_watch_all_the_same(monkeypatch):
    def finalizer(_):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()
        except BaseException:
            pass  # as Python does with what is raised in __del__

    monkeypatch.setattr(watch.time, "sleep", finalizer)
    assert run("shared", "show", "inbound_cidr", "--watch")[0] == 0


def test_ctrl_c_before_the_first_picture_is_status_0(monkeypatch):
    enter = watch._Ending.__enter__

    def interrupted(self):
        entered = enter(self)
        os.kill(os.getpid(), signal.SIGINT)
        return entered

    monkeypatch.setattr(watch._Ending, "__enter__", interrupted)
    status, environment = run("shared", "show", "inbound_cidr", "--watch", tty=True)
    assert (status, environment.messages) == (0, "")


def test_an_ignored_ctrl_c_stays_ignored(rounds):
    """As the shell has it for what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        happens, waited = rounds
        happens.insert(0, lambda: os.kill(os.getpid(), signal.SIGINT))
        assert run("shared", "show", "outbound_cidr", "--watch")[0] == 0
        assert len(waited) == 4
    finally:
        signal.signal(signal.SIGINT, before)
