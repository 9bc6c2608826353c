"""``--watch`` without a terminal; `test_terminal` has one."""

import json

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
