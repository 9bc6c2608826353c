"""What the exactness tests share: an oracle that reads the servers directly, and worker processes."""

from __future__ import annotations

import ipaddress
import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from sharedstate.client import State
from sharedstate.errors import CountBelowZeroError, LinkError, UnknownNameError
from sharedstate.local import LocalCluster
from sharedstate.names import address_field
from sharedstate.observer import Observer

Counts = dict[str, dict[str, int]]

OBJECTS = ("inbound_cidr", "outbound_domains")
_ROOT = Path(__file__).parents[2]


class Worker:
    """A member process under command, see worker.py."""

    def __init__(
        self, url: str, node: str, *, member_timeout: float = 1.5, seed: int = 0, rate: int = 0
    ) -> None:
        self.node = node
        self._left = b""
        options = {"url": url, "node": node, "member_timeout": member_timeout, "seed": seed, "rate": rate}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.exactness.worker", json.dumps(options)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.stopped = False

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, command: str, *args: Any, timeout: float = 30.0) -> Any:
        """Send a command and return its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([command, *args]).encode() + b"\n")
        return self.answer(timeout)

    def answer(self, timeout: float = 30.0) -> Any:
        assert self.process.stdout is not None
        until = time.monotonic() + timeout
        while b"\n" not in self._left:
            ready, _, _ = select.select([self.process.stdout], [], [], max(until - time.monotonic(), 0))
            data = os.read(self.process.stdout.fileno(), 1 << 20) if ready else b""
            if not data:
                pytest.fail(
                    f"the worker {self.pid} of {self.node} did not answer (exit {self.process.poll()})"
                )
            self._left += data
        line, _, self._left = self._left.partition(b"\n")
        answer = json.loads(line)
        if "error" in answer:
            pytest.fail(f"worker of {self.node}: {answer['error']}")
        return answer["ok"]

    def ready(self) -> Worker:
        """Wait until it has joined."""
        self.answer()
        return self

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        self.stopped = True

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.stopped = False

    def kill(self) -> None:
        """SIGKILL, by the process object."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


class Load:
    """Random connects and disconnects on the states of this process, until the block ends."""

    def __init__(self, states: Iterable[State], seed: int = 0) -> None:
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(state, random.Random(seed + index)), daemon=True)
            for index, state in enumerate(states)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _run(self, state: State, chance: random.Random) -> None:
        while not self._ending.wait(0.01):
            for _ in range(10):
                change(state, chance)


def change(state: State, chance: random.Random) -> None:
    """One random event."""
    name, key = chance.choice(
        (
            ("inbound_cidr", f"10.{chance.randrange(6)}.2.{chance.randrange(40)}"),
            ("inbound_cidr", f"2001:db8:{chance.randrange(4)}::{chance.randrange(1, 20):x}"),
            ("outbound_domains", f"d{chance.randrange(40)}.example"),
        )
    )
    try:
        if chance.random() < 0.6:
            state.shared(name).increment(key)
        else:
            state.shared(name).decrement(key)
    except CountBelowZeroError:
        pass  # a connection it does not know


def own_truths(states: Iterable[State]) -> dict[str, list[Counts]]:
    """Own counts of states of this process, by node."""
    found: dict[str, list[Counts]] = {}
    for state in states:
        found.setdefault(state.node, []).append({name: state.shared(name).local() for name in OBJECTS})
    return found


def end(workers: Iterable[Worker]) -> None:
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()


def dump(cluster: LocalCluster) -> dict[str, dict[bytes, int]]:
    """Every hash of counts, straight from the primaries, by key."""
    hashes: dict[str, dict[bytes, int]] = {}
    for node in cluster.nodes:
        if not node.alive or node.role != "primary":
            continue
        with node.admin() as admin:
            cursor = "0"
            while True:
                cursor, keys = admin.call("SCAN", cursor, "MATCH", "ss:*", "COUNT", 1000)
                for key in keys:
                    if key.endswith(":sum") or ":of:" in key:
                        flat = admin.call("HGETALL", key)
                        hashes[key] = {
                            item.encode("utf-8", "surrogateescape"): int(value)
                            for item, value in zip(flat[::2], flat[1::2], strict=True)
                        }
                if cursor == "0":
                    break
    return hashes


