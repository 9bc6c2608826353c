"""A member process whose threads take and give back slots; JSON lines on stdin, an answer for each on stdout.

Every slot is written to a file: ``+ TIME ID DOMAIN`` right after it was granted, ``- TIME ID`` right before it is
released, by the clock that all processes of a machine share.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import sys
import threading
import time
from typing import Any

import sharedstate
from sharedstate.errors import LinkError

DOMAINS = ("small.example", "any.example", "other.example")


class Traffic:
    """Threads that open connections for random times until told to be quiet."""

    def __init__(self, state: sharedstate.State, path: str, threads: int, seed: int) -> None:
        self._state = state
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._ids = itertools.count()
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(seed * 100 + number),))
            for number in range(threads)
        ]

    def go(self) -> None:
        for thread in self._threads:
            thread.start()

    def quiet(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _run(self, chance: random.Random) -> None:
        while not self._ending.is_set():
            domain = chance.choice(DOMAINS)
            slot = self._state.outbound.acquire(domain=domain)
            if slot:
                number = next(self._ids)
                self._note("+", number, domain)
                self._ending.wait(chance.choice((0, 0.001, 0.01, 0.05)))
                self._note("-", number)
                slot.release()
            else:
                self._ending.wait(0.002)

    def _note(self, *what: Any) -> None:
        line = f"{what[0]} {time.clock_gettime(time.CLOCK_MONOTONIC)!r} {' '.join(map(str, what[1:]))}\n"
        os.write(self._file, line.encode())


def connect(options: dict[str, Any]) -> sharedstate.State:
    """Join, again and again while the network is at fault."""
    while True:
        try:
            return sharedstate.connect(
                options["url"], node=options["node"], config=options["config"], timeout=1.0
            )
        except LinkError:
            continue


def answer(state: sharedstate.State, traffic: Traffic, command: str) -> Any:
    match command:
        case "go":
            traffic.go()
        case "quiet":
            traffic.quiet()
        case "local":
            return {name: state.shared(name).local() for name in ("outbound_domains", "outbound_scopes")}
        case "metrics":
            return {**dataclasses.asdict(state.metrics), **dataclasses.asdict(state.outbound.metrics)}
        case _:
            raise ValueError(command)
    return True


def main() -> None:
    options = json.loads(sys.argv[1])
    state = connect(options)
    state.outbound._core.policy = "closed"  # only Redis grants: that is what is measured
    traffic = Traffic(state, options["path"], options["threads"], options["seed"])
    print(json.dumps({"ok": True}), flush=True)
    for line in sys.stdin:
        try:
            told: dict[str, Any] = {"ok": answer(state, traffic, *json.loads(line))}
        except Exception as error:
            told = {"error": repr(error)}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
