"""A fleet under load, with processes killed and answers lost: no cap is ever exceeded, and all ends exact."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import sharedstate
from sharedstate.local import LocalCluster
from sharedstate.observer import Observer
from tests.exactness.harness import Worker, end
from tests.proxy import FaultProxy, proxied
from tests.support import poll

from .config import write

CAPS = {"small.example": 2, "any.example": 5, "other.example": 5}
TOTAL = 9
ROOT = Path(__file__).parents[2]


class Taker(Worker):
    """A process of worker.py, with the record of its slots."""

    def __init__(self, url: str, node: str, config: Path, *, threads: int = 8, seed: int = 0) -> None:
        self.node = node
        self._left = b""
        self.path = config.with_name(f"slots-{node}-{seed}")
        self.died = float("inf")
        options = {
            "url": url,
            "node": node,
            "config": str(config),
            "path": str(self.path),
            "threads": threads,
            "seed": seed,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.outbound.worker", json.dumps(options)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.stopped = False

    def kill(self) -> None:
        self.died = time.clock_gettime(time.CLOCK_MONOTONIC)
        super().kill()

    def slots(self) -> Iterable[tuple[float, float, str]]:
        """From, until and domain of every slot it held; its connections end with it."""
        open_: dict[str, tuple[float, str]] = {}
        text = self.path.read_text() if self.path.exists() else ""
        for line in text.splitlines(keepends=True):
            if not line.endswith("\n"):
                break  # it died in the middle
            what, at, number, *domain = line.split()
            if what == "+":
                open_[number] = float(at), domain[0]
            else:
                since, name = open_.pop(number)
                yield since, float(at), name
        for since, name in open_.values():
            yield since, self.died, name


def peaks(takers: Iterable[Taker]) -> Counter[str]:
    """The most slots held at one moment, by domain and of all together."""
    events = []
    for taker in takers:
        for since, until, domain in taker.slots():
            events += [(since, 1, domain), (until, -1, domain)]
    # Of two at the same moment the end comes first.
    now: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for _, change, domain in sorted(events):
        for name in (domain, "all"):
            now[name] += change
            most[name] = max(most[name], now[name])
    return most


def wrong(observer: Observer, takers: Iterable[Taker]) -> str:
    """What the fleet's counts and the members' truth differ in."""
    truth: dict[str, Counter[str]] = {"outbound_domains": Counter(), "outbound_scopes": Counter()}
    for taker in takers:
        for name, counts in taker.ask("local").items():
            truth[name].update(counts)
    for name, counts in truth.items():
        seen = dict(observer.shared(name).view().rows())
        if seen != dict(+counts):
            return f"{name}: {seen}, not {dict(+counts)}"
    return ""


def await_exact(observer: Observer, takers: list[Taker]) -> None:
    problem = "?"

    def exact() -> bool:
        nonlocal problem
        problem = wrong(observer, takers)
        return not problem

    try:
        poll(exact, 20, interval=0.1)
    except pytest.fail.Exception:
        pytest.fail(problem)


def metrics(takers: Iterable[Taker]) -> Counter[str]:
    found: Counter[str] = Counter()
    for taker in takers:
        found.update({name: n for name, n in taker.ask("metrics").items() if isinstance(n, int)})
    return found


def check(takers: list[Taker], alive: list[Taker]) -> None:
    most = peaks(takers)
    counted: dict[str, Any] = dict(metrics(alive))
    assert counted["rejoins"] == 0, "nobody was taken for dead, or the test proves nothing"
    assert {name: most[name] for name in CAPS if most[name] > CAPS[name]} == {}
    assert most["all"] <= TOTAL
    assert most["all"] >= TOTAL - 1, "the caps were really tried"


@pytest.mark.slow
def test_killed_processes_give_their_slots_back(cluster: LocalCluster, tmp_path: Path) -> None:
    config = write(tmp_path, member_timeout=3.0, total=TOTAL)
    takers = [Taker(cluster.url, f"n{number}", config, seed=number) for number in range(4)]
    try:
        with sharedstate.observe(cluster.url) as observer:
            for taker in takers:
                taker.ready()
            for taker in takers:
                taker.ask("go")
            poll(lambda: sum(1 for taker in takers for _ in taker.slots()) > 1000, 30, interval=0.1)
            takers[0].kill()
            poll(lambda: len(observer.members()) == 3, what="the dead to be noticed", interval=0.1)
            so_far = sum(1 for taker in takers for _ in taker.slots())
            poll(lambda: sum(1 for taker in takers for _ in taker.slots()) > so_far + 500, 30, interval=0.1)
            alive = takers[1:]
            for taker in alive:
                taker.ask("quiet")
            await_exact(observer, alive)
            assert dict(observer.shared("outbound_domains").view().rows()) == {}
            check(takers, alive)
    finally:
        end(takers)


class Trouble:
    """Faults of the network that end before a member is taken for dead."""

    def __init__(self, seed: int, proxies: list[FaultProxy]) -> None:
        self._chance = random.Random(seed)
        self._proxies = proxies
        self._mend: list[tuple[float, FaultProxy]] = []

    def step(self) -> None:
        now = time.monotonic()
        self.mend(now)
        proxy = self._chance.choice(self._proxies)
        match self._chance.choice(("cut", "lose", "lose", "refuse", "delay", "drop")):
            case "cut":
                proxy.cut_all()
            case "lose":
                proxy.cut_replies(self._chance.randrange(1, 6), after_bytes=self._chance.choice((0, 3)))
            case "refuse":
                proxy.cut_requests(self._chance.randrange(1, 4))
            case "delay":
                proxy.delay = self._chance.uniform(
                    0.03, 0.3
                )  # beyond the takers' deadline: answers come late
                self._mend.append((now + 0.3, proxy))
            case _:
                proxy.drop_replies = True
                self._mend.append((now + 0.2, proxy))

    def mend(self, now: float) -> None:
        for due, proxy in list(self._mend):
            if due <= now:
                self._mend.remove((due, proxy))
                proxy.delay, proxy.drop_replies = 0.0, False


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_lost_and_late_answers_cost_nothing(cluster: LocalCluster, tmp_path: Path, seed: int) -> None:
    config = write(tmp_path, member_timeout=12.0, total=TOTAL)
    takers: list[Taker] = []
    try:
        with proxied(cluster) as through:
            takers += [Taker(through.url, f"n{n}", config, seed=10 * seed + n) for n in range(4)]
            for taker in takers:
                taker.ready()
            for taker in takers:
                taker.ask("go")
            trouble = Trouble(seed, through.proxies)
            until = time.monotonic() + 6.0
            while time.monotonic() < until:
                trouble.step()
                time.sleep(0.1)
            trouble.mend(float("inf"))
            for proxy in through.proxies:
                proxy.cut_replies(0)
                proxy.cut_requests(0)
            for taker in takers:
                taker.ask("quiet")
            with sharedstate.observe(through.url) as observer:
                await_exact(observer, takers)
            check(takers, takers)
            assert metrics(takers)["uncertain"] > 0, "answers were lost"
    finally:
        end(takers)
