"""Leased throttles: checks a second, and whether a fleet that takes all it can get gets all of it, and no more.

    python benchmarks/throttle_leased.py [--seconds 3] [--quick]

1. One process on a throttle that never refuses, beside what other packages do in the memory of one process.
2. Three processes, each a node, on one throttle: never refused, and nearly always refused.
3. Four rates, each with three processes that take all they can get. Every process notes when its admissions were:
   in which 16 checks, between two readings of the clock that all processes of a machine share. Over-admitted is the
   most that any interval saw beyond capacity + rate * length, out of all intervals that begin and end at a reading; an
   admission counts in an interval when it certainly was in it. Where the bucket was emptied beforehand, intervals that
   begin with that have rate * length alone. Used is what was admitted of what was allowed: for 10 a minute capacity +
   rate * length in whole tokens, from the full bucket on; for the others rate * length, from the emptied bucket on.
4. 10,000 throttles in use at once in one process, and the questions that their leases cost.

A check is ``if throttle.check():``, refused or not; both are shown.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from _load import Pipe
from _peers import in_memory, tell_missing

import sharedstate
from sharedstate.local import LocalCluster

ALONE, TOGETHER, MANY, USED = 1_000_000, 2_000_000, 300_000, 0.99
NODES = 3
THROTTLES = 10_000
#: Checks between two readings of the clock.
CHUNK = 16
ENDLESS = "1,000,000,000"


class Admissions(NamedTuple):
    """So many admissions, all of them after `begun` and before `ended` (s)."""

    begun: float
    ended: float
    count: int


class Run(NamedTuple):
    """What one process did in its time.

    Attributes:
        begun, ended: s, on the clock of the machine.
        cpu: s, of the thread that checks.
        allowed, refused: checks.
        admissions: when, if asked for.
    """

    begun: float
    ended: float
    cpu: float
    allowed: int
    refused: int
    admissions: list[Admissions]


def spin(check: Callable[[], Any], until: float, *, record: bool) -> Run:
    """Check until it is time."""
    clock = time.monotonic
    begun = before = clock()
    spent = time.thread_time()
    admissions: list[Admissions] = []
    total = rounds = 0
    chunk = range(CHUNK if record else 256)
    while before < until:
        allowed = 0
        for _ in chunk:
            if check():
                allowed += 1
        after = clock()
        rounds += 1
        if allowed:
            total += allowed
            if record:
                admissions.append(Admissions(before, after, allowed))
        before = after
    spent = time.thread_time() - spent
    return Run(begun, before, spent, total, rounds * len(chunk) - total, admissions)


def node(url: str, name: str, orders: Connection) -> None:
    """A process of the fleet: checks what it is told, from a time until a time."""
    with sharedstate.connect(url, node=name) as state:
        orders.send("ready")
        while (order := orders.recv()) is not None:
            throttle, spec, begin, end, record = order
            check = state.throttle(throttle, spec, mode="leased", timeout=1.0).check
            time.sleep(max(begin - time.monotonic(), 0.0))
            orders.send(spin(check, end, record=record))


class Fleet:
    """Processes that check together."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes: list[Connection] = []
        for number in range(NODES):
            ours, theirs = context.Pipe()
            process = context.Process(target=node, args=(url, f"node-{number}", theirs), daemon=True)
            process.start()
            self.pipes.append(ours)
            stack.callback(process.join, 5.0)
        for pipe in self.pipes:
            assert pipe.recv() == "ready"
        stack.callback(lambda: [pipe.send(None) for pipe in self.pipes])

    def run(self, throttle: str, spec: str, seconds: float, *, record: bool = False) -> list[Run]:
        """Let all of them check for so long at the same time."""
        begin = time.monotonic() + 0.3
        for pipe in self.pipes:
            pipe.send((throttle, spec, begin, begin + seconds, record))
        return [pipe.recv() for pipe in self.pipes]


def over_admitted(runs: Sequence[Run], capacity: int, rate: float) -> float:
    """The most that any interval saw beyond what it may, in tokens; negative when there was room in all of them."""
    begins = sorted((entry.begun, entry.count) for run in runs for entry in run.admissions)
    ends = sorted((entry.ended, entry.count) for run in runs for entry in run.admissions)
    # Certainly in [a, b]: what ended by b, less what began before a.
    worst = best = -math.inf
    before, index, seen = 0, 0, 0
    for end, count in ends:
        while index < len(begins) and begins[index][0] < end:
            best = max(best, rate * begins[index][0] - before)
            before += begins[index][1]
            index += 1
        seen += count
        worst = max(worst, seen - rate * end + best)
    return worst - capacity


