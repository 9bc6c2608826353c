"""Every event is in its window once: through failovers, FLUSHALL, lost answers, and while windows end under load."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Self

import pytest

import sharedstate
from sharedstate.audit.clock import server_time
from sharedstate.audit.places import shard_of
from sharedstate.audit.reading import Question
from sharedstate.audit.series import SeriesSpec
from sharedstate.call import key_slot
from sharedstate.client import State
from sharedstate.errors import LinkError
from sharedstate.keys import Keys
from sharedstate.link.sync import Link
from sharedstate.link.url import parse_url
from sharedstate.local import LocalCluster
from sharedstate.local.admin import ReplyError
from sharedstate.observer import Observer

from ..proxy import proxied
from ..support import need_server, poll
from .fleet import TestMember, Time, run
from .fleet import observer as observer_of

BLOCKS = ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


class Adding:
    """Adds on states of this process until the block ends; counts what it added."""

    def __init__(self, states: list[State], series: str = "spam") -> None:
        self.added = 0
        self._series = series
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(state, random.Random(seed)), daemon=True)
            for seed, state in enumerate(states)
        ]
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _run(self, state: State, chance: random.Random) -> None:
        mine = 0
        while not self._ending.wait(0.005):
            for _ in range(20):
                state.audit.add(self._series, f"10.1.{chance.randrange(3)}.{chance.randrange(256)}")
                mine += 1
        with self._lock:
            self.added += mine


def fleet_of(stack: ExitStack, url: str, monitor: str = "3600,6") -> tuple[list[State], Observer]:
    states = [
        stack.enter_context(sharedstate.connect(url, node=node, member_timeout=3.0, timeout=1.0))
        for node in ("a", "a", "b")
    ]
    for state in states:
        state.audit.define("spam", monitor, "cidr", "cluster")
    return states, stack.enter_context(sharedstate.observe(url, timeout=2.0))


def burst(states: list[State], seed: int, number: int = 300) -> int:
    chance = random.Random(seed)
    for state in states:
        for _ in range(number):
            state.audit.add("spam", f"10.1.{chance.randrange(3)}.{chance.randrange(256)}")
    return len(states) * number


def await_total(observer: Observer, total: Callable[[], int], last: int = 5) -> None:
    def exact() -> bool:
        with suppress(LinkError):
            audit = observer.audit
            found = [audit.count("spam", block, 0, last) for block in BLOCKS[:3]]
            parts = [audit.count("spam", BLOCKS[0], 0, last, node) for node in ("a", "b")]
            below = sum(audit.count("spam", f"10.1.{third}.0/24", 0, last) for third in range(3))
            return found == [total()] * 3 and sum(parts) == below == total()
        return False

    def told() -> str:
        return f"{observer.audit.count('spam', BLOCKS[0], 0, last)} of {total()}"

    with suppress(LinkError):
        poll(exact, 30.0, what=f"every event is counted once ({told()})", interval=0.1)
        return
    poll(exact, 30.0, what="every event is counted once", interval=0.1)


def lose_last_writes(cluster: LocalCluster, slot: int, write: Callable[[], None]) -> None:
    """Kill a slot's primary, and let a replica take over that never got the last acknowledged writes."""
    primary = cluster.primary_of(slot)
    replica = cluster.replica_of(primary)
    cluster.pause(replica)
    primary.call("CLIENT", "KILL", "TYPE", "replica")
    write()
    cluster.kill(primary)
    cluster.resume(replica)

    def taken_over() -> bool:
        with suppress(ReplyError):  # it may have become a primary by itself
            replica.call("CLUSTER", "FAILOVER", "TAKEOVER")
        return replica.role == "primary"

    poll(taken_over, what="the replica takes over")


@pytest.mark.slow
@pytest.mark.parametrize("loaded", [False, True], ids=["idle", "loaded"])
def test_writes_lost_in_a_failover_come_back(
    replicated_cluster: LocalCluster, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, loaded: bool
) -> None:
    monkeypatch.setattr("sharedstate.member.VERIFY_EVERY", 1.0)
    states, observer = fleet_of(stack, replicated_cluster.url)
    total = burst(states, 1)
    await_total(observer, lambda: total)
    spec = observer.audit.spec("spam")
    slot = key_slot(states[0]._keys.audit_registry("spam", 3600, 0))
    for shard in range(
        spec.shards
    ):  # a shard that certainly gets writes: the home of 10.1.0.0/16's addresses
        if states[0].audit._member.store("spam").chains[3600, shard].log:
            slot = key_slot(states[0]._keys.audit_registry("spam", 3600, shard))
    resent = sum(state.audit.metrics.resent for state in states)

    def write() -> None:
        nonlocal total
        total += burst(states, 2)
        for state in states:
            state.flush(5.0)

    if loaded:
        with Adding(states) as adding:
            lose_last_writes(replicated_cluster, slot, write)
        await_total(observer, lambda: total + adding.added)
    else:
        lose_last_writes(replicated_cluster, slot, write)
        await_total(observer, lambda: total)
    assert sum(state.audit.metrics.resent for state in states) > resent, "something was lost"
    assert all(state.audit.metrics.possibly_lost == 0 for state in states)
    assert all(state.audit.metrics.dropped == 0 for state in states)


