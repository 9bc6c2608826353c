"""The parts without I/O: what is sent again, redirections, slot tables."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hiredis import ReplyError
from hypothesis import given, settings
from hypothesis import strategies as st

from sharedstate.errors import AmbiguousError, ServerRefusedError, UnreachableError
from sharedstate.link import routing, topology
from sharedstate.link.faults import Failure, Verdict, refusal, verdict
from sharedstate.link.routing import Pursuit, Routes, parse_redirect
from sharedstate.link.topology import back_off, parse_slots, single
from sharedstate.link.url import Address, parse_url

from .calls import count, spread

if TYPE_CHECKING:
    from sharedstate.link.batch import Batch

HERE = Address("10.0.0.1", 7000)
NOT_EXECUTED = [
    "NOSCRIPT x",
    "TRYAGAIN x",
    "CLUSTERDOWN x",
    "MOVED 1 10.0.0.2:7000",
    "ASK 1 10.0.0.3:7000",
    "LOADING x",
]


class Clock:
    """Time that passes when somebody waits, so that a run can be repeated."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@settings(deadline=None)
@given(data=st.data(), repeatable=st.lists(st.booleans(), min_size=1, max_size=6))
def test_no_call_runs_twice_unless_it_may(data: st.DataObject, repeatable: list[bool]) -> None:
    """Whatever breaks, and wherever: a call that may not run twice is carried out at most once."""
    routes = Routes(parse_url("redis://10.0.0.1:7000"))
    routes.install(single("standalone", HERE))
    keys = spread(len(repeatable))
    calls = [count(key, resend=resend) for key, resend in zip(keys, repeatable, strict=True)]
    maybe_run: Counter[str] = Counter()
    clock = Clock()
    with mock.patch.object(routing, "time", clock), mock.patch.object(topology, "time", clock):
        pursuit = Pursuit(routes, calls, 0.3, clock.now + 0.3)
        for step in pursuit.steps():
            if isinstance(step, float):
                clock.now += step
                continue
            for batch in step:
                play(data, batch)
                for place, key in enumerate(commands(batch)):
                    executed = batch.executed(place)
                    answered_no = executed and isinstance(batch.replies[place], ReplyError)
                    if key and executed is not False and not answered_no:
                        maybe_run[key] += 1
    for key, resend, outcome in zip(keys, repeatable, pursuit.outcomes, strict=True):
        assert resend or maybe_run[key] <= 1
        if isinstance(outcome, UnreachableError):
            assert not maybe_run[key], "told as not executed"
        elif isinstance(outcome, AmbiguousError):
            assert maybe_run[key]
        else:
            assert outcome == 1


def play(data: st.DataObject, batch: Batch) -> None:
    """A node's part: some replies, then maybe a broken connection."""
    answered = data.draw(st.integers(0, len(batch.ends)))
    for _ in range(answered):
        refused = data.draw(st.sampled_from([None, *NOT_EXECUTED]))
        batch.replies.append(1 if refused is None else ReplyError(refused))
    least = batch.ends[answered - 1] if answered else 0
    if answered == len(batch.ends):
        batch.sent = len(batch.payload)
        batch.finish()
    else:
        batch.sent = data.draw(st.integers(least, len(batch.payload)))
        batch.finish(Failure("closed the connection"))


def commands(batch: Batch) -> list[str]:
    """The key of each command; empty for ASKING."""
    begins = [0, *batch.ends[:-1]]
    parts = [batch.payload[begin:end] for begin, end in zip(begins, batch.ends, strict=True)]
    return [
        part[part.index(b"ss:{") :].split(b"\r\n")[0].decode() if b"ss:{" in part else "" for part in parts
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MOVED 3999 127.0.0.1:6381", (3999, Address("127.0.0.1", 6381))),
        ("ASK 1 redis-2.example.com:6379", (1, Address("redis-2.example.com", 6379))),
        ("MOVED 2 ::1:7000", (2, Address("::1", 7000))),
        ("MOVED 2 [2001:db8::1]:7000", (2, Address("2001:db8::1", 7000))),
        ("MOVED 3 :7001", (3, Address("10.0.0.1", 7001))),
        ("MOVED 3 ?:7001", (3, Address("10.0.0.1", 7001))),
    ],
)
def test_redirections(text: str, expected: tuple[int, Address]) -> None:
    assert parse_redirect(text, HERE) == expected


def test_slot_tables() -> None:
    reply: list[Any] = [
        [8192, 16382, [b"b.example", 7001, b"id2", [b"ip", b"10.0.0.2"]]],
        [0, 5460, [b"", 7000, b"id1", []], [b"10.0.0.4", 7003, b"id4", []]],
        [5461, 8000, [None, 7002, b"id3", []]],
        [8001, 8191, [b"?", 7005, b"id5", [b"ip", b"10.0.0.5"]]],
    ]
    view = parse_slots(reply, HERE)
    first, second = Address("10.0.0.1", 7000), Address("10.0.0.1", 7002)
    third, fourth = Address("10.0.0.5", 7005), Address("b.example", 7001)
    assert view.primaries == (first, second, third, fourth)
    assert view.replicas == (Address("10.0.0.4", 7003),)
    assert [view.owners[slot] for slot in (0, 5460, 5461, 8001, 8192, 16382)] == [
        first,
        first,
        second,
        third,
        fourth,
        fourth,
    ]
    assert view.owners.count(None) == 1


def test_every_code_has_its_meaning() -> None:
    meanings = {
        "MOVED 1 h:1": Verdict.MOVED,
        "ASK 1 h:1": Verdict.ASK,
        "NOSCRIPT No matching script.": Verdict.NOSCRIPT,
        "BUSY Redis is busy running a script.": Verdict.WAIT,
        "ERR max number of clients reached": Verdict.WAIT,
        "NOREPLICAS Not enough good replicas to write.": Verdict.WAIT,
        "MASTERDOWN Link with MASTER is down": Verdict.REROUTE,
        "READONLY You can't write against a read only replica. script: on @user_script:1.": Verdict.REROUTE,
        "MISCONF Errors writing to the AOF file": Verdict.REFUSED,
        "SSANY of ours": Verdict.REFUSED,
        "ERR anything": Verdict.REFUSED,
        "LONELY": Verdict.REFUSED,
    }
    assert {text: verdict(text) for text in meanings} == meanings


def test_refusals_are_sentences() -> None:
    sha = "0" * 40
    said = {
        f"SSGAP late. script: {sha}, on @user_script:12.": ("SSGAP", "late."),
        "SSGAP late script: on @user_script:1.": ("SSGAP", "late."),
        "LONELY": ("LONELY", "10.0.0.1:7000 refused script x: LONELY."),
        "MISCONF Errors": (
            "MISCONF",
            "10.0.0.1:7000 cannot save its data and takes no writes: see its log and free its disk.",
        ),
    }
    for text, expected in said.items():
        error = refusal(text, HERE, "script x", None)
        assert isinstance(error, ServerRefusedError)
        assert (error.code, str(error)) == expected


@given(st.integers(0, 1000))
def test_pauses_stay_short_and_differ(attempt: int) -> None:
    assert 0.002 <= back_off(attempt) <= 0.1
