"""``throttle watch`` without a terminal, and on one."""

import json
import signal
from dataclasses import replace

from sharedstate.errors import UnreachableError

from .hands import BUCKETS, fleet, run
from .test_terminal import FIRST_SCREEN, SECOND_SCREEN, terminal

__all__ = ["terminal"]


def goes_on(observer, seconds=2.0):
    """As if `seconds` went by, in which the first process took four tokens a second and was refused one."""

    def step():
        for name, view in observer.buckets.items():
            holders = view.holders
            if holders:
                first = holders[0]
                taken, refused = first.taken + int(4 * seconds), first.refused + int(seconds)
                holders = (replace(first, taken=taken, refused=refused), *holders[1:])
            observer.buckets[name] = replace(view, at=view.at + seconds, holders=holders)

    return step


def documents(environment):
    return [json.loads(line) for line in environment.output.splitlines()]


def test_rates_of_a_list(rounds):
    happens, waited = rounds
    observer = fleet()
    happens[:] = [goes_on(observer), goes_on(observer)]
    status, environment = run("throttle", "watch", "tenant:*", "2", "--format", "json", observer=observer)
    assert (status, environment.messages) == (0, "")
    told = [
        [
            (one["name"], one["admitted_per_second"], one["refused_per_second"])
            for one in document["throttles"]
        ]
        for document in documents(environment)
    ]
    assert told == [
        [("tenant:7", None, None), ("tenant:9", None, None)],
        [("tenant:7", 4.0, 1.0), ("tenant:9", 0.0, 0.0)],
        [("tenant:7", 4.0, 1.0), ("tenant:9", 0.0, 0.0)],
    ]
    assert waited == [2.0, 2.0, 2.0]


def test_rates_of_the_nodes_of_one(rounds):
    happens, _ = rounds
    observer = fleet()
    happens[:] = [goes_on(observer)]
    status, environment = run("throttle", "watch", "tenant:7", "--format", "json", observer=observer)
    assert status == 0
    first, second = documents(environment)
    assert {node["admitted_per_second"] for node in first["nodes"]} == {None}
    assert [(node["node"], node["admitted_per_second"]) for node in second["nodes"]] == [
        ("relay-0-1", 4.0),
        ("relay-0-2", 0.0),
    ]
    assert (second["admitted_per_second"], second["refused_per_second"]) == (4.0, 1.0)


def test_plain_blocks(rounds):
    happens, _ = rounds
    observer = fleet()
    happens[:] = [goes_on(observer)]
    _, environment = run("throttle", "watch", "--top", "1", observer=observer)
    first, second, end = environment.output.split("\n\n")
    assert end == ""
    assert [line.split()[-2:] for line in first.splitlines()] == [["Admitted/s", "Refused/s"], ["-", "-"]]
    assert second.splitlines()[1].split()[-2:] == ["4.0", "1.0"]


def test_tables_that_are_kept(rounds):
    happens, _ = rounds
    observer = fleet()
    happens[:] = [goes_on(observer)]
    _, environment = run(
        "throttle", "watch", "domain:yahoo.com", "--format", "table", observer=observer, width=100
    )
    assert environment.output.count("domain:yahoo.com  1000/hr, set by hand") == 2
    assert environment.output.splitlines()[-2].split() == [
        "Total",
        "3",
        "81",
        "100.0%",
        "80",
        "5",
        "4.0",
        "1.0",
    ]


def test_a_lone_number_is_seconds(rounds):
    happens, waited = rounds
    happens[:] = []
    assert "tenant:9" in run("throttle", "watch", "0.5")[1].output
    assert waited == [0.5]
    observer = fleet(buckets={"5": BUCKETS["tenant:9"]})
    assert run("throttle", "watch", "5", "2", observer=observer)[1].output.startswith("throttle '5', view")


def test_what_passes_is_waited_out(rounds):
    """A failover, or a bucket that went; the rates span the gap."""
    happens, _ = rounds
    observer = fleet()

    def fail():
        observer.error = UnreachableError("127.0.0.1:7000 does not answer.")
        goes_on(observer)()

    def recover():
        observer.error = None
        goes_on(observer)()

    happens[:] = [fail, recover]
    status, environment = run("throttle", "watch", "tenant:7", "--format", "json", observer=observer)
    assert (status, environment.messages) == (0, "sharedstate-cli: 127.0.0.1:7000 does not answer.\n")
    assert [one["admitted_per_second"] for one in documents(environment)] == [None, 4.0]


def test_an_unknown_name_at_the_start_is_an_error(rounds):
    status, environment = run("throttle", "watch", "tenat:7")
    assert (status, environment.output) == (4, "")
    assert "did you mean 'tenant:7'?" in environment.messages


def test_on_a_terminal(terminal):
    for words, seen in ((("tenant:*", "0.1"), "2 throttles"), (("tenant:7", "0.1"), "Total")):
        watching = terminal("throttle", "watch", *words)
        watching.read_until(seen, times=2)
        assert watching.end(signal.SIGINT) == 0
        assert watching.shown.rindex(FIRST_SCREEN) > watching.shown.rindex(SECOND_SCREEN)


def test_a_list_fits_the_screen(terminal):
    watching = terminal("throttle", "watch", "0.1", lines=8)
    watching.read_until("2 of 3 throttles")
    assert watching.end(signal.SIGINT) == 0
