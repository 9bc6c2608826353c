"""The store and the publishing protocol against a model of the server that loses, repeats and forgets."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharedstate.call import command
from sharedstate.errors import CountBelowZeroError, LinkError
from sharedstate.keys import Keys
from sharedstate.link.sync import Link
from sharedstate.link.url import parse_url
from sharedstate.member import MemberEngine, Metrics
from sharedstate.objects import gauge
from sharedstate.objects.store import GaugeStore
from sharedstate.results import Member
from sharedstate.specs import ObjectSpec

from .harness import expected_fields
from .model import ModelServer, ModelShard

ADDRESSES = [
    "10.1.2.3",
    "10.1.2.4",
    "10.1.9.9",
    "10.200.0.1",
    "192.0.2.1",
    "2001:db8::1",
    "2001:db8::2",
    "2002::1",
]
KEYS = Keys("model")

OPERATION = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(ADDRESSES), st.integers(1, 3)),
    st.tuples(st.just("take"), st.sampled_from(ADDRESSES), st.integers(1, 3)),
    st.tuples(st.sampled_from(["publish", "publish", "tick", "late", "keep", "fail over", "flush"])),
)


def engine_of(stores: list[GaugeStore]) -> MemberEngine:
    return MemberEngine(KEYS, Member(incarnation="", node="a", pid=1), stores, 15.0, Metrics())


@settings(max_examples=300, deadline=None)
@given(
    operations=st.lists(OPERATION, max_size=50),
    remember=st.integers(0, 4),
    losses=st.sampled_from([0.0, 0.2, 0.5]),
    chance=st.randoms(use_true_random=False),
)
def test_server_copy_becomes_the_truth(
    operations: list[tuple[Any, ...]], remember: int, losses: float, chance: random.Random
) -> None:
    lossy = True

    def fate() -> str:
        if not lossy or chance.random() >= losses:
            return "heard"
        return chance.choice(("unheard", "unsent", "repeated"))

    tree = ObjectSpec(name="inbound_cidr", cls="inbound_cidr", shards=3, remember=remember)
    table = ObjectSpec(name="outbound_domains", cls="outbound_domains", shards=2, remember=remember)
    stores = [GaugeStore(tree, lambda: None), GaugeStore(table, lambda: None)]
    server = ModelServer(fate)
    engine = engine_of(stores)
    lossy = False
    server.run(engine.join())
    lossy = True
    truth: Counter[str] = Counter()
    for operation in operations:
        match operation:
            case ("add", address, n):
                stores[0].increment(address, n)
                stores[1].increment(f"d{address[:2]}.example", n)
                truth[address] += n
            case ("take", address, n) if truth[address] >= n:
                stores[0].decrement(address, n)
                stores[1].decrement(f"d{address[:2]}.example", n)
                truth[address] -= n
            case ("publish" | "tick" as what,):
                with suppress(LinkError):  # as the driver does: again, later
                    server.run(engine.publish() if what == "publish" else engine.tick(chance.random() < 0.5))
            case ("late",) if server.late:
                server.carry(chance.choice(server.late))
            case ("keep",):
                server.keep()
            case ("fail over",):
                server.fail_over(chance)
            case ("flush",):
                server.flush(chance)
        for shard in server.shards.values():
            shard.check()
    for call in server.late:
        server.carry(call)
    lossy = False
    for _ in range(3):
        server.run(engine.tick(True))
    domains: Counter[str] = Counter()
    for address, n in truth.items():
        domains[f"d{address[:2]}.example"] += n
    for store, counts, is_tree in ((stores[0], truth, True), (stores[1], domains, False)):
        copies: Counter[bytes] = Counter()
        sums: Counter[bytes] = Counter()
        for index in range(store.spec.shards):
            model = server.shard(KEYS.registry(store.spec.name, index))
            model.check()
            copies.update(model.copies.get(engine.member.incarnation, {}))
            sums.update(model.sums)
        assert Counter(store.local()) == +counts
        assert +copies == +expected_fields(counts, tree=is_tree)
        assert +sums == +copies, "nothing of former lives is left"


def test_given_up_flush_keeps_the_changes() -> None:
    """A flush that is cancelled or interrupted while it waits has sent a batch of unknown fate."""
    store = GaugeStore(ObjectSpec(name="outbound_domains", cls="outbound_domains", shards=1), lambda: None)
    server = ModelServer(lambda: "heard")
    engine = engine_of([store])
    server.run(engine.join())
    store.increment("a.example")
    flow = engine.publish()
    (call,) = next(flow)
    assert call.script is not None
    flow.close()
    server.run(engine.publish())
    assert server.shard(KEYS.registry("outbound_domains", 0)).sums == {b"a.example": 1}


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(st.tuples(st.booleans(), st.sampled_from(ADDRESSES), st.integers(1, 5)), max_size=80))
def test_local_is_what_was_counted_and_never_negative(steps: list[tuple[bool, str, int]]) -> None:
    store = GaugeStore(
        ObjectSpec(name="inbound_cidr", cls="inbound_cidr", shards=4, remember=2), lambda: None
    )
    truth: Counter[str] = Counter()
    for up, address, n in steps:
        if up:
            store.increment(address, n)
            truth[address] += n
        elif truth[address] < n:
            with pytest.raises(CountBelowZeroError, match="cannot go down"):
                store.decrement(address, n)
        else:
            store.decrement(address, n)
            truth[address] -= n
        store.fold()
        values: Counter[bytes] = Counter()
        for shard in store.shards:
            assert all(value >= 0 for value in shard.values.values())
            values.update(shard.values)
        assert +values == +expected_fields(truth, tree=True)
    assert Counter(store.local()) == +truth
    assert len(store.shards[0].values) <= sum(len(expected_fields({a: 1}, tree=True)) for a in ADDRESSES)


@pytest.mark.parametrize("seed", range(4))
def test_script_agrees_with_the_model(url: str, seed: int) -> None:
    chance = random.Random(seed)
    link = Link.open(parse_url(url))
    try:
        model, members = ModelShard(), ["m1", "m2", "m3"]
        fields = [f"f{number}".encode() for number in range(12)]
        for _ in range(250):
            member = chance.choice(members)
            if chance.random() < 0.03:
                left = (1, b"0")
                while left[0]:
                    (left,) = link.execute([gauge.reap(KEYS, "o", 0, member, left[1])])
                model.reap(member)
            else:
                last = max(model.registry.get(member, 0), 0)
                believed = chance.choice((last, last, last, last + 1, max(last - 1, 0)))
                sequence = believed + chance.randrange(1, 3)
                values = {
                    item: chance.choice((None, 0, 1, 5, 1 << 40))
                    for item in chance.sample(fields, chance.randrange(len(fields)))
                }
                (found,) = link.execute([gauge.publish(KEYS, "o", 0, member, believed, sequence, values)])
                assert list(found) == model.publish(member, believed, sequence, values)
                if chance.random() < 0.02:
                    members.append(f"m{len(members) + 1}")
            sums, *copies = link.execute(
                [
                    command("HGETALL", key, key=key, decode=_counts, resend=True)
                    for key in (KEYS.sums("o", 0), *(KEYS.copy("o", 0, each) for each in members))
                ]
            )
            assert sums == model.sums
            assert copies == [model.copies.get(each, {}) for each in members]
            model.check()
    finally:
        link.close()


def _counts(flat: list[bytes]) -> dict[bytes, int]:
    return dict(zip(flat[::2], map(int, flat[1::2]), strict=True))