def over_since(emptied: float, runs: Sequence[Run], rate: float) -> float:
    """The same for the intervals that begin when the bucket was empty: from then on there is no capacity to use up."""
    seen, worst = 0, -math.inf
    for _, end, count in sorted(
        (entry for run in runs for entry in run.admissions), key=lambda entry: entry.ended
    ):
        seen += count
        worst = max(worst, seen - rate * (end - emptied))
    return worst


def one_process(state: sharedstate.State, rounds: int, seconds: float) -> None:
    leased = state.throttle("alone", ENDLESS, mode="leased", timeout=1.0)
    ways: list[tuple[str, Callable[[], Any]]] = [("sharedstate, leased", leased.check)]
    ways += [(peer.title, peer.check) for peer in in_memory(1_000_000)]
    ways.append(
        ("sharedstate, strict (one round trip)", state.throttle("strict", ENDLESS, timeout=1.0).check)
    )
    seen: dict[str, list[float]] = {title: [] for title, _ in ways}
    for number in range(rounds):
        turn = number % len(ways)
        for title, check in (*ways[turn:], *ways[:turn]):
            run = spin(check, time.monotonic() + seconds, record=False)
            seen[title].append((run.allowed + run.refused) / (run.ended - run.begun))
    ours = seen["sharedstate, leased"]
    print(f"one process, {rounds} rounds of {seconds:g} s; the others share nothing with anybody")
    print(f"  {'':40}{'median /s':>12}{'best /s':>12}{'ours is':>9}")
    for title, rates in seen.items():
        middle = statistics.median(rates)
        print(f"  {title:40}{middle:12,.0f}{max(rates):12,.0f}{statistics.median(ours) / middle:9.1f}")
    verdict("one process", statistics.median(ours), ALONE)


def together(fleet: Fleet, rounds: int, seconds: float) -> None:
    print(f"\n{NODES} processes on {NODES} nodes, one throttle, {rounds} rounds of {seconds:g} s in turn")
    print(f"  {'':26}{'median /s':>12}{'best /s':>12}{'allowed':>10}{'by CPU, 2 cores':>17}")
    ways = {"never refused": ENDLESS, "10,000/s: mostly refused": "10,000"}
    seen: dict[str, list[tuple[float, float, float]]] = {title: [] for title in ways}
    for number in range(rounds + 1):
        for title, spec in ways.items():
            runs = fleet.run(f"together:{spec}", spec, seconds)
            if not number:
                continue  # leases grow to the demand
            span = max(run.ended for run in runs) - min(run.begun for run in runs)
            checks = sum(run.allowed + run.refused for run in runs)
            each = sum((run.allowed + run.refused) / run.cpu for run in runs) / len(runs)
            seen[title].append((checks / span, sum(run.allowed for run in runs) / checks, each * 2))
    for title, values in seen.items():
        rates, shares, cpu = zip(*values, strict=True)
        middle = statistics.median(rates)
        print(
            f"  {title:26}{middle:12,.0f}{max(rates):12,.0f}{statistics.median(shares):10.1%}"
            f"{statistics.median(cpu):17,.0f}"
        )
        verdict(title, middle, TOGETHER)
        verdict(f"{title}, by CPU", statistics.median(cpu), TOGETHER)


