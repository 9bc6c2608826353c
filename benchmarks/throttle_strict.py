"""A strict check beside other rate limiters, and beside the least that redis-py can do: EVALSHA of ``return 1``.

    python benchmarks/throttle_strict.py [--rounds 60] [--calls 250] [--quick]

One serial process, a throttle that never refuses, contestants in turn and in another order each round: the median
round counts; the best one, which other work on the machine disturbs least, is shown as well. Then 1,000 asyncio tasks
beside the serial client, and what one check costs the server (INFO commandstats), allowed and refused. Peers come with
``pip install 'sharedstate[bench]'``.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import statistics
import time
from collections.abc import Callable, Sequence

import redis
from _load import Pipe
from _peers import peers, tell_missing

import sharedstate
import sharedstate.aio
from sharedstate.local import LocalCluster, LocalServer

FASTEST_PEER, BARE, TASKS = 1.0, 0.9, 3.0
#: A second; what a peer keeps of each admission stays bounded, and nobody is refused.
MANY = 1_000_000
ONE = "return 1"
SHA = hashlib.sha1(ONE.encode()).hexdigest()
PLAIN = "redis-py RedisCluster, return 1"
OURS = "sharedstate, strict"


class Contestant:
    """One way to check, and what was measured of it."""

    def __init__(self, title: str, check: Callable[[], object], server: Sequence[Pipe]) -> None:
        self.title = title
        self.check = check
        self.server = server
        self.rates: list[float] = []
        self.middles: list[float] = []
        self.lates: list[float] = []
        self.cpu: list[float] = []

    def round(self, calls: int) -> None:
        """Time every call on its own, and all of them together."""
        check, clock = self.check, time.perf_counter_ns
        times = []
        spent = time.thread_time_ns()
        begun = before = clock()
        for _ in range(calls):
            check()
            now = clock()
            times.append(now - before)
            before = now
        self.cpu.append((time.thread_time_ns() - spent) / calls / 1e3)
        self.rates.append(calls * 1e9 / (before - begun))
        times.sort()
        self.middles.append(times[calls // 2] / 1e3)
        self.lates.append(times[calls * 99 // 100] / 1e3)

    def server_us(self, calls: int) -> float:
        """Microseconds of the server for one call of a script."""
        self.check()
        for pipe in self.server:
            pipe.call("CONFIG", "RESETSTAT")
        for _ in range(calls):
            self.check()
        used = done = 0.0
        for pipe in self.server:
            if text := pipe.info("commandstats").get("cmdstat_evalsha"):
                values = dict(part.split("=") for part in text.split(","))
                used, done = used + float(values["usec"]), done + int(values["calls"])
        return used / done


def throughput(ways: Sequence[Contestant], rounds: int, calls: int) -> None:
    for way in ways:
        for _ in range(200):  # connections, scripts
            assert way.check(), f"{way.title} refused"
    for number in range(rounds):
        turn = number % len(ways)
        for way in (*ways[turn:], *ways[:turn]):
            way.round(calls)
    base = next(way for way in ways if way.title == PLAIN)
    typical, best = statistics.median(base.rates), max(base.rates)
    print(f"one serial process, {rounds} rounds of {calls} checks; ratios to {PLAIN}")
    print(
        f"  {'':40}{'median /s':>10}{'ratio':>7}{'best /s':>10}{'ratio':>7}{'p50 us':>8}{'p99 us':>8}{'CPU us':>8}"
    )
    for way in sorted(ways, key=lambda way: -statistics.median(way.rates)):
        middle, most = statistics.median(way.rates), max(way.rates)
        print(
            f"  {way.title:40}{middle:10,.0f}{middle / typical:7.2f}{most:10,.0f}{most / best:7.2f}"
            f"{statistics.median(way.middles):8.1f}{statistics.median(way.lates):8.1f}"
            f"{statistics.median(way.cpu):8.1f}"
        )
    ours = next(way for way in ways if way.title == OURS)
    _verdict(f"{OURS} is", _ratios(ours, base), BARE, "times redis-py's return 1")
    others = [way for way in ways if way not in (ours, base)]
    if others:
        fastest = max(others, key=lambda way: statistics.median(way.rates))
        _verdict(
            f"{OURS} is", _ratios(ours, fastest), FASTEST_PEER, f"times the fastest peer ({fastest.title})"
        )


def _ratios(one: Contestant, other: Contestant) -> tuple[float, float]:
    """By the median round, and by the best one."""
    return statistics.median(one.rates) / statistics.median(other.rates), max(one.rates) / max(other.rates)


def server_time(pairs: Sequence[tuple[str, Contestant, Contestant]], rounds: int, calls: int) -> None:
    seen: dict[str, tuple[list[float], list[float]]] = {title: ([], []) for title, _, _ in pairs}
    for _ in range(rounds):
        for title, allowed, refused in pairs:
            seen[title][0].append(allowed.server_us(calls))
            seen[title][1].append(refused.server_us(calls))
    ours = [min(values) for values in seen[OURS]]
    print(f"\nserver time of one check, us (commandstats; the best of {rounds} rounds of {calls} checks)")
    print(f"  {'':40}{'allowed':>10}{'ours is':>9}{'refused':>10}{'ours is':>9}")
    for title, values in seen.items():
        allowed, refused = map(min, values)
        if title == PLAIN:
            print(f"  {title:40}{allowed:10.2f}{ours[0] / allowed:9.2f}")
        else:
            print(
                f"  {title:40}{allowed:10.2f}{ours[0] / allowed:9.2f}{refused:10.2f}{ours[1] / refused:9.2f}"
            )


async def tasks_at_once(
    state: sharedstate.aio.AsyncState, names: Sequence[str], tasks: int, total: int
) -> float:
    """Checks per second of so many tasks, each with one check under way at a time."""
    throttles = [await state.throttle(name, str(MANY), timeout=30.0) for name in names]

    async def work(number: int) -> None:
        throttle = throttles[number % len(throttles)]
        for _ in range(total // tasks):
            decision = await throttle.check()
            assert decision.decided_by == "redis", decision

    begun = time.perf_counter()
    await asyncio.gather(*map(work, range(tasks)))
    return total // tasks * tasks / (time.perf_counter() - begun)


async def side_by_side(url: str, ours: Contestant, rounds: int, calls: int) -> None:
    tasks, total = 1000, max(calls * 3, 5000)
    spread = [f"spread:{number}" for number in range(tasks)]
    seen: dict[str, list[float]] = {
        "sync, serial": [],
        f"asyncio, {tasks} tasks, one throttle": [],
        f"asyncio, {tasks} tasks, a throttle each": [],
    }
    one, each = list(seen)[1:]
    async with await sharedstate.aio.connect(url, node="tasks") as state:
        await tasks_at_once(state, spread, tasks, tasks)
        for _ in range(rounds):
            begun = time.perf_counter()
            for _ in range(calls):
                ours.check()
            seen["sync, serial"].append(calls / (time.perf_counter() - begun))
            seen[one].append(await tasks_at_once(state, spread[:1], tasks, total))
            seen[each].append(await tasks_at_once(state, spread, tasks, total))
        default = await state.throttle("deadline", str(MANY))
        decisions = await asyncio.gather(*(default.check() for _ in range(tasks)))
    print(f"\nmany at a time, {rounds} rounds; ratios to the serial client")
    print(f"  {'':40}{'median /s':>10}{'ratio':>7}{'best /s':>10}{'ratio':>7}")
    typical, best = statistics.median(seen["sync, serial"]), max(seen["sync, serial"])
    for title, rates in seen.items():
        middle, most = statistics.median(rates), max(rates)
        print(f"  {title:40}{middle:10,.0f}{middle / typical:7.2f}{most:10,.0f}{most / best:7.2f}")
    ratios = statistics.median(seen[one]) / typical, max(seen[one]) / best
    _verdict(f"{tasks} tasks are", ratios, TASKS, "times the serial client")
    late = sum(decision.decided_by != "redis" for decision in decisions)
    print(f"  of {tasks} checks begun at once with the default timeout (50 ms) the policy decided {late}")


def _verdict(what: str, ratios: tuple[float, float], target: float, of: str) -> None:
    told = " and ".join("met" if ratio >= target else "MISSED" for ratio in ratios)
    print(
        f"  {what} {ratios[0]:.2f} {of} by the median, {ratios[1]:.2f} by the best; target {target:g}: {told}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--calls", type=int, default=250)
    parser.add_argument("--quick", action="store_true", help="20 rounds of 100 calls")
    options = parser.parse_args()
    rounds, calls = (20, 100) if options.quick else (options.rounds, options.calls)
    with (
        LocalCluster(primaries=3, replicas=0) as cluster,
        LocalServer() as server,
        sharedstate.connect(cluster.url, node="bench") as state,
    ):
        nodes = [Pipe(node.host, node.port) for node in cluster.nodes]
        single = [Pipe(server.node.host, server.node.port)]
        clustered = redis.RedisCluster(host=cluster.nodes[0].host, port=cluster.nodes[0].port)
        for pipe in nodes:
            pipe.call("SCRIPT", "LOAD", ONE)
        plain = Contestant(PLAIN, lambda: clustered.evalsha(SHA, 1, "ss:{bench}:n"), nodes)
        ours = Contestant(OURS, state.throttle("never-refuses", str(MANY), timeout=5.0).check, nodes)
        refusing = Contestant(OURS, state.throttle("refuses", "1/hr", timeout=5.0).check, nodes)
        addresses = ",".join(node.address for node in cluster.nodes)
        theirs = [
            [
                Contestant(
                    peer.title + (" *" if peer.single else ""),
                    peer.check,
                    single if peer.single else nodes,
                )
                for peer in peers(addresses, server.url, MANY, refusing=refuses)
            ]
            for refuses in (False, True)
        ]
        print("* asks a single server of the same program: it documents no way to a cluster")
        tell_missing()
        throughput([plain, ours, *theirs[0]], rounds, calls)
        asyncio.run(side_by_side(cluster.url, ours, max(rounds // 8, 3), calls * 4))
        pairs = [(OURS, ours, refusing), (PLAIN, plain, plain)]
        pairs += [(way.title, way, other) for way, other in zip(*theirs, strict=True)]
        server_time(pairs, 5, calls * 2)


if __name__ == "__main__":
    main()