@pytest.mark.parametrize("loaded", [False, True], ids=["idle", "loaded"])
def test_flushall(
    cluster: LocalCluster, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, loaded: bool
) -> None:
    monkeypatch.setattr("sharedstate.member.VERIFY_EVERY", 0.5)
    states, observer = fleet_of(stack, cluster.url)
    total = burst(states, 3)
    await_total(observer, lambda: total)
    if loaded:
        with Adding(states) as adding:
            cluster.flush_all()
            poll(lambda: all(state.audit.metrics.resent for state in states))
        await_total(observer, lambda: total + adding.added)
    else:
        cluster.flush_all()
        await_total(observer, lambda: total)
    poll(
        lambda: [spec.name for spec in observer.audit.series()] == ["spam"],
        what="the series is registered again",
    )
    assert all(state.audit.metrics.possibly_lost == 0 for state in states)


@pytest.mark.slow
def test_slots_that_move_under_load(cluster: LocalCluster, stack: ExitStack) -> None:
    states, observer = fleet_of(stack, cluster.url)
    total = burst(states, 1)
    slots = {key_slot(states[0]._keys.audit_registry("spam", 3600, shard)) for shard in range(16)}
    with Adding(states) as adding:
        for slot in slots:
            home = cluster.primary_of(slot)
            away = next(node for node in cluster.nodes if node is not home)
            with cluster.migrating(slot, away, moved=0.5):
                total += burst(states, slot, 30)
            cluster.migrate_slot(slot, home)
    await_total(observer, lambda: total + adding.added)


@pytest.mark.slow
def test_windows_that_end_under_load_lose_nothing(cluster: LocalCluster, stack: ExitStack) -> None:
    states, observer = fleet_of(stack, cluster.url, "1,300 2,150")
    with Adding(states) as adding:
        poll(
            lambda: observer.audit.windows("spam", "0.0.0.0/0")[1:5].count(0) == 0,
            20.0,
            what="several windows ended",
        )
    await_total(observer, lambda: adding.added, 299)
    assert observer.audit.count("spam", "0.0.0.0/0", 0, 149, monitor=2) == adding.added
    assert all(state.audit.metrics.dropped == 0 for state in states)


@pytest.mark.slow
def test_answers_that_get_lost(cluster: LocalCluster, stack: ExitStack) -> None:
    """Connections are cut with calls on their way, again and again."""
    through = stack.enter_context(proxied(cluster))
    states, observer = fleet_of(stack, through.url)
    with Adding(states) as adding:
        for _ in range(20):
            published = [state.audit.metrics.published for state in states]
            for proxy in through.proxies:
                proxy.cut_all()
            poll(
                lambda before=published: all(  # type: ignore[misc]
                    state.audit.metrics.published > n for state, n in zip(states, before, strict=True)
                )
            )
    await_total(observer, lambda: adding.added)


def test_what_happened_before_redis_came_back_is_in_its_own_window(cluster: LocalCluster) -> None:
    link = Link.open(parse_url(cluster.url))
    try:
        keys = Keys("late")
        (now,) = link.execute([server_time(keys)])
        time = Time(now / 1000)
        spec = SeriesSpec.make("late", "300,3", "cidr", "cluster")
        member = TestMember(link, keys, "a", time, spec)
        for _ in range(3):
            member.add("10.0.0.1", 1)
            time.now += 300
        member.add("10.0.0.1", 1)
        assert not member.publish(lambda: "unsent")
        time.now += 300
        assert member.publish()

        reader = observer_of(keys, time)
        (found,) = run(link, reader.counts([Question("late", "10.0.0.1", 0, 2)]))
        assert found == [0, 1, 1], (
            "each event is in the window it happened in; the older ones are out of the series"
        )
    finally:
        link.close()


