"""One bucket on a real server, in made-up time: what is charged, what comes back, who waits for whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sharedstate.link.sync import Link
from sharedstate.objects import throttle as calls
from sharedstate.objects.throttle import How
from sharedstate.throttle.bucket import Bucket
from sharedstate.throttle.decision import Policy
from sharedstate.throttle.lease import LEASE_TIME
from sharedstate.throttle.spec import parse_spec

from .simulation import KEY, KEYS, NAME, Simulation, made_up_clock, plain

__all__ = ["made_up_clock"]

SECOND = 10**6
HOUR = 3600 * SECOND


@pytest.fixture
def start(link: Link, made_up_clock: Callable[[Simulation], Simulation]) -> Callable[[str], Simulation]:
    return lambda spec: made_up_clock(Simulation(link, parse_spec(spec)))


def strict(sim: Simulation, who: str = "s#1#x") -> Bucket:
    return Bucket(NAME, KEY, who, sim.spec, Policy.CLOSED, 0.05, lambda: 1)


def dump(sim: Simulation) -> bytes:
    (stored,) = sim.link.execute([plain("DUMP", KEY)])
    return bytes(stored)


def restore(sim: Simulation, stored: bytes) -> None:
    """What a failover to a replica that lacked the last writes does."""
    assert sim.link.execute([plain("RESTORE", KEY, 0, stored, "REPLACE")]) == [b"OK"]


def test_tokens_come_back_evenly(start: Callable[[str], Simulation]) -> None:
    sim = start("10/1")
    bucket = strict(sim)
    assert [sim.take(bucket).got for _ in range(11)] == [1] * 10 + [0]
    assert sim.take(bucket).wait == 100_000
    sim.advance(99_999)
    assert (sim.take(bucket).got, sim.take(bucket).wait) == (0, 1)
    sim.advance(1)
    assert [sim.take(bucket).got for _ in range(2)] == [1, 0]
    sim.advance(10 * SECOND)
    assert sim.take(bucket, 0).left == 10, "full and no fuller"


def test_a_burst_of_its_own(start: Callable[[str], Simulation]) -> None:
    sim = start("60/min,max_burst=1")
    bucket = strict(sim)
    taken = [sim.take(bucket).got for _ in range(2)]
    for _ in range(3):
        sim.advance(SECOND)
        taken += [sim.take(bucket).got, sim.take(bucket).got]
    assert taken == [1, 0] * 4


def test_parts_of_a_token_are_kept_over_odd_ticks(start: Callable[[str], Simulation]) -> None:
    sim = start("999983/day,max_burst=3")
    bucket = strict(sim)
    for _ in range(3):
        sim.take(bucket)
    got = 0
    for _ in range(1000):
        sim.advance(86_401)  # about a token each time
        got += sim.take(bucket).got
    assert got == 1000 * 86_401 * 999_983 // (86_400 * SECOND)


@pytest.mark.parametrize(
    ("how", "wanted", "got", "left"),
    [
        (How.ALL, 4, 0, 3),
        (How.SOME, 4, 3, 0),
        (How.FORCE, 4, 4, -1),
        (How.FORCE, 10, 10, -7),
        (How.BACK, 4, 4, 7),
        (How.BACK, 10, 10, 10),
    ],
)
def test_ways_to_take(start: Callable[[str], Simulation], how: How, wanted: int, got: int, left: int) -> None:
    sim = start("10/1")
    bucket = strict(sim)
    sim.take(bucket, 7)
    taken = sim.take(bucket, wanted, how)
    assert (taken.got, taken.left) == (got, left)


def test_a_debt_is_bounded_by_the_capacity(start: Callable[[str], Simulation]) -> None:
    sim = start("10/1")
    bucket = strict(sim)
    for _ in range(5):
        sim.take(bucket, 10, How.FORCE)
    assert sim.take(bucket, 0).left == -10


def test_takers_ahead_of_time_queue_up(start: Callable[[str], Simulation]) -> None:
    sim = start("1/1")
    bucket = strict(sim)
    waits = [sim.take(bucket, 1, How.AHEAD, 3.5) for _ in range(5)]
    assert [(taken.got, taken.wait) for taken in waits] == [
        (1, 0), (1, SECOND), (1, 2 * SECOND), (1, 3 * SECOND), (0, 4 * SECOND)
    ]  # fmt: skip
    sim.check_bound()


def test_what_a_failover_forgot_is_charged_again(start: Callable[[str], Simulation]) -> None:
    sim = start("10/1")
    first, second = strict(sim, "a#1#x"), strict(sim, "b#2#x")
    sim.take(first), sim.take(second)
    stored = dump(sim)
    for _ in range(4):
        assert sim.take(first).got == 1
    restore(sim, stored)
    assert sim.take(second, 0).left == 8, "the server does not know better"
    assert sim.take(first, 0).left == 4, "the one that took them does"
    assert sim.take(second, 0).left == 4


def test_a_forgotten_lease_is_charged_again(start: Callable[[str], Simulation]) -> None:
    sim = start("100/1")
    bucket = strict(sim)
    who = sim.join()
    sim.lease(who)
    stored = dump(sim)
    sim.spend(who)
    sim.advance(100)
    sim.lease(who)
    held = sim.members[who].spent
    restore(sim, stored)
    sim.lease(who, 0)
    with sim.as_member(who) as member:
        in_hand = member._here + member._ahead
    assert sim.take(bucket, 0).left + in_hand + held == 100
    sim.check_books()


def test_a_bucket_that_is_lost_starts_full_less_what_is_in_hand(start: Callable[[str], Simulation]) -> None:
    sim = start("100/1")
    who = sim.join()
    for _ in range(6):
        sim.check(who)
    with sim.as_member(who) as member:
        in_hand = member._here
    assert in_hand
    sim.link.execute([plain("DEL", KEY)])
    sim.advance(1)
    flight = sim.request(who, 0)
    assert flight is not None
    sim.carry_out(flight)
    view = sim.look()
    assert view.left + view.leased == 100
    assert view.leased >= in_hand


def test_a_clock_that_steps_back_stops_nothing(start: Callable[[str], Simulation]) -> None:
    sim = start("10/1")
    bucket = strict(sim)
    for _ in range(10):
        sim.take(bucket)
    sim.advance(-HOUR)
    assert sim.take(bucket).got == 0
    sim.advance(100_000)
    assert [sim.take(bucket).got, sim.take(bucket).got] == [1, 0]


def test_a_lease_that_is_over_counts_as_spent(start: Callable[[str], Simulation]) -> None:
    sim = start("1/hr,max_burst=100")
    who = sim.join()
    for _ in range(4):
        sim.check(who)
    assert sim.look().leased > 0
    sim.advance(int(LEASE_TIME * SECOND) + 1)
    spent_there = 100 - sim.look().left
    assert sim.look().leased == 0
    assert sim.spend(who) is None, "and it is over here, too"
    assert spent_there > 4


def test_leases_grow_with_demand_and_go_back_without(start: Callable[[str], Simulation]) -> None:
    sim = start("1000000/1")
    who = sim.join()
    for _ in range(5000):
        assert sim.check(who)
        sim.advance(10)
    requests = sim.members[who]._seq
    assert requests < 12, "a request for each check would be 5000"
    with sim.as_member(who) as member:
        assert member.needs_care(sim.clock()) is False
        sim.advance(int(LEASE_TIME * SECOND * 0.6))
        assert member.needs_care(sim.clock()) is True
    sim.lease(who, 0)  # renewed: it was in use
    sim.advance(int(LEASE_TIME * SECOND * 0.6))
    sim.lease(who, 0)  # given back: it was not
    assert sim.look().leased == 0
    assert sim.look().left == 1_000_000


@pytest.mark.parametrize("epsilon", [0.05, 0.95, 0.999])
@pytest.mark.parametrize("spec", ["100/1", "10/1", "20/1,max_burst=2", "10/1,max_burst=1", "1000/1"])
def test_no_member_starves(start: Callable[[str], Simulation], spec: str, epsilon: float) -> None:
    sim = start(spec)
    members = [sim.join(epsilon=epsilon) for _ in range(5)]
    admitted = dict.fromkeys(members, 0)
    seconds, step = 20, 2_000
    for turn in range(seconds * SECOND // step):
        for who in members if turn % 2 else members[::-1]:
            while sim.check(who):
                admitted[who] += 1
        sim.advance(step)
    sim.check_bound()
    allowance = sim.spec.burst + seconds * sim.spec.rate
    fair = seconds * sim.spec.rate / len(members)
    assert min(admitted.values()) > 0.7 * fair, admitted
    # With a place for each in the bucket nothing is wasted; in a smaller one they wait for each other's news.
    assert sum(admitted.values()) > (0.98 if sim.spec.burst >= 2 * len(members) else 0.6) * allowance - 6


def test_strict_checks_do_not_starve_beside_leases(start: Callable[[str], Simulation]) -> None:
    sim = start("100/1")
    bucket = strict(sim)
    members = [sim.join() for _ in range(4)]
    strictly = 0
    for _ in range(2000):
        for who in members:
            while sim.check(who):
                pass
        strictly += sim.take(bucket).got
        sim.advance(5_000)
    sim.check_bound()
    assert strictly > 0.7 * 1000 / 5


def test_the_first_spec_stays_until_it_is_set(start: Callable[[str], Simulation]) -> None:
    sim = start("10/1")
    assert sim.run(calls.define(KEYS, NAME, sim.spec)) == (True, sim.spec)
    assert sim.run(calls.define(KEYS, NAME, parse_spec("99/1"))) == (False, sim.spec)
    other = Bucket(NAME, KEY, "o#1#x", parse_spec("99/1"), Policy.CLOSED, 0.05, lambda: 1)
    sim.take(other)
    assert other.spec == sim.spec


@pytest.mark.parametrize(
    ("before", "spent", "after", "left"),
    [
        ("10/1", 10, "100/1", 90),
        ("10/1", 3, "10/min", 7),
        ("100/1", 60, "50/1", -10),
        ("100/1", 0, "7/1", 7),
        ("999983/day,max_burst=40", 10, "1/ms,max_burst=5", -5),
    ],
)
def test_a_new_spec_keeps_what_was_spent(
    start: Callable[[str], Simulation], before: str, spent: int, after: str, left: int
) -> None:
    sim = start(before)
    bucket = strict(sim)
    if spent:
        sim.take(bucket, spent)
    sim.run(calls.set_spec(KEYS, NAME, parse_spec(after)))
    taken = sim.take(bucket, 0)
    assert taken.left == left
    assert bucket.spec == parse_spec(after)
    assert sim.look().by_hand


def test_set_twice_is_set_once(start: Callable[[str], Simulation]) -> None:
    sim = start("10/1")
    sim.take(strict(sim), 4)
    assert [sim.run(calls.set_spec(KEYS, NAME, parse_spec("20/1")))[0] for _ in range(2)] == [16, 16]


def test_reset_fills_and_leaves_leases_out(start: Callable[[str], Simulation]) -> None:
    sim = start("100/1")
    who = sim.join()
    sim.take(strict(sim), 50)
    for _ in range(4):
        sim.check(who)
    leased = sim.look().leased
    assert leased
    assert sim.run(calls.reset(KEYS, NAME)) == 100 - leased
    assert sim.run(calls.reset(KEYS, "nobody")) is None


def test_idle_throttles_leave_nothing(start: Callable[[str], Simulation]) -> None:
    sim = start("20/30min")
    sim.take(strict(sim))
    (ttl,) = sim.link.execute([plain("PTTL", KEY)])
    assert 24 * HOUR // 1000 < ttl <= 26 * HOUR // 1000
    sim.run(calls.set_spec(KEYS, NAME, sim.spec))
    assert sim.link.execute([plain("PTTL", KEY)]) == [-1], "set by hand, it stays"
    sim.advance(HOUR)
    sim.take(strict(sim))
    assert sim.link.execute([plain("PTTL", KEY)]) == [-1]


def test_records_of_the_departed_are_dropped(start: Callable[[str], Simulation]) -> None:
    sim = start("10/1")
    gone, here = strict(sim, "gone#1#x"), strict(sim, "here#1#x")
    sim.take(gone)
    who = sim.join()
    sim.lease(who)
    for _ in range(27):
        sim.advance(HOUR)
        sim.take(here)
    assert [holder.who for holder in sim.look().holders] == ["here#1#x"]


def test_a_look_changes_nothing(start: Callable[[str], Simulation]) -> None:
    sim = start("10/1")
    who = sim.join()
    sim.check(who)
    sim.advance(10 * SECOND)
    before = sim.stored()
    view = sim.look()
    assert (view.left, view.leased, view.taken) == (10, 0, 1)
    assert sim.stored() == before


def test_one_that_is_only_refused_says_so_once_a_second(start: Callable[[str], Simulation]) -> None:
    sim = start("1/hr")
    sim.take(strict(sim))
    refused = strict(sim, "r#1#x")
    for _ in range(30):
        sim.take(refused)
        sim.advance(100_000)
    told = {holder.who: holder.refused for holder in sim.look().holders}["r#1#x"]
    assert 20 <= told < 30


def test_a_configured_spec_replaces_another_but_not_one_set_by_hand(
    start: Callable[[str], Simulation],
) -> None:
    sim = start("10/1")
    sim.take(strict(sim), 4)
    wanted = parse_spec("20/1")
    assert sim.run(calls.define(KEYS, NAME, wanted, configured=True)) == (True, wanted)
    assert sim.look().left == 16
    assert sim.run(calls.define(KEYS, NAME, wanted, configured=True)) == (False, wanted)
    by_hand = parse_spec("5/1")
    sim.run(calls.set_spec(KEYS, NAME, by_hand))
    assert sim.run(calls.define(KEYS, NAME, wanted, configured=True)) == (False, by_hand)


def test_one_that_comes_back_after_days_owes_nothing(start: Callable[[str], Simulation]) -> None:
    """Its record was dropped; that is no failover."""
    sim = start("10/1")
    gone, here = strict(sim, "gone#1#x"), strict(sim, "here#1#x")
    who = sim.join()
    for _ in range(30):
        sim.take(gone)
        sim.check(who)
        sim.advance(SECOND)
    for _ in range(30):
        sim.advance(HOUR)
        sim.take(here)
    sim.advance(10 * SECOND)
    assert sim.take(gone).left == 9
    assert sim.check(who)
    assert sim.look().left + sim.look().leased >= 8


@pytest.mark.parametrize(
    ("spec", "cost", "members"), [("10/1", 6, 2), ("10/1", 10, 2), ("10/1", 5, 3), ("30/1", 10, 4)]
)
def test_who_needs_many_tokens_does_not_wait_for_ever(
    start: Callable[[str], Simulation], spec: str, cost: int, members: int
) -> None:
    """Nobody keeps a part of what it needs while another does the same."""
    sim = start(spec)
    admitted = dict.fromkeys([sim.join() for _ in range(members)], 0)
    seconds = 30
    for turn in range(seconds * 200):
        for who in list(admitted) if turn % 2 else list(admitted)[::-1]:
            if sim.check(who, cost):
                admitted[who] += 1
        sim.advance(5_000)
    sim.check_bound()
    possible = seconds * sim.spec.rate / cost
    assert sum(admitted.values()) > 0.6 * possible, admitted
    assert min(admitted.values()) > 0.4 * possible / members, admitted


def test_a_debt_is_charged_once_however_often_it_is_told(start: Callable[[str], Simulation]) -> None:
    sim = start("1000/hr")
    bucket = Bucket(NAME, KEY, "d#1#x", sim.spec, Policy.OPEN, 0.05, lambda: 1)
    for _ in range(10):
        bucket.decide_alone(1)
    questions = [bucket.ask(0) for _ in range(5)]
    answers = [sim.run(call) for call, _ in questions]
    assert [answer.left for answer in answers] == [990] * 5
    for answer, (_, owed) in zip(answers, questions, strict=True):
        bucket.answered(answer, owed, 0)
    assert bucket.owed == 0
    bucket.decide_alone(1)
    assert sim.take(bucket, 0).left == 989
    assert sim.run(questions[0][0]).left == 989, "one that comes late"


def test_a_lease_tells_of_a_debt_once(start: Callable[[str], Simulation]) -> None:
    sim = start("1000/hr")
    who = sim.join()
    sim.lease(who)
    with sim.as_member(who) as member:
        member.policy = Policy.OPEN
        for _ in range(10):
            member.decide_alone(1)
    for _ in range(2):
        flight = sim.request(who, 0)
        assert flight is not None
        sim.carry_out(flight)
        sim.lose(flight)
    sim.lease(who, 0)
    view = sim.look()
    assert view.left + view.leased == 990


def test_a_debt_after_a_smaller_spec_is_bounded(start: Callable[[str], Simulation]) -> None:
    sim = start("1000/1")
    sim.take(strict(sim), 1000)
    sim.run(calls.set_spec(KEYS, NAME, parse_spec("10/hr")))
    assert sim.look().left == -10


def test_a_slower_spec_lives_longer(start: Callable[[str], Simulation]) -> None:
    sim = start("10/1")
    sim.take(strict(sim), 10)
    sim.run(calls.define(KEYS, NAME, parse_spec("10/30day"), configured=True))
    (ttl,) = sim.link.execute([plain("PTTL", KEY)])
    assert ttl > 30 * 24 * HOUR // 1000


def test_strict_checks_go_on_when_the_clock_steps_back_beside_leases(
    start: Callable[[str], Simulation],
) -> None:
    sim = start("100/1")
    bucket = strict(sim)
    members = [sim.join() for _ in range(3)]

    def seconds(number: int) -> int:
        strictly = 0
        for _ in range(number * 200):
            for who in members:
                while sim.check(who):
                    pass
            strictly += sim.take(bucket).got
            sim.advance(5_000)
        return strictly

    assert seconds(5) > 60
    sim.advance(-60 * SECOND)
    sim.offsets[:] = [60 * SECOND] * len(members)  # the members' own clocks go on
    assert seconds(10) > 120


def test_a_look_says_what_a_check_would(start: Callable[[str], Simulation]) -> None:
    sim = start("100/1")
    bucket = strict(sim)
    members = [sim.join() for _ in range(3)]
    agreed = allowed = 0
    for _ in range(1000):
        for who in members:
            while sim.check(who):
                pass
        call, owed = bucket.ask(0)
        looked = bool(bucket.answered(sim.run(call), owed, 0))
        got = sim.take(bucket).got == 1
        agreed += looked is got
        allowed += got
        sim.advance(5_000)
    assert allowed > 100
    assert agreed == 1000


def test_leases_by_the_thousand_lapse(start: Callable[[str], Simulation]) -> None:
    sim = start("1000000/hr")
    spec = sim.spec.wire
    bucket = strict(sim)
    sim.take(bucket)
    for number in range(4100):
        flight = calls.lease(KEY, spec, f"m{number}#1#x", b"", 1, 0, 0, 0, 0, 0, 0, 1, 1, 0.95, 3 * SECOND, 0)
        sim.run(flight)
    sim.advance(10 * SECOND)
    assert sim.take(bucket).got == 1
    assert sim.look().leased == 0
