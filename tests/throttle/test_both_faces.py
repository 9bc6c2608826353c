"""What throttles do on a real cluster, told to both faces."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from sharedstate.call import key_slot
from sharedstate.errors import (
    ClosedError,
    InvalidNameError,
    InvalidThrottleError,
    InvalidValueError,
    UnknownThrottleError,
)
from sharedstate.keys import Keys
from sharedstate.local import LocalCluster
from sharedstate.local.admin import Admin
from sharedstate.local.node import Node
from sharedstate.throttle.spec import parse_spec
from tests.support import poll

from .both import Fleet, fleet

__all__ = ["fleet"]

modes = pytest.mark.parametrize("mode", ["strict", "leased"])


def node_of(cluster: LocalCluster, throttle: str) -> Node:
    """The primary that has a throttle's bucket."""
    return cluster.primary_of(key_slot(Keys("ec_cluster").bucket(throttle)))


def admin(node: Node) -> Admin:
    return Admin("127.0.0.1", node.port)


@modes
def test_as_many_as_the_bucket_holds(fleet: Fleet, url: str, mode: str) -> None:
    throttle = fleet.connect(url).throttle("foo", "30/hr", mode=mode)
    decisions = [throttle.check() for _ in range(31)]
    assert [bool(decision) for decision in decisions] == [True] * 30 + [False]
    last = decisions[-1]
    assert (last.allowed, last.limit, last.remaining, last.throttle) == (False, 30, 0, "foo")
    assert last.decided_by == {"strict": "redis", "leased": "lease"}[mode]
    assert 0 < last.retry_after <= 121
    assert 0 < last.reset_after <= 3601


@modes
def test_the_fleet_shares_it(fleet: Fleet, url: str, mode: str) -> None:
    members = [fleet.connect(url, node=name).throttle("foo", "30/hr", mode=mode) for name in "abc"]
    allowed = sum(bool(member.check()) for _ in range(40) for member in members)
    assert allowed == 30


@modes
def test_costs(fleet: Fleet, url: str, mode: str) -> None:
    throttle = fleet.connect(url).throttle("foo", "10/hr", mode=mode)
    assert [bool(throttle.check(4)) for _ in range(3)] == [True, True, False]
    if mode == "strict":  # leased, the 4 that were refused are booked, and come first
        assert throttle.check(2)
    assert not throttle.check()
    with pytest.raises(InvalidValueError, match="never has 11 tokens at once"):
        throttle.check(11)
    with pytest.raises(InvalidValueError, match="at least 1, not 0"):
        throttle.check(0)
    with pytest.raises(InvalidValueError, match=r"at least 1, not 1\.5"):
        throttle.check(1.5)


@modes
def test_peek_takes_nothing(fleet: Fleet, url: str, mode: str) -> None:
    throttle = fleet.connect(url).throttle("foo", "2/hr", mode=mode)
    assert all(throttle.peek() for _ in range(5))
    assert throttle.check()
    assert throttle.check()
    assert not throttle.peek()


@modes
def test_inc_and_dec(fleet: Fleet, url: str, mode: str) -> None:
    throttle = fleet.connect(url).throttle("foo", "10/hr", mode=mode)
    throttle.inc(10)
    assert not throttle.check()
    throttle.inc(5)
    throttle.dec(7)
    poll(lambda: throttle.check(2), what="what was booked meanwhile is found to be covered")
    assert not throttle.check()


def test_tarpit_waits_in_order(fleet: Fleet, url: str) -> None:
    state = fleet.connect(url)
    throttle = state.throttle("foo", "1/200ms")
    began = time.monotonic()
    assert throttle.tarpit(1.0)
    assert throttle.tarpit(1.0)
    assert throttle.tarpit(1.0)
    assert time.monotonic() - began >= 0.4, "each waited for its own token"
    refused = throttle.tarpit(0.05)
    assert not refused
    assert refused.retry_after > 0.05


