"""Redis is away for a whole minute: a program of its own, so that the minute passes beside the other tests.

    python -m tests.exactness.minute RESULT.json

Starts a cluster and a member, stops every server for SECONDS, counts events meanwhile on a bounded set of items,
lets the servers go on, and writes what was found.
"""

from __future__ import annotations

import json
import random
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import sharedstate
from sharedstate.events import Events
from sharedstate.local import LocalCluster
from sharedstate.names import canonical_address

from .harness import await_exact, own_truths

SECONDS = 60.0
#: Events of each kind in a burst, one burst after the other with a pause: more than two millions in the minute.
BURST = 8_000
PAUSE = 0.5
DRAWS = 6

ADDRESSES = [f"10.{number % 7}.{number % 11}.{number % 250}" for number in range(2000)]
ADDRESSES += [
    canonical_address(f"2001:db8:{number % 5}:{number % 13:x}::{number:x}") for number in range(500)
]
DOMAINS = [f"d{number}.example" for number in range(300)]


class Traffic:
    """Connects, and ends most of the connections again; keeps count of those that stay."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._chance = random.Random(8)
        self.open: dict[str, Counter[str]] = {
            name: Counter() for name in ("inbound_cidr", "outbound_cidr", "outbound_domains")
        }
        self._draws = cycle([self._draw() for _ in range(DRAWS)])

    def _draw(self) -> tuple[list[str], list[tuple[str, str]]]:
        pick = self._chance.choices
        return pick(ADDRESSES, k=BURST), list(
            zip(pick(ADDRESSES, k=BURST), pick(DOMAINS, k=BURST), strict=True)
        )

    def burst(self) -> int:
        """How many events it was."""
        clients, served = next(self._draws)
        for client in clients:
            self._events.inbound_connect(client)
        for address, domain in served:
            self._events.outbound_connect(address, domain)
        stay = self._chance.randrange(20)
        for client in clients[stay:]:
            self._events.inbound_disconnect(client)
        for address, domain in served[stay:]:
            self._events.outbound_disconnect(address, domain)
        self.open["inbound_cidr"].update(clients[:stay])
        self.open["outbound_cidr"].update(address for address, _ in served[:stay])
        self.open["outbound_domains"].update(domain for _, domain in served[:stay])
        return 4 * BURST - 2 * stay

    def differences(self, seen: dict[str, Mapping[str, int]]) -> list[str]:
        return [
            f"{name}: {item} is {seen[name].get(item, 0)} and not {count}"
            for name, counts in self.open.items()
            for item, count in ((item, counts[item]) for item in {*counts, *seen[name]})
            if seen[name].get(item, 0) != count
        ]


def run() -> dict[str, Any]:
    with (
        LocalCluster(primaries=3, replicas=0, node_timeout_ms=5000) as cluster,
        sharedstate.connect(cluster.url, node="a", timeout=2.0) as state,
        sharedstate.observe(cluster.url) as observer,
    ):
        traffic = Traffic(state.events)
        traffic.burst()
        state.flush(30)
        for node in cluster.nodes:
            cluster.pause(node)
        began = time.monotonic()
        # The first bursts make every item and connection known, and a failed publish leaves its traces;
        # from then on nothing may grow.
        number = sum(traffic.burst() for _ in range(DRAWS))
        while not state.metrics.failures:
            time.sleep(0.05)
        tracemalloc.start()
        base = 0
        while time.monotonic() < began + SECONDS:
            number += traffic.burst()
            time.sleep(PAUSE)
            base = base or tracemalloc.get_traced_memory()[0]
        grown = tracemalloc.get_traced_memory()[0] - base
        tracemalloc.stop()
        away = time.monotonic() - began
        failures, published = state.metrics.failures, state.metrics.published
        for node in cluster.nodes:
            cluster.resume(node)
        await_exact(cluster, observer, lambda: own_truths([state]), timeout=40)
        return {
            "away": away,
            "events": number,
            "grown": grown,
            "failures": failures,
            "published since": state.metrics.published - published,
            "differences": traffic.differences({name: state.shared(name).local() for name in traffic.open})
            + traffic.differences({name: observer.shared(name).view().counts for name in traffic.open}),
        }


def main() -> None:
    place = Path(sys.argv[1])
    try:
        found = run()
    except BaseException as error:
        found = {"error": repr(error)}
    draft = place.with_suffix(".draft")
    draft.write_text(json.dumps(found))
    draft.replace(place)


if __name__ == "__main__":
    main()
