"""Items that events hold on to while the store forgets and remembers them; what waits stays bounded."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharedstate import cidr
from sharedstate.config import Site
from sharedstate.errors import InvalidValueError
from sharedstate.events import Events
from sharedstate.member import Metrics
from sharedstate.objects import store as store_module
from sharedstate.objects.shard import Shard
from sharedstate.objects.store import GaugeStore
from sharedstate.specs import CountBy, ObjectSpec

from .harness import expected_fields

#: Two spellings of each of six addresses: caches hold an item for each spelling.
SPELLINGS = [(f"10.0.{n}.1", f"::ffff:10.0.{n}.1") for n in (1, 2, 3)]
SPELLINGS += [(f"2001:db8:{n}::1", f"[2001:DB8:{n}::1]") for n in (1, 2, 3)]


def tree(remember: int = 10_000, name: str = "inbound_cidr") -> GaugeStore:
    return GaugeStore(ObjectSpec(name=name, cls="inbound_cidr", shards=3, remember=remember), lambda: None)


def values(store: GaugeStore) -> Counter[bytes]:
    found: Counter[bytes] = Counter()
    for shard in store.shards:
        found.update(shard.values)
    return found


def publish_all(store: GaugeStore, server: dict[bytes, int]) -> None:
    """Send everything to a server that always answers."""
    for shard in store.shards:
        while shard.dirty:
            sequence, batch = shard.batch()
            for field, value in batch.items():
                if value is None:
                    del server[field]  # it must have been told of it before
                else:
                    server[field] = value
            shard.applied(sequence, batch)


STEP = st.tuples(
    st.sampled_from(["add", "add", "take", "take", "fold", "publish"]),
    st.integers(0, len(SPELLINGS) - 1),
    st.integers(0, 1),
    st.integers(0, 1),
)


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(STEP, max_size=100), remember=st.integers(0, 3), trim_at=st.integers(1, 8))
def test_any_spelling_and_either_way_counts_the_same_item(
    steps: list[tuple[str, int, int, int]], remember: int, trim_at: int
) -> None:
    store, metrics = tree(remember), Metrics()
    events = Events([store], (), metrics)
    truth: Counter[str] = Counter()
    server: dict[bytes, int] = {}
    unmatched = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "_TRIM_AT", trim_at)
        patch.setattr(store_module, "_SLICE", 2)
        patch.setattr(store_module, "_FOLD", 3)
        store._trim_at = trim_at
        for what, which, spelling, by_hand in steps:
            name, key = SPELLINGS[which][0], SPELLINGS[which][spelling]
            if what == "add":
                (store.increment if by_hand else events.inbound_connect)(key)
                truth[name] += 1
            elif what == "take":
                if not truth[name]:
                    events.inbound_disconnect(key)
                    unmatched += 1
                else:
                    (store.decrement if by_hand else events.inbound_disconnect)(key)
                    truth[name] -= 1
            else:
                store.fold()
                if what == "publish":
                    publish_all(store, server)
                assert +values(store) == +expected_fields(truth, tree=True)
            assert Counter(store.local()) == +truth
            assert metrics.unmatched == unmatched
        store.fold()
        publish_all(store, server)
    assert +Counter(server) == +values(store) == +expected_fields(truth, tree=True)
    assert len(store._items) <= len(+truth) + remember
    assert set(server) == set(values(store)), "what was forgotten is gone from the server too"


def test_what_waits_is_bounded_though_nobody_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_TRIM_AT", 100)
    store = tree(remember=30)
    store._trim_at = 100
    events = Events([store], (), Metrics())
    for number in range(20):
        events.inbound_connect(f"192.0.2.{number}")
    for number in range(10_000):
        address = f"10.{number >> 8}.{number & 255}.1"
        events.inbound_connect(address)
        events.inbound_disconnect(address)
        assert len(store._changed) <= 2 * (20 + 30) + 100
        assert len(store._items) <= 20 + 30 + 200
    store.fold()
    assert len(store._items) == 20 + 30


def test_items_that_come_and_go_between_publishes_leave_nothing_to_send() -> None:
    """Folding goes on while a shard does not answer; what it never heard of may be forgotten without a word."""
    store = tree(remember=0)
    for number in range(1000):
        store.increment(f"10.0.{number & 255}.{number >> 8}")
        store.fold()
        store.decrement(f"10.0.{number & 255}.{number >> 8}")
        store.fold()
    assert not any(shard.dirty or shard.values or shard._below for shard in store.shards)


def test_what_was_sent_with_unknown_fate_is_taken_back() -> None:
    shard = Shard(0)
    shard.fold(b"a", 1)
    _, batch = shard.batch()
    shard.failed(batch)
    shard.fold(b"a", None)
    assert shard.batch()[1] == {b"a": None}
    shard.fold(b"a", 1)
    shard.restart()
    shard.fold(b"a", None)
    assert not shard.dirty, "the new incarnation never sent it"


def test_an_item_that_slots_are_taken_of_is_told_anew_by_a_new_incarnation_even_if_forgotten() -> None:
    """Takes of it wait until the server was told."""
    store = GaugeStore(ObjectSpec(name="d", cls="outbound_domains", shards=1, remember=0), lambda: None)
    store.guard()
    store.increment("a.example")
    store.fold()
    shard = store.shards[0]
    shard.applied(*store.batch(shard))
    shard.restart()
    store.decrement("a.example")
    store.fold()
    sequence, batch = store.batch(shard)
    assert batch == {b"a.example": None}
    shard.applied(sequence, batch)
    assert shard.takes is not None
    assert not shard.takes.forgotten


def test_a_batch_has_the_counts_as_they_are_and_a_later_fold_knows_it() -> None:
    """What a batch brought before any fold is taken back when its item is forgotten."""
    store = GaugeStore(ObjectSpec(name="d", cls="outbound_domains", shards=1, remember=0), lambda: None)
    store.guard()
    store.touch("a.example")
    store.fold()
    store.increment("a.example", 2)
    shard = store.shards[0]
    assert store.batch(shard) == (1, {b"a.example": 2})
    shard.applied(1, {b"a.example": 2})
    store.decrement("a.example", 2)
    store._trim()
    store.fold()
    assert store.batch(shard) == (2, {b"a.example": None})


@pytest.mark.parametrize("after", range(0, 60, 7))
def test_a_fold_that_is_interrupted_loses_nothing(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Ctrl-C in the middle of a flush, at any point of the fold; the program goes on."""
    store, server = tree(remember=1), dict[bytes, int]()
    for name, _ in SPELLINGS[:3]:
        store.increment(name)
    store.fold()
    publish_all(store, server)
    for name, _ in SPELLINGS[:3]:
        store.decrement(name)
    for _, name in SPELLINGS[1:]:
        store.increment(name, 2)
    calls = iter(range(after))
    home = cidr.shard_of

    def interrupted(field: bytes, shards: int) -> int:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return home(field, shards)

    monkeypatch.setattr(cidr, "shard_of", interrupted)
    with suppress(KeyboardInterrupt):
        store.fold()
    monkeypatch.undo()
    store.increment(SPELLINGS[2][0])
    store.increment(SPELLINGS[0][1])
    store.fold()
    publish_all(store, server)
    assert +Counter(server) == +values(store) == +expected_fields(store.local(), tree=True)
    assert sum(store.local().values()) == 12


