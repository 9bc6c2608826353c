"""Real processes on a real cluster: what they were allowed, written down and compared with the bound."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import sharedstate
from sharedstate.call import key_slot
from sharedstate.keys import Keys
from sharedstate.local import LocalCluster
from sharedstate.local.admin import Admin
from sharedstate.throttle.lease import LEASE_TIME
from sharedstate.throttle.spec import ThrottleSpec, parse_spec
from tests.support import poll

SECONDS = 8.0


class Workers:
    """Members in processes of their own."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, spec: str, mode: str, seconds: float = SECONDS) -> subprocess.Popen[bytes]:
        number = len(self.processes)
        args = [self._url, f"n{number}", spec, mode, str(seconds), str(self._file(number))]
        process = subprocess.Popen([sys.executable, "-m", "tests.throttle.worker", *args])
        self.processes.append(process)
        return process

    def ready(self) -> None:
        for number in range(len(self.processes)):
            poll(lambda number=number: self._lines(number), 30.0, what="the worker is a member")

    def admissions(self) -> list[tuple[float, float]]:
        """Admissions as (not before, not after), of all workers."""
        found = []
        for number in range(len(self.processes)):
            for line in self._lines(number):
                if " " in line:
                    before, after = line.split()
                    found.append((float(before), float(after)))
        return found

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.txt"

    def _lines(self, number: int) -> list[str]:
        try:
            return self._file(number).read_text().splitlines()
        except FileNotFoundError:
            return []


@pytest.fixture
def workers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workers]:
    name = "replicated_cluster" if "replicated_cluster" in request.fixturenames else "cluster"
    made = Workers(request.getfixturevalue(name).url, tmp_path)
    yield made
    for process in made.processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
        process.kill()
        process.wait()


def excess(admissions: list[tuple[float, float]], spec: ThrottleSpec) -> float:
    """By how many the worst interval exceeds capacity + rate * length; only what surely lies inside is counted."""
    befores = sorted(before for before, _ in admissions)
    worst = -float(spec.burst)
    starts = befores[:: max(len(befores) // 300, 1)]
    for start in starts:
        ends = sorted(after for before, after in admissions if before >= start)
        for index, end in enumerate(ends):
            worst = max(worst, index + 1 - spec.burst - spec.rate * (end - start))
    return worst


def test_what_counts_as_excess() -> None:
    spec = parse_spec("10/1")
    assert excess([(0.0, 0.0)] * 10, spec) == 0
    assert excess([(0.0, 0.0)] * 11, spec) == 1
    assert excess([(0.0, 0.0)] * 10 + [(0.0, 0.1)], spec) == 0


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["100/1", "1000/1,max_burst=50", "60/min"])
def test_the_bound_holds_whatever_happens_to_members(
    cluster: LocalCluster, workers: Workers, spec: str
) -> None:
    """Both modes mixed, one killed, one paused for longer than a lease lasts."""
    for mode in ("leased", "leased", "strict", "leased"):
        workers.start(spec, mode)
    workers.ready()
    killed, paused = workers.processes[0], workers.processes[1]
    poll(lambda: len(workers.admissions()) > 20, 20.0)
    paused.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    killed.send_signal(signal.SIGKILL)
    cluster.flush_scripts()
    poll(lambda: time.monotonic() > stopped + LEASE_TIME + 0.5, 10.0)
    paused.send_signal(signal.SIGCONT)
    for process in workers.processes[1:]:
        process.wait(40)
    admissions = workers.admissions()
    rate = parse_spec(spec)
    assert excess(admissions, rate) < 1.0
    length = max(after for _, after in admissions) - min(before for before, _ in admissions)
    allowance = rate.burst + rate.rate * length
    # What two members held when they were killed and paused is lost to the others: at most the bucket.
    assert len(admissions) >= 0.9 * allowance - rate.burst - 5
    with sharedstate.observe(cluster.url) as observer:
        poll(lambda: observer.throttle_view("t").leased == 0, 15.0, what="nothing stays leased out")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["strict", "leased"])
def test_a_failover_loosens_the_bound_by_a_bucketful_at_most(
    replicated_cluster: LocalCluster, workers: Workers, mode: str
) -> None:
    """A primary is killed whose replica had not got the last writes."""
    cluster, spec = replicated_cluster, "100/1"
    for _ in range(3):
        workers.start(spec, mode)
    workers.ready()
    primary = cluster.primary_of(key_slot(Keys("ec_cluster").bucket("t")))
    replica = cluster.replica_of(primary)
    poll(lambda: len(workers.admissions()) > 150, 20.0)
    with Admin("127.0.0.1", replica.port) as admin:
        before = int(admin.info("replication")["slave_repl_offset"])
    cluster.pause(replica)
    count = len(workers.admissions())
    poll(
        lambda: len(workers.admissions()) > count + 40,
        10.0,
        what="admissions that the replica does not hear of",
    )
    cluster.kill(primary)
    cluster.resume(replica)
    after = len(workers.admissions())
    poll(lambda: len(workers.admissions()) > after + 100, 30.0, what="the new primary decides")
    for process in workers.processes:
        process.wait(40)
    assert before > 0
    rate = parse_spec(spec)
    assert excess(workers.admissions(), rate) < rate.burst + 1
