"""Any sequence of adds, clock steps over window edges, deaths, lost and repeated calls agrees with a plain model."""

from __future__ import annotations

import ipaddress
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharedstate.audit.clock import server_time
from sharedstate.audit.reading import Question
from sharedstate.audit.series import SeriesSpec
from sharedstate.call import Call
from sharedstate.errors import UnknownNodeError
from sharedstate.keys import Keys
from sharedstate.link.sync import Link
from sharedstate.link.url import parse_url
from sharedstate.local import LocalCluster

from .fleet import TestMember, Time, lossy, observer, run

INTERVAL, WINDOWS = 300, 3
NAMES = itertools.count()
NODES = ("a", "b")
BLOCKS = (
    *(
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.2.0/24",
        "10.1.2.0/25",
        "10.9.0.0/17",
        "10.9.0.0/23",
        "10.9.1.0/24",
    ),
    *("::/0", "2001:db8::/32", "2001:db8:7::/64", "2001:db8:7::/112", "2001:db8:7::/119", "2001:db8:7::/120"),
)

addresses = st.one_of(
    st.builds("10.1.{}.{}".format, st.integers(0, 2), st.integers(0, 255)),
    st.builds(lambda n: str(ipaddress.IPv4Address(n)), st.integers(0, 2**32 - 1)),
    st.builds("2001:db8:1::{:x}".format, st.integers(0, 700)),
    st.builds(lambda n: str(ipaddress.IPv6Address(n)), st.integers(2**125, 2**126)),
)
counts = st.one_of(st.integers(1, 3), st.integers(-200, 200), st.sampled_from([40_000, 1 << 33, -(1 << 33)]))
# A crowd is many neighbours at once: leaves burst into branches.
OPERATION = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 2), addresses, counts),
    st.tuples(st.just("crowd"), st.integers(0, 2), st.sampled_from(["10.1.2.0", "10.9.0.0", "2001:db8:7::"])),
    st.tuples(st.just("publish"), st.integers(0, 2)),
    st.tuples(st.just("late")),
    st.tuples(st.just("step"), st.sampled_from([1, 100, INTERVAL, 2 * INTERVAL])),
    st.tuples(st.just("die"), st.integers(0, 2)),
    st.tuples(st.just("ask"), addresses, st.integers(0, 128), st.sampled_from([None, *NODES])),
)


@pytest.fixture(scope="module")
def link(own_cluster: LocalCluster) -> Iterator[Link]:
    opened = Link.open(parse_url(own_cluster.url))
    yield opened
    opened.close()


class Model:
    """What must be counted: of each window and node, each address."""

    def __init__(self) -> None:
        self.published: dict[tuple[int, str], Counter[str]] = {}

    def add(self, counted: list[tuple[int, str, str, int]]) -> None:
        for window, node, address, count in counted:
            self.published.setdefault((window, node), Counter())[address] += count

    def count(self, block: str, windows: range, node: str | None) -> int:
        network = ipaddress.ip_network(block)
        return sum(
            count
            for (window, owner), found in self.published.items()
            if window in windows and node in (None, owner)
            for address, count in found.items()
            if (one := ipaddress.ip_address(address)).version == network.version and one in network
        )

    def window(self, window: int, node: str | None) -> dict[str, int]:
        total: Counter[str] = Counter()
        for (number, owner), found in self.published.items():
            if number == window and node in (None, owner):
                for address, count in found.items():
                    total[address] += count
        return {address: count for address, count in total.items() if count}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    operations=st.lists(OPERATION, min_size=5, max_size=40),
    losses=st.sampled_from([0.0, 0.3]),
    chance=st.randoms(use_true_random=False),
    shards=st.integers(1, 4),
)
@pytest.mark.slow
def test_counts_agree_with_a_model(
    link: Link, operations: list[tuple[Any, ...]], losses: float, chance: random.Random, shards: int
) -> None:
    keys = Keys("model")
    (now_ms,) = link.execute([server_time(keys)])
    time = Time(now_ms / 1000)
    spec = SeriesSpec.make(f"s{next(NAMES)}", f"{INTERVAL},{WINDOWS}", "cidr_any", "cluster", shards)
    members = [TestMember(link, keys, node, time, spec) for node in ("a", "a", "b")]
    reader, model = observer(keys, time), Model()
    waiting: list[list[tuple[int, str, str, int]]] = [[], [], []]
    late: list[Call[Any]] = []
    fate = lossy(chance, losses)

    def add(index: int, address: str, count: int) -> None:
        members[index].add(address, count)
        waiting[index].append((int(time.now // INTERVAL), members[index].node, address, count))

    def settle(index: int) -> None:
        while not members[index].publish(fate, late):
            pass
        model.add(waiting[index])
        waiting[index] = []

    def check(block: str, node: str | None) -> None:
        question = Question(spec.name, block, 0, WINDOWS - 1, node)
        try:
            (found,) = run(link, reader.counts([question]))
        except UnknownNodeError:
            found = [0] * WINDOWS  # a node that never counted
        current = int(time.now // INTERVAL)
        wanted = [
            model.count(block, range(current - back, current - back + 1), node) for back in range(WINDOWS)
        ]
        assert found == wanted, (block, node)

    for operation in operations:
        match operation:
            case ("add", index, address, count):
                add(index, str(ipaddress.ip_address(address)), count)
            case ("crowd", index, first):
                for offset in range(0, 3 * 150, 3):
                    add(index, str(ipaddress.ip_address(first) + offset), offset % 5 + 1)
            case ("publish", index):
                settle(index)
            case ("late",) if late:
                link.execute([chance.choice(late)])
            case ("step", seconds):
                time.now += seconds
            case ("die", index):
                # What it had not published is gone; what it had stays.
                waiting[index] = []
                members[index] = TestMember(link, keys, members[index].node, time, spec)
            case ("ask", address, length, node):
                network = ipaddress.ip_interface(
                    f"{address}/{length % (ipaddress.ip_address(address).max_prefixlen + 1)}"
                ).network
                check(str(network), node)
    for index in range(3):
        settle(index)
    for call in late:
        link.execute([call])
    for block in BLOCKS:
        for node in (None, *NODES):
            check(block, node)
    current = int(time.now // INTERVAL)
    for back in range(WINDOWS):
        for node in (None, "a"):
            pages: Counter[str] = Counter()
            reading = run(link, reader_of(reader, spec.name, back, node))
            while reading is not None and not reading.done:
                for field, count in run(link, reading.next()):
                    assert spec.text(field) not in pages
                    pages[spec.text(field)] = count
            assert pages == model.window(current - back, node)


def reader_of(reader: Any, name: str, back: int, node: str | None) -> Any:
    try:
        return (yield from reader.reader(name, back, node, None))
    except UnknownNodeError:
        return None
