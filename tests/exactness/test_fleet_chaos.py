"""A fleet whose processes die, sleep and lose answers ends exact, item by item."""

from __future__ import annotations

import random
import time

import pytest

import sharedstate
from sharedstate.local import LocalCluster

from ..proxy import FaultProxy, proxied
from .harness import Worker, await_exact, end, truths_of

CHAOS_SECONDS = 7.0


class Chaos:
    """One random fault after the other, from a seed."""

    def __init__(self, seed: int, url: str, proxies: list[FaultProxy], workers: list[Worker]) -> None:
        self.random = random.Random(seed)
        self.url = url
        self.proxies = proxies
        self.workers = workers
        self.late: list[tuple[float, Worker | FaultProxy]] = []
        self.started = len(workers)
        self.killed = 0
        self.slept = 0

    def step(self) -> None:
        self.mend(time.monotonic())
        what = self.random.choice(
            ("kill", "stop", "stop", "cut", "cut", "lose", "lose", "refuse", "delay", "drop")
        )
        proxy = self.random.choice(self.proxies)
        now = time.monotonic()
        if what == "kill" and self.killed < 5:
            self.kill(self.random.randrange(len(self.workers)))
        elif what == "stop":
            worker = self.random.choice(self.workers)
            if not worker.stopped:
                worker.stop()
                self.slept += 1
                self.late.append((now + self.random.uniform(0.2, 2.6), worker))
        elif what == "cut":
            proxy.cut_all()
        elif what == "lose":
            proxy.cut_replies(self.random.randrange(1, 6), after_bytes=self.random.choice((0, 0, 3)))
        elif what == "refuse":
            proxy.cut_requests(self.random.randrange(1, 4))
        elif what == "delay":
            proxy.delay = self.random.uniform(0.05, 1.3)  # beyond the workers' patience: answers come late
            self.late.append((now + 0.4, proxy))
        elif what == "drop":
            proxy.drop_replies = True
            self.late.append((now + 0.4, proxy))

    def kill(self, index: int) -> None:
        victim = self.workers[index]
        self.late = [entry for entry in self.late if entry[1] is not victim]
        victim.kill()
        self.killed += 1
        self.started += 1
        self.workers[index] = Worker(self.url, victim.node, seed=self.started, rate=400)

    def mend(self, now: float) -> None:
        for due, what in list(self.late):
            if due <= now:
                self.late.remove((due, what))
                if isinstance(what, Worker):
                    what.resume()
                else:
                    what.delay, what.drop_replies = 0.0, False


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_fleet_is_exact_after_chaos(cluster: LocalCluster, seed: int) -> None:
    workers: list[Worker] = []
    try:
        with proxied(cluster) as through:
            workers += [Worker(through.url, f"node-{n % 3}", seed=100 * seed + n, rate=400) for n in range(8)]
            for worker in workers:
                worker.ready()
            chaos = Chaos(seed, through.url, through.proxies, workers)
            until = time.monotonic() + CHAOS_SECONDS
            known = list(workers)
            while time.monotonic() < until:
                chaos.step()
                time.sleep(0.12)
            chaos.mend(float("inf"))
            for proxy in through.proxies:
                proxy.cut_replies(0)
                proxy.cut_requests(0)
            for worker in workers:
                if worker not in known:
                    worker.ready()
            for worker in workers:
                worker.ask("quiet")
            with sharedstate.observe(through.url) as observer:
                await_exact(cluster, observer, lambda: truths_of(workers))
                assert len(observer.members()) == 8
            assert sum(worker.ask("metrics")["published"] for worker in workers) > 0
            assert chaos.killed
            assert chaos.slept
    finally:
        end(workers)
