"""A member process under command of a test: JSON lines on stdin, an answer for each on stdout.

Commands: ``["quiet"]``, ``["go"]``, ``["local"]``, ``["metrics"]``, ``["member"]``, ``["burst", object, [keys]]``,
``["flush"]``, ``["close"]``.
"""

from __future__ import annotations

import dataclasses
import json
import random
import sys
import threading
from typing import Any

import sharedstate
from sharedstate.errors import CountBelowZeroError, LinkError


class Traffic(threading.Thread):
    """Random connects and disconnects until told to be quiet."""

    def __init__(self, state: sharedstate.State, seed: int, rate: int) -> None:
        super().__init__(daemon=True)
        self._state = state
        self._random = random.Random(seed)
        self._rate = rate
        self._going = threading.Event()
        self._step_lock = threading.Lock()

    def go(self) -> None:
        self._going.set()

    def quiet(self) -> None:
        self._going.clear()
        with self._step_lock:  # the step under way ends first
            pass

    def run(self) -> None:
        chance = self._random
        addresses = [
            f"10.{chance.randrange(4)}.{chance.randrange(4)}.{chance.randrange(256)}" for _ in range(150)
        ]
        addresses += [f"10.1.2.{last}" for last in range(0, 256, 9)]
        addresses += [f"2001:db8:{chance.randrange(3):x}::{chance.randrange(64):x}" for _ in range(60)]
        domains = [f"d{number}.example" for number in range(40)]
        pause = threading.Event()
        while True:
            self._going.wait()
            with self._step_lock:
                if not self._going.is_set():
                    continue
                for _ in range(max(self._rate // 50, 1)):
                    name, keys = chance.choice((("inbound_cidr", addresses), ("outbound_domains", domains)))
                    shared = self._state.shared(name)
                    try:
                        if chance.random() < 0.55:
                            shared.increment(chance.choice(keys), chance.choice((1, 1, 1, 3)))
                        else:
                            shared.decrement(chance.choice(keys))
                    except CountBelowZeroError:
                        pass  # as an MTA would see for a connection it does not know
            pause.wait(0.02)


def answer(state: sharedstate.State, traffic: Traffic, command: str, *args: Any) -> Any:
    match command:
        case "go":
            traffic.go()
        case "quiet":
            traffic.quiet()
        case "local":
            return {name: state.shared(name).local() for name in ("inbound_cidr", "outbound_domains")}
        case "metrics":
            return dataclasses.asdict(state.metrics)
        case "member":
            return dataclasses.asdict(state.member)
        case "burst":
            for key in args[1]:
                state.shared(args[0]).increment(key)
        case "flush":
            state.flush()
        case "close":
            state.close()
        case _:
            raise ValueError(command)
    return True


def connect(options: dict[str, Any]) -> sharedstate.State:
    """Join, again and again while the network is at fault, as a service manager would have it."""
    while True:
        try:
            return sharedstate.connect(
                options["url"], node=options["node"], member_timeout=options["member_timeout"], timeout=1.0
            )
        except LinkError:
            continue


def main() -> None:
    options = json.loads(sys.argv[1])
    state = connect(options)
    traffic = Traffic(state, options["seed"], options["rate"])
    traffic.start()
    if options["rate"]:
        traffic.go()
    print(json.dumps({"ok": True}), flush=True)
    for line in sys.stdin:
        try:
            told: dict[str, Any] = {"ok": answer(state, traffic, *json.loads(line))}
        except Exception as error:
            told = {"error": repr(error)}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
