"""What count() costs beside a PING over the same link, with many addresses in the fleet.

    python benchmarks/count.py [--addresses 1000000] [--addresses6 1000000] [--rounds 300]

Three nodes (members in this process) hold the addresses between them; every call is timed on its own and calls
and PINGs take turns. Medians count.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from _load import clustered_v4, clustered_v6, uniform_v4

import sharedstate
from sharedstate.call import command
from sharedstate.link.sync import Link
from sharedstate.link.url import parse_url
from sharedstate.local import LocalCluster

TARGET = 3.0
NODES = 3
#: Changes a state takes between two flushes: a flush should end well before the member has to beat again.
STEP = 50_000
PREFIXES = (32, 24, 16, 8, 0)
PREFIXES6 = (128, 64, 32)
#: Lengths between the levels: sums of up to 128 fields, of one shard or of all; beyond an IPv6 /64 up to 32,768.
#: Without a target.
BETWEEN = (17, 9, 1)
BETWEEN6 = (33, 72, 68, 65)


def load(states: list[sharedstate.State], addresses: list[str]) -> float:
    """Count every address once, spread over the nodes; seconds."""
    begun = time.perf_counter()
    for first in range(0, len(addresses), STEP * len(states)):
        part = addresses[first : first + STEP * len(states)]
        for number, state in enumerate(states):
            shared = state.shared("inbound_cidr")
            for address in part[number :: len(states)]:
                shared.increment(address)
            state.flush(120)
    return time.perf_counter() - begun


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--addresses", type=int, default=1_000_000, help="IPv4 addresses, half of them uniform"
    )
    parser.add_argument("--addresses6", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    half = options.addresses // 2
    v4 = list(dict.fromkeys(clustered_v4(half) + uniform_v4(options.addresses - half)))
    v6 = clustered_v6(options.addresses6)
    with LocalCluster(primaries=3, replicas=0) as cluster, ExitStack() as stack:
        states = [
            stack.enter_context(sharedstate.connect(cluster.url, node=f"node-{number}"))
            for number in range(NODES)
        ]
        seconds = load(states, v4) + load(states, v6)
        print(
            f"{len(v4):,} IPv4 and {len(v6):,} IPv6 addresses on {NODES} nodes, "
            f"counted and published in {seconds:.0f} s"
        )
        with sharedstate.observe(cluster.url) as observer:
            everything = [observer.shared("inbound_cidr").count(block) for block in ("0.0.0.0/0", "::/0")]
            assert everything == [len(v4), len(v6)], f"counted {everything}"
            measure(observer, v4, v6, cluster.url, options.rounds)


def measure(observer: sharedstate.Observer, v4: list[str], v6: list[str], url: str, rounds: int) -> None:
    link = Link.open(parse_url(url))  # the same kind of link as the observer's, to the same servers
    ping = command("PING", decode=bytes, resend=True)
    shared = observer.shared("inbound_cidr")
    rng = random.Random(5)
    pings: list[float] = []
    seen: dict[tuple[str, int], list[float]] = {}
    questions = [("IPv4", prefix, v4) for prefix in (*PREFIXES, *BETWEEN)]
    questions += [("IPv6", prefix, v6) for prefix in (*PREFIXES6, *BETWEEN6)]
    for _ in range(rounds):
        for family, prefix, addresses in questions:
            block = f"{rng.choice(addresses)}/{prefix}"
            pings.append(timed(partial(link.execute, [ping], 5.0)))
            seen.setdefault((family, prefix), []).append(timed(partial(shared.count, block)))
    link.close()
    base = statistics.median(pings)
    print(f"PING, median of {len(pings)}: {base:.0f} us; target: at most {TARGET:g} times that")
    for (family, prefix), times in seen.items():
        middle = statistics.median(times)
        name = f"{family} /{prefix}"
        note = "   between levels, no target" if prefix in (BETWEEN if family == "IPv4" else BETWEEN6) else ""
        print(f"  count {name:10}{middle:8.0f} us{middle / base:7.2f} times a PING{note}")


if __name__ == "__main__":
    main()
