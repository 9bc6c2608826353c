"""The breaker: one deadline for a hung server, one probe at a time, pauses that double."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedstate.breaker import FORGET_AFTER, PAUSES, PROBE_LIMIT, Breaker


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_unknown_server_may_be_asked() -> None:
    breaker = Breaker(Clock())
    assert breaker.allow("a")
    breaker.ok("a")
    assert breaker.allow("a")
    assert breaker.opened == 0


def test_one_failure_sends_everybody_else_away_and_other_servers_do_not_notice() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.failed("a")
    assert not breaker.allow("a")
    assert breaker.allow("b")
    assert breaker.wait("a") == PAUSES[0]
    assert breaker.wait("b") == 0.0
    assert breaker.opened == 1


def test_after_the_pause_one_caller_probes_and_its_success_lets_everybody_in() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.failed("a")
    clock.now += PAUSES[0]
    assert [breaker.allow("a") for _ in range(3)] == [True, False, False]
    breaker.ok("a")
    assert all(breaker.allow("a") for _ in range(3))
    breaker.failed("a")
    assert breaker.wait("a") == pytest.approx(PAUSES[0]), "a success makes the next pause a first one"
    assert breaker.opened == 2


def test_pauses_double_up_to_the_longest() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.failed("a")
    pauses = []
    for _ in range(7):
        pauses.append(round(breaker.wait("a"), 6))
        clock.now += breaker.wait("a")
        assert breaker.allow("a")
        breaker.failed("a")
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert breaker.opened == 1


def test_callers_that_were_under_way_when_it_opened_do_not_make_the_pause_longer() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(8):
        breaker.failed("a")
    assert breaker.wait("a") == PAUSES[0]


def test_a_probe_that_never_tells_makes_way_for_another() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.failed("a")
    clock.now += PAUSES[0]
    assert breaker.allow("a")
    clock.now += PROBE_LIMIT - 0.001
    assert not breaker.allow("a")
    clock.now += 0.001
    assert breaker.allow("a")


def test_servers_that_went_away_are_forgotten() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for number in range(100):
        breaker.failed(number)
    clock.now += FORGET_AFTER + PAUSES[1]
    breaker.failed("new")
    assert len(breaker._troubles) == 1


def test_of_many_threads_one_probes() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.failed("a")
    clock.now += PAUSES[0]
    start = threading.Barrier(8)
    let_in: list[bool] = []

    def ask() -> None:
        start.wait()
        let_in.append(breaker.allow("a"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(let_in) == [False] * 7 + [True]


@given(st.lists(st.tuples(st.sampled_from(["allow", "ok", "failed"]), st.floats(0, 3)), max_size=60))
def test_it_never_stays_open_longer_than_the_longest_pause_and_probe(steps: list[tuple[str, float]]) -> None:
    """Whatever is told in whatever order, a caller is let in again within a bounded time."""
    clock = Clock()
    breaker = Breaker(clock)
    for step, passed in steps:
        clock.now += passed
        getattr(breaker, step)("a")
        assert breaker.wait("a") <= max(PAUSES[1], PROBE_LIMIT) + 1e-9
    clock.now += max(PAUSES[1], PROBE_LIMIT) + 0.001
    assert breaker.allow("a")
