"""What an MTA event costs the caller, beside a plain dict increment in the same run.

    python benchmarks/events.py [--addresses 20000] [--seconds 2] [--rounds 3]

One thread of one process, a member of a fleet with the objects of the default configuration. It calls without a pause
for --seconds: connects of all addresses five times, then their disconnects, and over again; meanwhile its publisher
works in the background, as always, and takes its share of the interpreter lock. What counts is all calls by all of the
time, so that no publish is left out; the second column is by the CPU time of the caller's thread alone. Pairs take
turns, and the median round is shown. An event does no I/O on the caller's thread: the same calls are timed again
while every server is stopped (SIGSTOP).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

from _load import clustered_v4, clustered_v6, domains

import sharedstate
from sharedstate.local import LocalCluster

TARGET = 500_000


def rate(event: Callable[..., object], calls: Sequence[tuple[str, ...]]) -> tuple[float, float]:
    """Seconds that all calls take, and this thread's CPU seconds."""
    begun, spent = time.perf_counter(), time.thread_time()
    for arguments in calls:
        event(*arguments)
    return time.perf_counter() - begun, time.thread_time() - spent


def rates(
    pair: tuple[Callable[..., object], Callable[..., object]],
    calls: Sequence[tuple[str, ...]],
    seconds: float,
) -> list[tuple[float, float]]:
    """Calls per second, and per second of the caller's CPU, of both events of a pair, taking turns for that long."""
    wall, own, passes = [0.0, 0.0], [0.0, 0.0], 0
    while sum(wall) < seconds:
        passes += 1
        for index, event in enumerate(pair):
            for sums, took in zip((wall, own), rate(event, calls), strict=True):
                sums[index] += took
    number = passes * len(calls)
    return [(number / wall[index], number / own[index]) for index in (0, 1)]


def slowest(event: Callable[..., object], calls: Sequence[tuple[str, ...]]) -> float:
    """The longest single call, in milliseconds."""
    longest = 0.0
    for arguments in calls:
        begun = time.perf_counter()
        event(*arguments)
        longest = max(longest, time.perf_counter() - begun)
    return longest * 1000


def plain_dict() -> tuple[Callable[[str], None], Callable[[str], None]]:
    counts: dict[str, int] = {}

    def increment(key: str) -> None:
        counts[key] = counts.get(key, 0) + 1

    def decrement(key: str) -> None:
        counts[key] -= 1

    return increment, decrement


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--addresses", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each pair of events in a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    number = options.addresses
    addresses = clustered_v4(number)
    v4 = [(address,) for address in addresses] * 5
    v6 = [(address,) for address in clustered_v6(number)] * 5
    names = domains(max(number // 10, 1))
    deliveries = [(address, names[index % len(names)]) for index, address in enumerate(addresses)] * 5
    with (
        LocalCluster(primaries=3, replicas=0) as cluster,
        sharedstate.connect(cluster.url, node="n") as state,
    ):
        events = state.events
        pairs: dict[tuple[str, str], tuple[tuple[Callable[..., object], ...], Sequence[tuple[str, ...]]]] = {
            ("dict, add", "dict, take"): (plain_dict(), v4),
            ("inbound_connect, IPv4", "inbound_disconnect, IPv4"): (
                (events.inbound_connect, events.inbound_disconnect),
                v4,
            ),
            ("inbound_connect, IPv6", "inbound_disconnect, IPv6"): (
                (events.inbound_connect, events.inbound_disconnect),
                v6,
            ),
            ("outbound_connect (2 objects)", "outbound_disconnect (2 objects)"): (
                (events.outbound_connect, events.outbound_disconnect),
                deliveries,
            ),
        }

        def measure(title: str) -> None:
            seen: dict[str, list[tuple[float, float]]] = {name: [] for names in pairs for name in names}
            for _ in range(options.rounds):
                for names, (pair, calls) in pairs.items():
                    for name, found in zip(names, rates(pair, calls, options.seconds), strict=True):
                        seen[name].append(found)
            base = statistics.median(wall for wall, _ in seen["dict, add"])
            print(f"\n{title}")
            print(f"{'':34}{'calls/s':>12}{'by own CPU':>13}   dict add is")
            for name, found in seen.items():
                middle, own = (statistics.median(column) for column in zip(*found, strict=True))
                print(f"{name:34}{middle:12,.0f}{own:13,.0f}{base / middle:8.1f} times that")

        for pair, calls in pairs.values():
            for event in pair:
                event(*calls[0])  # connections and first flush
        state.flush()
        cold = [(address,) for address in clustered_v4(number, seed=9)]
        print(f"{number:,} addresses (IPv4, IPv6), {len(names):,} domains; target: {TARGET:,} events/s")
        print(
            "addresses never seen before (each is parsed): "
            f"{number / rate(events.inbound_connect, cold)[0]:,.0f} calls/s"
        )
        rate(events.inbound_disconnect, cold)
        measure("Redis answers")
        state.flush(60)
        print(f"longest of {len(v4):,} calls: {slowest(events.inbound_connect, v4):.2f} ms")
        for node in cluster.nodes:
            cluster.pause(node)
        try:
            measure("Redis stopped: no event waits for it")
            print(f"longest of {len(v4):,} calls: {slowest(events.inbound_connect, v4):.2f} ms")
        finally:
            for node in cluster.nodes:
                cluster.resume(node)


if __name__ == "__main__":
    main()
