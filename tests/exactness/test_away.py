"""While Redis is away events go on in memory, bounded by what there is to count, and are exact afterwards."""

from __future__ import annotations

import random

import pytest

import sharedstate
from sharedstate.client import State
from sharedstate.local import LocalCluster

from ..proxy import proxied
from ..support import poll
from .harness import await_exact, change, own_truths


def waiting(state: State) -> int:
    """Fields and items that wait to be published."""
    return sum(
        len(store._changed) + sum(len(shard.dirty) for shard in store.shards)
        for store in state._stores.values()
    )


def count_while_away(state: State) -> None:
    """20,000 events, which end though nobody answers; then failures are seen and the rest stays bounded."""
    chance = random.Random(5)
    for _ in range(20_000):
        change(state, chance)
    known = sum(len(store._counts) for store in state._stores.values())
    bound = known * 18  # an IPv6 address has 17 fields, and may wait as an item once more
    failures = state.metrics.failures
    poll(lambda: state.metrics.failures >= failures + 2, what="publishing fails")
    for _ in range(20_000):
        change(state, chance)
    known = sum(len(store._counts) for store in state._stores.values())
    bound = known * 18
    assert 0 < waiting(state) <= bound
    assert known <= 6 * 40 + 4 * 19 + 40, "distinct items, however many events"


@pytest.mark.slow
def test_all_servers_stand_still(cluster: LocalCluster) -> None:
    with sharedstate.connect(cluster.url, node="a", timeout=0.5, member_timeout=3.0) as state:
        state.shared("inbound_cidr").increment("10.0.2.1")
        state.flush()
        for node in cluster.nodes:
            cluster.pause(node)
        try:
            count_while_away(state)
        finally:
            for node in cluster.nodes:
                cluster.resume(node)
        with sharedstate.observe(cluster.url) as observer:
            await_exact(cluster, observer, lambda: own_truths([state]))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["refused", "black hole"])
def test_no_connection(cluster: LocalCluster, how: str) -> None:
    with (
        proxied(cluster) as through,
        sharedstate.connect(
            through.url, node="a", timeout=0.5, connect_timeout=0.5, member_timeout=1.5
        ) as state,
        sharedstate.observe(through.url) as observer,
    ):
        state.shared("inbound_cidr").increment("10.0.2.1")
        state.flush()
        for proxy in through.proxies:
            if how == "refused":
                proxy.refuse()
                proxy.cut_all()
            else:
                proxy.hold_requests = True
        count_while_away(state)
        for proxy in through.proxies:
            proxy.hold_requests = False
            proxy.cut_all()
            proxy.allow()
        await_exact(cluster, observer, lambda: own_truths([state]))
        assert state.metrics.last_error
