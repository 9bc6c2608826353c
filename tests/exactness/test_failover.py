"""Acknowledged writes that a failover, a migration or FLUSHALL takes away come back by themselves."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

import sharedstate
from sharedstate.call import key_slot
from sharedstate.client import State
from sharedstate.local import LocalCluster
from sharedstate.local.admin import ReplyError
from sharedstate.observer import Observer

from ..support import poll
from .harness import Load, await_exact, change, own_truths


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def fleet_of(stack: ExitStack, cluster: LocalCluster) -> tuple[list[State], Observer]:
    states = [
        stack.enter_context(sharedstate.connect(cluster.url, node=node, member_timeout=3.0, timeout=1.0))
        for node in ("a", "a", "b")
    ]
    return states, stack.enter_context(sharedstate.observe(cluster.url, timeout=2.0))


def spread(states: list[State], seed: int, events: int = 300) -> None:
    chance = random.Random(seed)
    for state in states:
        for _ in range(events):
            change(state, chance)


def lose_last_writes(cluster: LocalCluster, slot: int, states: list[State], seed: int) -> None:
    """Kill a slot's primary, and let a replica take over that never got the last acknowledged writes."""
    primary = cluster.primary_of(slot)
    replica = cluster.replica_of(primary)
    cluster.pause(replica)  # so that it cannot connect again
    primary.call("CLIENT", "KILL", "TYPE", "replica")
    spread(states, seed)
    for state in states:
        state.flush(5.0)
    cluster.kill(primary)
    cluster.resume(replica)

    def taken_over() -> bool:
        with suppress(ReplyError):  # it may have become a primary by itself
            replica.call("CLUSTER", "FAILOVER", "TAKEOVER")
        return replica.role == "primary"

    poll(taken_over, what="the replica takes over")


@pytest.mark.slow
@pytest.mark.parametrize("place", ["shard", "fleet"])
@pytest.mark.parametrize("loaded", [False, True], ids=["idle", "loaded"])
def test_writes_lost_in_a_failover_come_back(
    replicated_cluster: LocalCluster,
    stack: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    loaded: bool,
) -> None:
    monkeypatch.setattr("sharedstate.member.VERIFY_EVERY", 1.0)
    states, observer = fleet_of(stack, replicated_cluster)
    fleet_primary = replicated_cluster.primary_of(key_slot(states[0]._keys.live))
    slots = [key_slot(states[0]._keys.live)]
    if place == "shard":  # one that no heartbeat goes to: only verifying notices there
        slots = [key_slot(states[0]._keys.registry("inbound_cidr", shard)) for shard in range(16)]
        slots = [slot for slot in slots if replicated_cluster.primary_of(slot) is not fleet_primary]
    spread(states, 1)
    await_exact(replicated_cluster, observer, lambda: own_truths(states))
    if loaded:
        with Load(states):
            lose_last_writes(replicated_cluster, slots[0], states, 2)
        await_exact(replicated_cluster, observer, lambda: own_truths(states), 30.0)
    else:
        lose_last_writes(replicated_cluster, slots[0], states, 2)
        acknowledged = sum(state.metrics.published for state in states)
        await_exact(replicated_cluster, observer, lambda: own_truths(states), 30.0)
        if place == "shard":
            assert sum(state.metrics.published for state in states) > acknowledged, "something was lost"


@pytest.mark.slow
def test_planned_failover_under_load(replicated_cluster: LocalCluster, stack: ExitStack) -> None:
    states, observer = fleet_of(stack, replicated_cluster)
    with Load(states):
        for primary in replicated_cluster.nodes[:3]:
            replicated_cluster.failover(replicated_cluster.replica_of(primary))
    await_exact(replicated_cluster, observer, lambda: own_truths(states))


@pytest.mark.slow
def test_slots_that_move_under_load(cluster: LocalCluster, stack: ExitStack) -> None:
    states, observer = fleet_of(stack, cluster)
    keys = states[0]._keys
    slots = {key_slot(keys.registry("inbound_cidr", shard)) for shard in range(4)} | {key_slot(keys.live)}
    homes = {slot: cluster.primary_of(slot) for slot in slots}
    with Load(states):
        for slot, home in homes.items():
            away = next(node for node in cluster.nodes if node is not home)
            with cluster.migrating(slot, away, moved=0.5):
                spread(states, slot, 100)
        await_published(states)
        for slot, home in homes.items():
            cluster.migrate_slot(slot, home)
    await_exact(cluster, observer, lambda: own_truths(states))


def await_published(states: list[State]) -> None:
    """Wait until each state has had something more acknowledged."""
    before = [state.metrics.published for state in states]
    poll(lambda: all(state.metrics.published > n for state, n in zip(states, before, strict=True)))


@pytest.mark.parametrize("loaded", [False, True], ids=["idle", "loaded"])
def test_flushall(
    cluster: LocalCluster, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, loaded: bool
) -> None:
    monkeypatch.setattr("sharedstate.member.VERIFY_EVERY", 1.0)
    states, observer = fleet_of(stack, cluster)
    spread(states, 3)
    await_exact(cluster, observer, lambda: own_truths(states))
    if loaded:
        with Load(states):
            cluster.flush_all()
            await_published(states)
    else:
        cluster.flush_all()
    await_exact(cluster, observer, lambda: own_truths(states))
    assert all(state.metrics.rejoins for state in states)


def test_one_primary_flushed(
    cluster: LocalCluster, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sharedstate.member.VERIFY_EVERY", 0.5)
    states, observer = fleet_of(stack, cluster)
    for number, node in enumerate(cluster.nodes):
        spread(states, number)
        node.call("FLUSHALL")
        await_exact(cluster, observer, lambda: own_truths(states))