def test_threads_count_while_a_publisher_folds() -> None:
    inbound, other = tree(remember=3), tree(remember=3, name="second")
    events = Events([inbound, other], (), Metrics())
    addresses = [spelling for pair in SPELLINGS for spelling in pair]
    ending = threading.Event()

    def count(first: int) -> None:
        for number in range(20_000):
            events.inbound_connect(addresses[(first + number) % len(addresses)])
            if number % 5:
                events.inbound_disconnect(addresses[(first + number) % len(addresses)])

    def fold() -> None:
        while not ending.is_set():
            inbound.fold()
            other.fold()

    threads = [threading.Thread(target=count, args=(first,)) for first in range(3)]
    publisher = threading.Thread(target=fold)
    for thread in (publisher, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    ending.set()
    publisher.join()
    for store in (inbound, other):
        store.fold()
        assert sum(store.local().values()) == 3 * 4_000
        assert +values(store) == +expected_fields(store.local(), tree=True)


def test_an_event_that_is_refused_counts_nothing_anywhere() -> None:
    addresses = tree(name="outbound_cidr")
    domains = GaugeStore(
        ObjectSpec(name="outbound_domains", cls="outbound_domains", count_by=CountBy.SITE), lambda: None
    )
    events = Events([addresses, domains], (Site("big", ("a.example",), ("*.mx.example",)),), Metrics())
    with pytest.raises(ValueError, match="domain"):
        events.outbound_connect("192.0.2.1", "no domain")
    assert not addresses.local()
    assert not domains.local()


@pytest.mark.parametrize("step", [0, -1, 1.0, 1.5, "1", True, None, 1 << 53])
def test_a_step_is_a_whole_number(step: object) -> None:
    """1.0 equals 1, and would be published as a count that nobody can read."""
    store = tree()
    store.increment("192.0.2.1", 5)
    for change in (store.increment, store.decrement):
        with pytest.raises(InvalidValueError, match="whole number"):
            change("192.0.2.1", step)  # type: ignore[arg-type]
    assert store.local() == {"192.0.2.1": 5}
