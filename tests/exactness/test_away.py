"""While Redis is away events go on in memory, bounded by what there is to count, and are exact afterwards."""

from __future__ import annotations

import json
import random

import pytest

import sharedstate
from sharedstate import cidr
from sharedstate.call import key_slot
from sharedstate.client import State
from sharedstate.local import LocalCluster
from sharedstate.names import address_field

from ..proxy import proxied
from ..support import need_server, poll
from .conftest import minute_result
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
    known = sum(len(store._items) for store in state._stores.values())
    bound = known * 18  # an IPv6 address has 17 fields, and may wait as an item once more
    failures = state.metrics.failures
    poll(lambda: state.metrics.failures >= failures + 2, what="publishing fails")
    for _ in range(20_000):
        change(state, chance)
    known = sum(len(store._items) for store in state._stores.values())
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


@pytest.mark.slow
def test_one_hung_primary_neither_fences_members_nor_holds_up_the_others() -> None:
    """The default timeout is longer than the members' time: heartbeats go on all the same."""
    need_server()
    with (
        # The other primaries must not take it for dead within the test: then they would refuse everything.
        LocalCluster(primaries=3, replicas=0, node_timeout_ms=60_000) as cluster,
        sharedstate.connect(cluster.url, node="a", member_timeout=1.5) as one,
        sharedstate.connect(cluster.url, node="b", member_timeout=1.5) as two,
        sharedstate.observe(cluster.url) as observer,
    ):
        fleet_slot, tree = key_slot(one._keys.live), one.shared("inbound_cidr")
        hung = next(
            node
            for node in cluster.nodes
            if node.role == "primary" and node is not cluster.primary_of(fleet_slot)
        )
        addresses = [f"10.{i}.0.1" for i in range(200)]
        awake = [
            address
            for address in addresses
            if cluster.primary_of(
                key_slot(one._keys.sums("inbound_cidr", cidr.shard_of(address_field(address), 16)))
            )
            is not hung
        ]
        assert 0 < len(awake) < len(addresses)
        cluster.pause(hung)
        try:
            for address in addresses:
                tree.increment(address)
            poll(lambda: all(two.shared("inbound_cidr").count(address) == 1 for address in awake), 10)
            failures = two.metrics.failures + one.metrics.failures
            poll(lambda: two.metrics.failures + one.metrics.failures > failures + 3, 15)
            assert sorted(member.node for member in one._fleet(0).members) == ["a", "b"]
        finally:
            cluster.resume(hung)
        await_exact(cluster, observer, lambda: own_truths([one, two]))
        assert one.metrics.rejoins + two.metrics.rejoins == 0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_away_for_a_minute(tmp_path_factory: pytest.TempPathFactory) -> None:
    """More than two million events on 2,800 items while nobody answers: see minute.py, which conftest.py starts."""
    place = minute_result(tmp_path_factory.getbasetemp())
    poll(place.exists, 180, what="the minute is over", interval=0.1)
    found = json.loads(place.read_text())
    assert "error" not in found, found["error"]
    assert found["away"] >= 60
    assert found["events"] > 2_000_000
    assert found["failures"] > 5, "the publisher tried"
    assert found["grown"] < 1_000_000, "bytes that Python holds more than after the first bursts"
    assert found["differences"] == []
