"""Slots under a cap: acquire and release a second, beside a plain Lua semaphore of redis-py, on an embedded cluster.

    python benchmarks/caps.py [--rounds 7] [--pairs 3000]

One connection is opened and ended, again and again, rounds interleaved. ``other domains`` asks for another domain each
time, so that Redis decides every slot; ``same domain`` comes back within 0.1 s, when the slot just given back is still
this process's own. The semaphore is the least that can be had: a counter, an EVALSHA to take and one to give back; it
knows no owners, so a process that dies keeps its slots for ever. Read the ratios; the numbers are this machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import redis

import sharedstate
from sharedstate import aio
from sharedstate.local import LocalCluster

TAKE = """
local n = tonumber(redis.call('GET', KEYS[1]) or '0')
if n >= tonumber(ARGV[1]) then return 0 end
return redis.call('INCR', KEYS[1])
"""
GIVE = "return redis.call('DECR', KEYS[1])"
CAP = 1000
CONFIG = """
[[replicate]]
type = "outbound_domains"

[[limit]]
cluster_max_outbound_connections = 1000
"""
DOMAINS = [f"d{number}.example" for number in range(4096)]

_turn = iter(range(1 << 62))


def other() -> str:
    """A domain that was not asked for in the last seconds."""
    return DOMAINS[next(_turn) % len(DOMAINS)]


def rate(pair: Callable[[str], None], name: Callable[[], str], pairs: int) -> float:
    begun = time.perf_counter()
    for _ in range(pairs):
        pair(name())
    return pairs / (time.perf_counter() - begun)


def ours(state: sharedstate.State) -> Callable[[str], None]:
    def pair(domain: str) -> None:
        slot = state.outbound.acquire(domain=domain, timeout=5.0)
        assert slot.decided_by == "redis", slot
        slot.release()

    return pair


def semaphore(client: redis.Redis | redis.RedisCluster) -> Callable[[str], None]:
    take, give = client.script_load(TAKE), client.script_load(GIVE)

    def pair(domain: str) -> None:
        key = f"semaphore:{domain}"
        assert client.evalsha(take, 1, key, CAP)
        client.evalsha(give, 1, key)

    return pair


async def tasks(url: str, config: Path, count: int, pairs: int) -> float:
    """Pairs per second of so many tasks, another domain each time."""
    async with await aio.connect(url, node="tasks", config=config) as state:

        async def work() -> None:
            for _ in range(pairs // count):
                slot = await state.outbound.acquire(domain=other(), timeout=5.0)
                assert slot.decided_by == "redis", slot
                slot.release()

        todo: list[Awaitable[None]] = [work() for _ in range(count)]
        begun = time.perf_counter()
        await asyncio.gather(*todo)
        return pairs // count * count / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pairs", type=int, default=3000)
    options = parser.parse_args()
    with LocalCluster(primaries=3, replicas=0) as cluster, tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "caps.toml"
        config.write_text(CONFIG)
        with sharedstate.connect(cluster.url, node="bench", config=config) as state:
            host, _, port = str(cluster.url.removeprefix("redis://").partition(",")[0]).rpartition(":")
            clustered = redis.RedisCluster(host=host, port=int(port))
            mine, theirs = ours(state), semaphore(clustered)
            ways: dict[str, Callable[[], float]] = {
                "RedisCluster semaphore, other domains": lambda: rate(theirs, other, options.pairs),
                "sharedstate, other domains": lambda: rate(mine, other, options.pairs),
                "RedisCluster semaphore, same domain": lambda: rate(
                    theirs, lambda: "same.example", options.pairs
                ),
                "sharedstate, same domain": lambda: rate(mine, lambda: "same.example", options.pairs),
                "sharedstate, 100 tasks, other domains": lambda: asyncio.run(
                    tasks(cluster.url, config, 100, options.pairs)
                ),
            }
            seen: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(options.rounds):
                for name, way in ways.items():
                    seen[name].append(way())
    base = statistics.median(seen["RedisCluster semaphore, other domains"])
    most = max(seen["RedisCluster semaphore, other domains"])
    print(f"acquire and release, {options.rounds} rounds of {options.pairs}")
    print(f"{'':40}{'max /s':>10}{'ratio':>8}{'median /s':>12}{'ratio':>8}")
    for name, rates in seen.items():
        best, middle = max(rates), statistics.median(rates)
        print(f"{name:40}{best:10.0f}{best / most:8.2f}{middle:12.0f}{middle / base:8.2f}")


if __name__ == "__main__":
    main()
