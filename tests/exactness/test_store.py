"""The store and the publishing protocol against a model of the server that loses, repeats and forgets."""

from __future__ import annotations

import copy
import ipaddress
import random
import secrets
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharedstate import member as member_module
from sharedstate.call import Call
from sharedstate.keys import Keys
from sharedstate.link.sync import Link
from sharedstate.link.url import parse_url
from sharedstate.member import MemberEngine, Metrics
from sharedstate.objects import gauge
from sharedstate.objects.store import GaugeStore, Shard
from sharedstate.results import Member
from sharedstate.specs import ObjectSpec

from .harness import expected_fields

ADDRESSES = ["10.1.2.3", "10.1.2.4", "10.1.9.9", "10.200.0.1", "192.0.2.1", "2001:db8::1", "2001:db8::2", "2002::1"]


class ModelShard:
    """One shard as gauge_publish and gauge_reap keep it."""

    def __init__(self) -> None:
        self.registry: dict[str, int] = {}
        self.sums: dict[bytes, int] = {}
        self.copies: dict[str, dict[bytes, int]] = {}

    def publish(
        self, incarnation: str, believed: int, sequence: int, values: dict[bytes, int | None]
    ) -> tuple[int, int]:
        last = self.registry.get(incarnation, 0)
        if last < 0:
            return -1, 0
        if last == sequence:
            return 1, last
        if last != believed:
            return 0, last
        own = self.copies.setdefault(incarnation, {})
        for field, value in values.items():
            self.sums[field] = self.sums.get(field, 0) + (value or 0) - own.get(field, 0)
            if value is None:
                own.pop(field, None)
                if not self.sums[field]:
                    del self.sums[field]
            else:
                own[field] = value
        self.registry[incarnation] = sequence
        return 1, sequence

    def reap(self, incarnation: str) -> None:
        self.registry[incarnation] = -1
        for field, value in self.copies.pop(incarnation, {}).items():
            self.sums[field] -= value
            if not self.sums[field]:
                del self.sums[field]

    def check(self) -> None:
        copies: Counter[bytes] = Counter()
        for own in self.copies.values():
            copies.update(own)
        assert {field: n for field, n in copies.items() if n} == {f: n for f, n in self.sums.items() if n}
        assert all(n >= 0 for n in copies.values())


def publish_once(shard: Shard, server: ModelShard, incarnation: str, fate: str, late: list[Any]) -> None:
    """One batch, whose call or answer may be lost, late or repeated; settled as the engine settles it."""
    sequence, batch = shard.batch()
    call = (incarnation, shard.acknowledged, sequence, batch)
    if fate == "unsent":
        late.append(call)
        shard.failed(batch)
        return
    status, last = server.publish(*call)
    if fate == "repeated":
        status, last = server.publish(*call)
    if fate == "unheard":
        late.append(call)
        shard.failed(batch)
    elif status == 1:
        shard.applied(sequence, batch)
    else:
        shard.failed(batch)
        assert status == 0
        assert shard.reconcile(last), "the log covers every rollback of this test"


OPERATION = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(ADDRESSES), st.integers(1, 3)),
    st.tuples(st.just("take"), st.sampled_from(ADDRESSES), st.integers(1, 3)),
    st.tuples(st.just("publish"), st.sampled_from(["heard", "heard", "unheard", "unsent", "repeated"])),
    st.tuples(st.just("late"), st.integers(0, 30)),
    st.tuples(st.just("snapshot")),
    st.tuples(st.just("rollback")),
    st.tuples(st.just("verify")),
)


@settings(max_examples=400, deadline=None)
@given(operations=st.lists(OPERATION, max_size=60), remember=st.integers(0, 3))
def test_server_copy_becomes_the_truth(operations: list[tuple[Any, ...]], remember: int) -> None:
    spec = ObjectSpec(name="inbound_cidr", cls="inbound_cidr", shards=1, remember=remember)
    store = GaugeStore(spec, lambda: None)
    (shard,) = store.shards
    server, other = ModelShard(), {b"4": 7, b"4\x0a": 7}
    server.publish("other", 0, 1, dict(other))
    kept: ModelShard | None = None
    late: list[Any] = []
    truth: Counter[str] = Counter()
    for operation in operations:
        match operation:
            case ("add", address, n):
                store.increment(address, n)
                truth[address] += n
            case ("take", address, n) if truth[address] >= n:
                store.decrement(address, n)
                truth[address] -= n
            case ("publish", fate):
                store.fold()
                if shard.dirty:
                    publish_once(shard, server, "me", fate, late)
            case ("late", index) if late:
                server.publish(*late[index % len(late)])
            case ("snapshot",) if server.registry.get("me"):
                kept = copy.deepcopy(server)
            case ("rollback",) if kept is not None:
                server = copy.deepcopy(kept)
            case ("verify",) if shard.acknowledged:
                assert shard.reconcile(server.registry.get("me", 0)) or not _covered(shard, server)
                if not _covered(shard, server):
                    return  # the engine rejoins; that is another test
        server.check()
    store.fold()
    if shard.acknowledged and not shard.reconcile(server.registry.get("me", 0)):
        return
    for _ in range(6):
        if shard.dirty:
            sequence, batch = shard.batch()
            status, last = server.publish("me", shard.acknowledged, sequence, batch)
            if status == 1:
                shard.applied(sequence, batch)
            else:
                shard.failed(batch)
                assert shard.reconcile(last)
    server.check()
    assert not shard.dirty
    assert Counter(store.local()) == +truth
    assert +Counter(server.copies.get("me", {})) == +expected_fields(truth, tree=True)