@modes
def test_check_all_takes_all_or_nothing(fleet: Fleet, url: str, mode: str) -> None:
    state = fleet.connect(url)
    tenant = state.throttle("tenant:7", "5/hr", mode=mode)
    domain = state.throttle("domain:aol.com", "3/hr", mode=mode)
    state.throttle("global", "100/hr", mode=mode)
    wanted: list[Any] = [("tenant:7", 1), (domain, 1), ("global", 1)]
    decisions = [state.check_all(wanted) for _ in range(5)]
    assert [bool(decision) for decision in decisions] == [True, True, True, False, False]
    if mode == "strict":
        assert decisions[0].throttle == "domain:aol.com", "the one with the least left"
    assert decisions[-1].throttle == "domain:aol.com", "the one that refused"
    assert decisions[-1].retry_after > 0
    assert [bool(tenant.check()) for _ in range(3)] == [True, True, False], "refused ones cost nobody"
    with pytest.raises(UnknownThrottleError, match="did you mean 'global'"):
        state.check_all([("globall", 1)])
    with pytest.raises(InvalidValueError, match="never has 4 tokens"):
        state.check_all([("global", 1), ("domain:aol.com", 4)])


def test_an_existing_throttle_tells_the_spec_in_force(fleet: Fleet, url: str) -> None:
    first = fleet.connect(url, node="a").throttle("foo", "10/hr")
    state = fleet.connect(url, node="b")
    second = state.throttle("foo", "99/hr")
    assert str(second.spec) == "10/hr"
    assert sum(bool(second.check()) for _ in range(20)) == 10
    assert not first.check()
    assert str(fleet.connect(url, node="c").throttle("foo").spec) == "10/hr"
    with pytest.raises(UnknownThrottleError, match="did you mean 'foo'"):
        state.throttle("fooo")


@modes
def test_set_changes_it_for_all_at_once(fleet: Fleet, url: str, mode: str) -> None:
    state = fleet.connect(url)
    throttle = state.throttle("foo", "4/hr", mode=mode)
    while throttle.check():
        pass
    view = fleet.connect(url, node="b").set_throttle("foo", "10/hr")
    assert (str(view.spec), view.by_hand) == ("10/hr", True)

    def allowed() -> bool:
        return bool(throttle.check())

    poll(allowed, what="the lease that was booked under the old spec gives way")
    assert str(throttle.spec) == "10/hr"
    view = state.reset_throttle("foo")
    assert view.left + view.leased >= 9, "full, less what a lease may have reported as spent since"
    with pytest.raises(UnknownThrottleError):
        state.reset_throttle("fooo")
    with pytest.raises(InvalidThrottleError):
        state.set_throttle("foo", "0")


def test_who_took_what(fleet: Fleet, url: str) -> None:
    a, b = fleet.connect(url, node="a"), fleet.connect(url, node="b")
    mine, theirs = a.throttle("foo", "10/hr"), b.throttle("foo", "10/hr", mode="leased")
    for _ in range(3):
        mine.check()
        theirs.check()
    view = a.throttle_view("foo")
    by_node = {holder.node: holder for holder in view.holders}
    assert set(by_node) == {"a", "b"}
    assert by_node["a"].taken == 3
    assert by_node["b"].taken + by_node["b"].held >= 3
    assert view.left + view.leased + view.taken == 10
    assert list(a.throttles()) == ["foo"]
    assert a.throttles("b*") == {}


def test_closing_gives_back(fleet: Fleet, url: str) -> None:
    a, b = fleet.connect(url, node="a"), fleet.connect(url, node="b")
    throttle = a.throttle("foo", "1000/hr", mode="leased")
    for _ in range(10):
        assert throttle.check()
    assert b.throttle_view("foo").leased > 0
    a.close()
    view = b.throttle_view("foo")
    assert (view.left, view.leased) == (990, 0)
    with pytest.raises(ClosedError):
        throttle.check(900)


def test_what_is_not_used_goes_back(fleet: Fleet, url: str) -> None:
    state = fleet.connect(url)
    throttle = state.throttle("foo", "1000/hr", mode="leased")
    for _ in range(10):
        assert throttle.check()
    poll(lambda: state.throttle_view("foo").leased == 0, what="an idle lease is given back")
    assert state.throttle_view("foo").left == 990


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("two words", {}, "throttle name 'two words' is not usable"),
        ("foo", {"mode": "lazy"}, "the mode of throttle 'foo' is 'lazy'; give one of 'strict', 'leased'"),
        (
            "foo",
            {"policy": "shut"},
            "the policy of throttle 'foo' is 'shut'; give one of 'local', 'open', 'closed'",
        ),
        ("foo", {"timeout": 0}, "has a timeout of 0 s; give 0.001 to 60"),
        ("foo", {"epsilon": 1.0}, "has epsilon 1.0; give a number between 0 and 1"),
        ("foo", {"spec": "0/1"}, "its number is zero"),
    ],
)
def test_bad_settings(fleet: Fleet, url: str, name: str, options: dict[str, Any], why: str) -> None:
    state = fleet.connect(url)
    with pytest.raises((InvalidValueError, InvalidNameError), match=why):
        state.throttle(name, **{"spec": "1/1", **options})
    assert state.throttles() == {}


