"""What the link costs per call, beside redis-py and a bare socket, on an embedded cluster.

    python benchmarks/link.py [--rounds 15] [--calls 2000] [--same-core]

One EVALSHA of ``return 1``, again and again, rounds interleaved so that a noisy machine is noisy for all.
Read the ratios; the microseconds are this machine's. ``--same-core`` pins client and servers to one core,
which shows the library's own share best; without it the kernel's wake-ups across cores dominate.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import socket
import statistics
import time
from collections.abc import Callable

import hiredis
import redis

from sharedstate.call import Call, run_script
from sharedstate.link.aio import AsyncLink
from sharedstate.link.sync import Link
from sharedstate.link.url import parse_url
from sharedstate.local import LocalCluster
from sharedstate.scripts import Script

TEXT = "return 1"
SCRIPT = Script("one", TEXT, hashlib.sha1(TEXT.encode()).hexdigest(), 1)
KEY = "ss:{benchmark}:n"


def one(key: str = KEY) -> Call[int]:
    return run_script(SCRIPT, [key], [], decode=int, resend=False)


def contestants(cluster: LocalCluster, link: Link) -> dict[str, Callable[[], object]]:
    """The same call, four ways; all connections are open and the script is loaded."""
    call = one()
    link.execute([call])
    assert call.slot is not None
    node = cluster.primary_of(call.slot)
    bare = socket.create_connection((node.host, node.port))
    bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = hiredis.pack_command(("EVALSHA", SCRIPT.sha, 1, KEY))

    def round_trip() -> bytes:
        bare.sendall(request)
        return bare.recv(4096)

    plain = redis.Redis(host=node.host, port=node.port)
    clustered = redis.RedisCluster(host=node.host, port=node.port)
    return {
        "bare socket": round_trip,
        "Link.execute": lambda: link.execute([call], 1.0),
        "redis.Redis.evalsha": lambda: plain.evalsha(SCRIPT.sha, 1, KEY),
        "RedisCluster.evalsha": lambda: clustered.evalsha(SCRIPT.sha, 1, KEY),
    }


def per_call(cluster: LocalCluster, link: Link, rounds: int, calls: int) -> None:
    ways = contestants(cluster, link)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.perf_counter()
            for _ in range(calls):
                way()
            times[name].append((time.perf_counter() - begun) / calls * 1e6)
    base = min(times["bare socket"])
    typical = statistics.median(times["bare socket"])
    print(f"one EVALSHA at a time, {rounds} rounds of {calls} calls")
    print(f"{'':22}{'min us':>9}{'ratio':>8}{'median us':>12}{'ratio':>8}")
    for name, seen in times.items():
        least, middle = min(seen), statistics.median(seen)
        print(f"{name:22}{least:9.1f}{least / base:8.2f}{middle:12.1f}{middle / typical:8.2f}")


async def tasks_at_once(link: AsyncLink, tasks: int, total: int) -> float:
    """Calls per second of so many tasks, each with one call under way at a time."""
    calls = [one(f"ss:{{{number}}}:n") for number in range(tasks)]

    async def work(call: Call[int]) -> None:
        for _ in range(total // tasks):
            await link.execute([call], 30.0)

    begun = time.perf_counter()
    await asyncio.gather(*map(work, calls))
    return total // tasks * tasks / (time.perf_counter() - begun)


def serial(link: Link, total: int) -> float:
    """Calls per second of one thread."""
    calls = [one(f"ss:{{{number}}}:n") for number in range(1000)]
    begun = time.perf_counter()
    for number in range(total):
        link.execute([calls[number % 1000]], 30.0)
    return total / (time.perf_counter() - begun)


async def side_by_side(url: str, link: Link, rounds: int, calls: int) -> None:
    async_link = await AsyncLink.open(parse_url(url))
    counts = (1, 10, 100, 1000)
    seen: dict[int, list[float]] = {count: [] for count in (0, *counts)}
    total = max(calls * 5, 10_000)
    for _ in range(rounds):
        seen[0].append(serial(link, total // 2))
        for count in counts:
            seen[count].append(await tasks_at_once(async_link, count, total))
    base, typical = max(seen[0]), statistics.median(seen[0])
    print(f"\ncalls per second over all nodes, {rounds} rounds")
    print(f"{'':22}{'max /s':>9}{'ratio':>8}{'median /s':>12}{'ratio':>8}")
    for count, rates in seen.items():
        name = f"asyncio, {count} tasks" if count else "sync, one thread"
        most, middle = max(rates), statistics.median(rates)
        print(f"{name:22}{most:9.0f}{most / base:8.2f}{middle:12.0f}{middle / typical:8.2f}")
    await async_link.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--same-core", action="store_true")
    options = parser.parse_args()
    if options.same_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with LocalCluster(primaries=3, replicas=0) as cluster:
        link = Link.open(parse_url(cluster.url))
        per_call(cluster, link, options.rounds, options.calls)
        asyncio.run(side_by_side(cluster.url, link, max(options.rounds // 3, 3), options.calls))
        link.close()


if __name__ == "__main__":
    main()