def expected_fields(truth: Mapping[str, int], *, tree: bool) -> Counter[bytes]:
    """Every field an object must hold and its count: items, and for trees blocks: every 8 bits, beyond /64 every 16."""
    fields: Counter[bytes] = Counter()
    for item, count in truth.items():
        if not tree:
            fields[item.encode()] += count
            continue
        address = ipaddress.ip_address(item)
        tag = b"4" if address.version == 4 else b"6"
        assert address_field(item) == tag + address.packed
        for end_ in range(5) if address.version == 4 else (*range(9), 10, 12, 14, 16):
            fields[tag + address.packed[:end_]] += count
    return fields


def complaint(cluster: LocalCluster, observer: Observer, truths: Mapping[str, list[Counts]]) -> str:
    """What is not exact, "" when all is.

    Args:
        cluster: whose servers are read directly.
        observer: whose views are checked too.
        truths: node to the own counts of each of its live members.
    """
    hashes = dump(cluster)
    negative = [(key, item) for key, items in hashes.items() for item, value in items.items() if value < 0]
    if negative:
        return f"negative counts: {negative[:5]}"
    for name in OBJECTS:
        tree = name == "inbound_cidr"
        total: Counter[str] = Counter()
        for node, members in truths.items():
            own: Counter[str] = Counter()
            for member in members:
                own.update(member[name])
            total.update(own)
            seen = _nonzero(observer.shared(name).view(node=node).counts)
            if seen != dict(own):
                return f"{name} of {node}: {_difference(seen, own)}"
        seen = _nonzero(observer.shared(name).view().counts)
        if seen != dict(total):
            return f"{name}: {_difference(seen, total)}"
        sums: Counter[bytes] = Counter()
        for key, items in hashes.items():
            if f"{{{name}:" in key and key.endswith(":sum"):
                copies: Counter[bytes] = Counter()
                for other, counts in hashes.items():
                    if other.startswith(f"{key[:-3]}of:"):
                        copies.update(counts)
                if +copies != Counter(_nonzero(items)):
                    return f"{key}: the sums are not the sums of the copies"
                sums.update(items)
        wanted = expected_fields(total, tree=tree)
        if +sums != +wanted:
            return f"{name}: fields differ: {_difference(sums, wanted)}"
        if tree:
            for block in (
                "0.0.0.0/0",
                "10.0.0.0/8",
                "10.1.2.0/24",
                "10.1.0.0/17",
                "::/0",
                "2001:db8::/32",
                "2001:db8::/65",
            ):
                network = ipaddress.ip_network(block)
                inside = sum(n for item, n in total.items() if ipaddress.ip_address(item) in network)
                if (found := observer.shared(name).count(block)) != inside:
                    return f"{name}: {block} counts {found}, not {inside}"
    return ""


def await_exact(
    cluster: LocalCluster,
    observer: Observer,
    truths: Callable[[], Mapping[str, list[Counts]]],
    timeout: float = 20.0,
) -> None:
    """Poll until everything is exact; fails with what is not."""
    until = time.monotonic() + timeout
    while True:
        try:
            wrong = complaint(cluster, observer, truths())
        except (LinkError, UnknownNameError) as error:  # away, or nobody has come back yet
            wrong = str(error)
        if not wrong:
            return
        if time.monotonic() > until:
            pytest.fail(f"not exact within {timeout:g} s: {wrong}")
        time.sleep(0.1)


def truths_of(workers: Iterable[Worker]) -> dict[str, list[Counts]]:
    """Own counts of the live workers, by node."""
    found: dict[str, list[Counts]] = {}
    for worker in workers:
        found.setdefault(worker.node, []).append(worker.ask("local"))
    return found


def _nonzero(counts: Mapping[Any, int]) -> dict[Any, int]:
    return {item: count for item, count in counts.items() if count}


def _difference(seen: Mapping[Any, int], wanted: Mapping[Any, int]) -> dict[Any, tuple[int, int]]:
    keys = [key for key in {*seen, *wanted} if seen.get(key, 0) != wanted.get(key, 0)]
    return {key: (seen.get(key, 0), wanted.get(key, 0)) for key in keys[:5]}