def test_redis_away_for_longer_than_the_series_lasts(cluster: LocalCluster) -> None:
    link = Link.open(parse_url(cluster.url))
    try:
        keys = Keys("away")
        (now,) = link.execute([server_time(keys)])
        time = Time(now / 1000)
        spec = SeriesSpec.make("away", "300,3", "cidr", "cluster")
        member = TestMember(link, keys, "a", time, spec)
        member.add("10.0.0.1", 5)
        member.add("10.0.0.2", 2)
        time.now += 300 * 6
        member.add("10.0.0.1", 1)
        assert member.publish()
        assert member.core.metrics.dropped == 7
        assert member.core.metrics.published == 3  # one address in its three trees
    finally:
        link.close()


@pytest.mark.parametrize("type_", ["cidr", "cidr_ipv6", "string"])
def test_too_much_waits(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch, type_: str) -> None:
    """Past the bound keys become coarser and totals stay right."""
    monkeypatch.setattr("sharedstate.audit.store.WAITING_LIMIT", 600)
    link = Link.open(parse_url(cluster.url))
    try:
        keys = Keys("much")
        (now,) = link.execute([server_time(keys)])
        time = Time(now / 1000)
        spec = SeriesSpec.make(f"much-{type_}", "300,3", type_, "cluster", 2)
        member = TestMember(link, keys, "a", time, spec)
        for number in range(3000):
            key = {
                "cidr": f"10.0.{number // 200}.{number % 200}",
                "cidr_ipv6": f"2001:db8:0:{number // 100:x}::{number % 100 + 1:x}",
                "string": f"name-{number}",
            }[type_]
            member.add(key, 1)
        assert not member.publish(lambda: "unsent")
        waiting = sum(chain.waiting_changes() for chain in member.store.chains.values())
        assert waiting <= 600
        assert member.core.metrics.merged > 0
        while not member.publish():
            pass

        reader = observer_of(keys, time)
        pages = run(link, reader.reader(spec.name, 0, None, None))
        total = 0
        while not pages.done:
            total += sum(count for _, count in run(link, pages.next()))
        assert total == 3000
        if type_ != "string":
            blocks = {"cidr": ("0.0.0.0/0", "10.0.0.0/16"), "cidr_ipv6": ("::/0", "2001:db8::/32")}[type_]
            found = run(link, reader.counts([Question(spec.name, block) for block in blocks]))
            assert found == [[3000], [3000]]
    finally:
        link.close()


def test_a_log_that_does_not_reach_back_far_enough_says_so(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sharedstate.audit.store.LOG_LIMIT", 30)
    link = Link.open(parse_url(cluster.url))
    try:
        keys = Keys("short")
        (now,) = link.execute([server_time(keys)])
        member = TestMember(
            link, keys, "a", Time(now / 1000), SeriesSpec.make("short", "300,3", "string", "cluster", 1)
        )
        names = (f"name-{number}" for number in itertools.count())
        for _ in range(10):
            for _ in range(10):
                member.add(next(names), 1)
            assert member.publish()
        assert len(member.store.chains[300, 0].log) == 3
        cluster.flush_all()
        member.verify()
        assert member.core.metrics.possibly_lost == 70
        assert member.publish()
        assert member.store.chains[300, 0].believed == 10
        member.add("name-1", 1)
        assert member.publish()
        assert not member.store.due
    finally:
        link.close()


@pytest.mark.slow
def test_one_hung_primary_does_not_hold_up_the_others() -> None:
    need_server()
    with (
        # The other primaries must not take it for dead within the test: then they would refuse everything.
        LocalCluster(primaries=3, replicas=0, node_timeout_ms=60_000) as cluster,
        sharedstate.connect(cluster.url, node="a", member_timeout=3.0) as state,
        sharedstate.observe(cluster.url) as observer,
    ):
        state.audit.define("words", "3600,2", "string", "cluster")
        fleet = cluster.primary_of(key_slot(state._keys.live))
        hung = next(node for node in cluster.nodes if node is not fleet)
        words = [f"word-{number}" for number in range(100)]

        def home(word: str) -> object:
            shard = shard_of(word.encode(), 16)
            return cluster.primary_of(key_slot(state._keys.audit_registry("words", 3600, shard)))

        awake = [word for word in words if home(word) is not hung]
        assert 0 < len(awake) < len(words)
        cluster.pause(hung)
        try:
            for word in words:
                state.audit.add("words", word)
            poll(lambda: all(observer.audit.count("words", word, 0, 1) == 1 for word in awake), 15)
            for word in words:
                state.audit.add("words", word)
            poll(lambda: all(observer.audit.count("words", word, 0, 1) == 2 for word in awake), 15)
        finally:
            cluster.resume(hung)
        poll(lambda: all(observer.audit.count("words", word, 0, 1) == 2 for word in words), 15)
        assert state.metrics.rejoins == 0