def test_defaults_come_from_the_configuration(fleet: Fleet, url: str, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        '[cluster]\nthrottle_mode = "leased"\nthrottle_policy = "open"\nthrottle_timeout = 0.2\n'
    )
    throttle = fleet.connect(url, config=config).throttle("foo", "10/hr")
    assert throttle.check().decided_by == "lease"
    assert throttle._bucket.policy == "open"
    assert throttle._bucket.timeout == 0.2


# -- when Redis does not answer ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "decider", "allowed"), [("local", "local", 5), ("open", "open", 50), ("closed", "closed", 0)]
)
@modes
def test_a_hung_primary_costs_one_deadline(
    fleet: Fleet, cluster: LocalCluster, mode: str, policy: str, decider: str, allowed: int
) -> None:
    a, b = fleet.connect(cluster.url, node="a"), fleet.connect(cluster.url, node="b")
    throttle = a.throttle("foo", "10/hr", mode=mode, policy=policy, timeout=0.3)
    poll(lambda: a.inner._engine.live_members == 2 if fleet.kind == "aio" else a._engine.live_members == 2)
    engine = (a.inner if fleet.kind == "aio" else a)._throttles.engine
    node = node_of(cluster, "foo")
    cluster.pause(node)
    try:
        decisions = [throttle.check() for _ in range(50)]
        assert engine.failures <= 2, "one question went unanswered, and perhaps a probe"
    finally:
        cluster.resume(node)
    assert {decision.decided_by.value for decision in decisions} == {decider}
    assert sum(map(bool, decisions)) == allowed
    if not allowed:
        assert decisions[-1].retry_after > 0
    poll(lambda: throttle.peek().decided_by in ("redis", "lease"), what="Redis decides again by itself")
    poll(lambda: throttle.check().decided_by in ("redis", "lease"), what="and is told")
    # What was let pass meanwhile is charged, below zero by one capacity at most.
    left = b.throttle_view("foo")
    assert left.left + left.leased <= max(10 - allowed, -10) + 1


def test_other_primaries_go_on(fleet: Fleet, cluster: LocalCluster) -> None:
    state = fleet.connect(cluster.url)
    hung = state.throttle("t0", "10/hr", timeout=0.1)
    node = node_of(cluster, "t0")
    name = next(f"t{number}" for number in range(1, 100) if node_of(cluster, f"t{number}") != node)
    well = state.throttle(name, "10/hr")
    cluster.pause(node)
    try:
        assert hung.check().decided_by == "local"
        assert well.check().decided_by == "redis"
    finally:
        cluster.resume(node)


@pytest.mark.parametrize(
    ("setting", "bad", "good"),
    [("maxmemory", "1", "0"), ("min-replicas-to-write", "3", "0")],
    ids=["memory", "replicas"],
)
def test_a_server_that_refuses_writes(
    fleet: Fleet, cluster: LocalCluster, setting: str, bad: str, good: str
) -> None:
    state = fleet.connect(cluster.url)
    throttle = state.throttle("foo", "10/hr")
    with admin(node_of(cluster, "foo")) as server:
        server.call("CONFIG", "SET", setting, bad)
        try:
            assert throttle.check().decided_by == "local"
        finally:
            server.call("CONFIG", "SET", setting, good)
    poll(lambda: throttle.check().decided_by == "redis", what="Redis decides again by itself")


@modes
def test_scripts_that_are_flushed_are_loaded_again(fleet: Fleet, cluster: LocalCluster, mode: str) -> None:
    throttle = fleet.connect(cluster.url).throttle("foo", "1000/hr", mode=mode)
    for _ in range(5):
        cluster.flush_scripts()
        decision = throttle.check()
        assert decision
        assert decision.decided_by in ("redis", "lease")