def bounds(fleet: Fleet, state: sharedstate.State, seconds: float) -> bool:
    """Whether nothing was over-admitted."""
    print(f"\nwhat {NODES} processes that take all they can get are given")
    print(
        f"  {'rate':>12}{'seconds':>9}{'checks/s':>12}{'refused':>9}{'admitted':>12}{'over-admitted':>15}{'room':>10}"
        f"{'used':>9}{'fairness':>10}"
    )
    kept = True
    for spec, capacity, rate in (
        ("10/min", 10, 10 / 60),
        ("100", 100, 100.0),
        ("10,000", 10_000, 1e4),
        ("1,000,000", 1_000_000, 1e6),
    ):
        name = f"bound-{spec}"
        # Whole tokens of a slow rate: the last one that counts is due half a second before the end.
        length = 12.5 if rate < 1 else seconds + 1
        bucket = state.throttle(name, spec, mode="strict", timeout=1.0)
        emptied = time.monotonic()
        if rate >= 1:
            bucket.inc(capacity)
        runs = fleet.run(name, spec, length, record=True)
        begun, ended = min(run.begun for run in runs), min(run.ended for run in runs)
        over = over_admitted(runs, capacity, rate)
        if rate >= 1:
            over = max(over, over_since(emptied, runs, rate))
        allowed = math.floor(capacity + rate * (ended - begun)) if rate < 1 else rate * (ended - emptied)
        shares = [sum(entry.count for entry in run.admissions if entry.ended <= ended) for run in runs]
        used = sum(shares) / allowed
        total, refused = sum(run.allowed for run in runs), sum(run.refused for run in runs)
        kept = kept and over <= 0
        told = "met" if used >= USED and over <= 0 else "MISSED"
        if over <= 0 and used < USED and refused < total / 20:
            told = "not tried: these processes hardly wanted more than that"
        print(
            f"  {spec:>12}{ended - begun:9.1f}{(total + refused) / length:12,.0f}{refused / (total + refused):9.1%}"
            f"{total:12,}{max(math.ceil(over), 0):15,}{max(-over, 0):10,.1f}{used:9.1%}"
            f"{min(shares) / max(max(shares), 1):10.2f}   {told}"
        )
    print(
        "  over-admitted: target 0; used: target 99 %; fairness: least and most of a process, none for 10/min"
    )
    return kept


def spread(state: sharedstate.State, pipes: Sequence[Pipe], rounds: int, seconds: float) -> None:
    """Checks over very many throttles, in no order."""
    checks = [
        state.throttle(f"spread:{number}", "100", mode="leased", timeout=1.0).check
        for number in range(THROTTLES)
    ]
    rng = random.Random(6)
    order = [rng.choice(checks) for _ in range(THROTTLES * 10)]
    go_over(order, 5 * seconds)  # leases grow to the demand
    for pipe in pipes:
        pipe.call("CONFIG", "RESETSTAT")
    rates, allowed, refused = [], 0, 0
    begun = time.monotonic()
    for _ in range(rounds):
        run = go_over(order, seconds)
        rates.append((run.allowed + run.refused) / (run.ended - run.begun))
        allowed, refused = allowed + run.allowed, refused + run.refused
    span = time.monotonic() - begun
    asked = 0
    for pipe in pipes:
        if text := pipe.info("commandstats").get("cmdstat_evalsha"):
            asked += int(dict(part.split("=") for part in text.split(","))["calls"])
    print(f"\n{THROTTLES:,} throttles of 100/s in use at once in one process, in no order, {span:.0f} s")
    print(
        f"  {statistics.median(rates):,.0f} checks/s (best {max(rates):,.0f}), {allowed / (allowed + refused):.1%} of "
        f"them allowed, {asked / span:,.0f} questions a second to the servers"
    )
    verdict("many throttles", statistics.median(rates), MANY)


def go_over(order: Sequence[Callable[[], Any]], seconds: float) -> Run:
    """Check one after the other, over and over."""
    begun = before = time.monotonic()
    allowed = done = 0
    spent = time.thread_time()
    edges = [*range(0, len(order), 1000), len(order)]
    while before < begun + seconds:
        for first, last in pairwise(edges):
            for check in order[first:last]:
                if check():
                    allowed += 1
            done += last - first
            before = time.monotonic()
            if before >= begun + seconds:
                break
    return Run(begun, before, time.thread_time() - spent, allowed, done - allowed, [])


def verdict(what: str, rate: float, target: float) -> None:
    print(f"  {what}: {rate:,.0f}/s; target {target:,}/s: {'met' if rate >= target else 'MISSED'}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="of each measurement with several processes"
    )
    parser.add_argument("--quick", action="store_true", help="a second each")
    options = parser.parse_args()
    seconds = 1.0 if options.quick else options.seconds
    with LocalCluster(primaries=3, replicas=0) as cluster:
        pipes = [Pipe(node.host, node.port) for node in cluster.nodes]
        with ExitStack() as stack:
            fleet = Fleet(cluster.url, stack)
            together(fleet, 5, seconds / 4)
            state = stack.enter_context(sharedstate.connect(cluster.url, node="bench"))
            kept = bounds(fleet, state, seconds)
        with sharedstate.connect(cluster.url, node="bench") as state:
            print()
            one_process(state, 5 if options.quick else 15, 0.1)
            tell_missing()
            spread(state, pipes, 5, seconds / 3)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
