"""What `audit.count` costs beside a PING over the same link, with few and with many addresses in the window.

    python benchmarks/audit_count.py [--addresses 1000000] [--few 10000] [--rounds 200]

Two series on three primaries, one with many addresses and one with few, IPv4 and IPv6 each; half of the IPv4 addresses
lie in networks of neighbours, half anywhere. Every call is timed on its own, calls and PINGs take turns, and medians
count.
"Six windows" asks for the sum of windows 0 to 5, "policy" for /32, /24 and /16 of three series in one call.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from functools import partial

from _load import clustered_v4, clustered_v6, uniform_v4

import sharedstate
from sharedstate.audit.reading import Question
from sharedstate.call import command
from sharedstate.link.sync import Link
from sharedstate.link.url import parse_url
from sharedstate.local import LocalCluster

TARGET = 3.0
STEP = 50_000
PREFIXES = {
    "cidr": (32, 31, 25, 24, 17, 16, 15, 9, 8, 1, 0),
    "cidr_ipv6": (128, 127, 65, 64, 56, 48, 33, 32, 17, 8, 0),
}


def load(state: sharedstate.State, series: str, addresses: list[str]) -> None:
    for first in range(0, len(addresses), STEP):
        for address in addresses[first : first + STEP]:
            state.audit.add(series, address)
        state.flush(120)


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--addresses", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    held: dict[tuple[str, str], list[str]] = {}
    for size, number in (("many", options.addresses), ("few", options.few)):
        half = number // 2
        held[size, "cidr"] = list(dict.fromkeys(clustered_v4(half) + uniform_v4(number - half)))
        held[size, "cidr_ipv6"] = clustered_v6(number)
    with (
        LocalCluster(primaries=3, replicas=0) as cluster,
        sharedstate.connect(cluster.url, node="n") as state,
    ):
        begun = time.perf_counter()
        for (size, type_), addresses in held.items():
            # A day's windows: none may end while we count.
            state.audit.define(f"{size}-{type_}", "86400,6", type_, "cluster")
            load(state, f"{size}-{type_}", addresses)
        total = sum(map(len, held.values()))
        print(f"{total:,} addresses counted and published in {time.perf_counter() - begun:.0f} s")
        with sharedstate.observe(cluster.url) as observer:
            for (size, type_), addresses in held.items():
                every = "0.0.0.0/0" if type_ == "cidr" else "::/0"
                assert observer.audit.count(f"{size}-{type_}", every, 0, 1) == len(addresses)
            measure(observer, held, cluster.url, options.rounds)


def measure(
    observer: sharedstate.Observer, held: dict[tuple[str, str], list[str]], url: str, rounds: int
) -> None:
    link = Link.open(parse_url(url))  # the same kind of link as the observer's, to the same servers
    ping = command("PING", decode=bytes, resend=True)
    audit, rng = observer.audit, random.Random(5)
    pings: list[float] = []
    seen: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(rounds):
        for (size, type_), addresses in held.items():
            series = f"{size}-{type_}"
            for prefix in PREFIXES[type_]:
                block = f"{rng.choice(addresses)}/{prefix}"
                pings.append(timed(partial(link.execute, [ping], 5.0)))
                spent = timed(partial(audit.count, series, block))
                seen.setdefault((type_, f"/{prefix}", size), []).append(spent)
            block = f"{rng.choice(addresses)}/{24 if type_ == 'cidr' else 64}"
            spent = timed(partial(audit.count, series, block, 0, 5))
            seen.setdefault((type_, "six windows", size), []).append(spent)
            address = rng.choice(addresses)
            lengths = (32, 24, 16) if type_ == "cidr" else (128, 64, 32)
            questions = [
                Question(series, f"{address}/{length}", 0, 1) for length in lengths for _ in range(3)
            ]
            spent = timed(partial(audit.count_many, questions))
            seen.setdefault((type_, "policy", size), []).append(spent)
    link.close()
    base = statistics.median(pings)
    print(f"PING, median of {len(pings)}: {base:.0f} us; target: at most {TARGET:g} times that")
    print(f"  {'':24}{'many':>8}{'PINGs':>7}{'few':>8}{'PINGs':>7}{'many/few':>10}")
    for type_, title in dict.fromkeys((type_, title) for type_, title, _ in seen):
        many, few = (statistics.median(seen[type_, title, size]) for size in ("many", "few"))
        print(
            f"  {type_:10}{title:14}{many:6.0f} us{many / base:7.2f}{few:5.0f} us{few / base:7.2f}{many / few:10.2f}"
        )


if __name__ == "__main__":
    main()