@modes
def test_a_slot_that_moves(fleet: Fleet, cluster: LocalCluster, mode: str) -> None:
    throttle_member = fleet.connect(cluster.url)
    throttle = throttle_member.throttle("foo", "1000/hr", mode=mode, timeout=2.0)
    slot = key_slot(Keys("ec_cluster").bucket("foo"))
    home = cluster.primary_of(slot)
    away = next(node for node in cluster.nodes if node is not home)
    allowed = sum(bool(throttle.check()) for _ in range(10))
    with cluster.migrating(slot, away, moved=1.0):
        allowed += sum(bool(throttle.check()) for _ in range(10))
    allowed += sum(bool(throttle.check()) for _ in range(10))
    assert allowed == 30
    assert throttle.counts["local"].allowed == 0
    reader = fleet.connect(cluster.url, node="b")
    throttle_member.close()
    view = reader.throttle_view("foo")
    assert (view.left, view.leased) == (970, 0)
    cluster.migrate_slot(slot, home)


def test_a_rate_is_kept_over_an_outage(fleet: Fleet, cluster: LocalCluster) -> None:
    """FLUSHALL: the bucket starts full once more, and no more than that."""
    state = fleet.connect(cluster.url)
    throttle = state.throttle("foo", "10/hr")
    assert sum(bool(throttle.check()) for _ in range(20)) == 10
    cluster.flush_all()
    assert sum(bool(throttle.check()) for _ in range(20)) == 10
    assert throttle.spec == parse_spec("10/hr")


def test_numbers_to_export(fleet: Fleet, url: str) -> None:
    state = fleet.connect(url)
    strict, leased = state.throttle("s", "3/hr"), state.throttle("l", "3/hr", mode="leased")
    for _ in range(5):
        strict.check(), leased.check()
    stats = state.throttle_stats()
    assert (stats.decided["redis"].allowed, stats.decided["redis"].refused) == (3, 2)
    assert (stats.decided["lease"].allowed, stats.decided["lease"].refused) == (3, 2)
    assert (stats.owed, stats.failures, stats.breaker_opened, stats.last_error) == (0, 0, 0, "")


@modes
def test_a_forked_child_spends_nothing_of_its_parent(url: str, mode: str) -> None:
    import os

    import sharedstate

    with sharedstate.observe(url) as parent:
        throttle = parent.throttle("foo", "1000/hr", mode=mode)
        for _ in range(10):
            assert throttle.check()
        pid = os.fork()
        if not pid:
            try:
                throttle.check()
            except ClosedError as error:
                os._exit(7 if "connect in the child" in str(error) else 8)
            os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert throttle.check()


def test_a_spec_of_another_version_stops_nobody(fleet: Fleet, cluster: LocalCluster) -> None:
    state = fleet.connect(cluster.url)
    throttle = state.throttle("foo", "10/hr")
    assert throttle.check()
    with admin(node_of(cluster, "foo")) as server:
        server.call("HSET", Keys("ec_cluster").bucket("foo"), "s", "1 360000000 1 10 10/fortnight")
    assert throttle.check()


@modes
def test_a_cost_beyond_a_spec_set_lower_is_refused(fleet: Fleet, url: str, mode: str) -> None:
    state = fleet.connect(url)
    throttle = state.throttle("foo", "10/hr", mode=mode)
    assert throttle.check(2)
    state.set_throttle("foo", "2/hr")
    for _ in range(3):
        refused = throttle.check(5)
        assert not refused
        assert refused.retry_after > 0


def test_what_happened_is_counted_whatever_its_size(fleet: Fleet, url: str) -> None:
    throttle = fleet.connect(url).throttle("foo", "30/hr")
    throttle.inc(31)
    assert throttle.peek().remaining == -1
    throttle.dec(31)
    assert throttle.check(30)


def test_news_is_told_though_nobody_asks(fleet: Fleet, cluster: LocalCluster) -> None:
    a, b = fleet.connect(cluster.url, node="a"), fleet.connect(cluster.url, node="b")
    throttle = a.throttle("foo", "10/hr", policy="open", timeout=0.2)
    node = node_of(cluster, "foo")
    cluster.pause(node)
    try:
        assert [bool(throttle.check()) for _ in range(4)] == [True] * 4
    finally:
        cluster.resume(node)
    poll(lambda: b.throttle_view("foo").left <= 6, what="what was let pass is charged")
