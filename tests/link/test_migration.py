"""Slots and primaries that move while calls are under way."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import pytest

from sharedstate.call import run_script
from sharedstate.errors import AmbiguousError, UnreachableError
from tests.support import poll

from .calls import SLOT, count, get, lua, script

if TYPE_CHECKING:
    from sharedstate.local import LocalCluster, Node

    from .faces import Face, OpenLink


def move(cluster: LocalCluster, target: Node) -> None:
    cluster.migrate_slot(SLOT, target)


def other_than(cluster: LocalCluster, node: Node) -> Node:
    return next(each for each in cluster.nodes if each is not node and each.role == "primary")


def test_a_moved_slot_is_followed(face: Face, cluster: LocalCluster) -> None:
    link = face.open(cluster.url)
    assert link.one(count()) == 1
    before = link.disturbances
    source = cluster.primary_of(SLOT)
    target = other_than(cluster, source)
    move(cluster, target)
    try:
        assert link.one(count()) == 2
        assert link.disturbances > before
        assert link.execute([count() for _ in range(10)]) == list(range(3, 13))
    finally:
        move(cluster, source)
    assert link.one(count()) == 13


def test_a_slot_that_is_moving_is_asked_for(face: Face, cluster: LocalCluster) -> None:
    """Keys that are not at the source (any more) are served by the target, by ASK, on one connection."""
    link = face.open(cluster.url)
    keys = [f"ss:{{t}}:{index}" for index in range(20)]
    assert link.execute([count(key) for key in keys]) == [1] * 20
    source = cluster.primary_of(SLOT)
    target = other_than(cluster, source)
    with cluster.migrating(SLOT, target, moved=0.5):
        assert link.execute([count(key) for key in keys]) == [2] * 20
        assert link.execute([count(f"{key}:new") for key in keys]) == [1] * 20
        for key in keys:
            assert link.one(count(key)) == 3
    assert link.execute([get(key) for key in keys]) == [3] * 20
    move(cluster, source)


def test_a_script_over_two_keys_waits_for_the_end_of_the_migration(face: Face, cluster: LocalCluster) -> None:
    link = face.open(cluster.url)
    both = run_script(
        script("return redis.call('INCR', KEYS[1]) + redis.call('INCR', KEYS[2])", "both", 2),
        ["ss:{t}:a", "ss:{t}:new"],
        [],
        decode=int,
        resend=False,
    )
    link.execute([count("ss:{t}:a"), count("ss:{t}:b")])
    source = cluster.primary_of(SLOT)
    target = other_than(cluster, source)
    with cluster.migrating(SLOT, target):
        error = link.one(both, 0.2)
        assert isinstance(error, UnreachableError)
        assert "answered TRYAGAIN" in str(error)
    assert link.one(both) == 3
    move(cluster, source)


@pytest.mark.slow
def test_counts_stay_exact_while_a_slot_moves_under_load(face: Face, cluster: LocalCluster) -> None:
    link = face.open(cluster.url)
    keys = [f"ss:{{t}}:{index}" for index in range(50)]
    for key in keys:
        link.one(lua("return redis.call('SET', KEYS[1], 0)", key))
    source = cluster.primary_of(SLOT)
    target = other_than(cluster, source)
    stop = threading.Event()
    done = [0] * 4
    troubles: list[object] = []

    def work(number: int) -> None:
        while not stop.is_set():
            outcomes = link.execute([count(key) for key in keys])
            troubles.extend(outcome for outcome in outcomes if not isinstance(outcome, int))
            done[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for destination in (target, source, target, source):
        seen = sum(done)
        move(cluster, destination)
        poll(lambda seen=seen: sum(done) > seen + 8)
    stop.set()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert link.execute([get(key) for key in keys]) == [sum(done)] * 50


def sum_of_outcomes(link: OpenLink, stop: threading.Event, told: list[int], lost: list[str]) -> None:
    while not stop.is_set():
        outcome = link.one(count(), 10.0)
        if isinstance(outcome, int):
            told.append(outcome)
        else:
            assert isinstance(outcome, AmbiguousError), outcome
            lost.append(str(outcome))


@pytest.mark.slow
def test_a_failover_is_bridged(face: Face, replicated_cluster: LocalCluster) -> None:
    cluster = replicated_cluster
    link = face.open(cluster.url)
    victim = cluster.primary_of(SLOT)
    replica = cluster.replica_of(victim)
    stop = threading.Event()
    told: list[int] = []
    lost: list[str] = []
    thread = threading.Thread(target=sum_of_outcomes, args=(link, stop, told, lost))
    thread.start()
    poll(lambda: len(told) > 50)
    before, disturbances = len(told), link.disturbances
    cluster.kill(victim)
    poll(lambda: len(told) > before + 50, 20.0)
    stop.set()
    thread.join()
    assert len(lost) <= 3, f"only calls that were under way while the server died may be in doubt: {lost}"
    assert link.disturbances > disturbances
    assert replica.address in link.topology.primaries
    assert told[-1] >= len(told) - 1, "nothing that was told twice"
    assert len(set(told)) >= len(told) - 1


@pytest.mark.slow
def test_a_primary_that_hangs_is_left(face: Face, replicated_cluster: LocalCluster) -> None:
    """Repeatable calls go to the new primary; no need to wait for the old one to fall."""
    cluster = replicated_cluster
    link = face.open(cluster.url)
    assert link.one(count()) == 1
    victim = cluster.primary_of(SLOT)
    cluster.pause(victim)
    try:
        assert link.one(get(), 15.0) in (0, 1)
        assert victim.address not in link.topology.primaries
    finally:
        cluster.resume(victim)


@pytest.mark.slow
def test_a_manual_failover_is_followed(face: Face, replicated_cluster: LocalCluster) -> None:
    cluster = replicated_cluster
    link = face.open(cluster.url)
    assert link.execute([count() for _ in range(10)]) == list(range(1, 11))
    cluster.failover(cluster.replica_of(cluster.primary_of(SLOT)))
    assert link.execute([count() for _ in range(10)]) == list(range(11, 21))


def test_a_cluster_that_is_down_is_waited_for(face: Face, cluster: LocalCluster) -> None:
    link = face.open(cluster.url)
    assert link.one(count()) == 1
    node = cluster.primary_of(SLOT)
    node.call("CLUSTER", "DELSLOTS", SLOT)
    try:
        error = link.one(count(), 0.2)
        assert isinstance(error, UnreachableError)
        # The node itself says the first, the table the second, and nodes that have not heard of it the third.
        assert re.search(rf"answered CLUSTERDOWN|no node serves slot {SLOT}|answered MOVED", str(error))
    finally:
        node.call("CLUSTER", "ADDSLOTS", SLOT)
    assert link.one(count(), 10.0) >= 1
