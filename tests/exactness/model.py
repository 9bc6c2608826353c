"""A model of the server side: what lua/*.lua do, as plain Python, for tests that need thousands of histories."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sharedstate.call import Call, Flow
from sharedstate.errors import AmbiguousError


@dataclass
class ModelShard:
    """One shard as gauge_publish and gauge_reap keep it."""

    registry: dict[str, int] = field(default_factory=dict)
    sums: dict[bytes, int] = field(default_factory=dict)
    copies: dict[str, dict[bytes, int]] = field(default_factory=dict)

    def publish(
        self, incarnation: str, believed: int, sequence: int, values: dict[bytes, int | None]
    ) -> list[int]:
        last = self.registry.get(incarnation, 0)
        if last < 0:
            return [-1, 0]
        if last == sequence:
            return [1, last]
        if last != believed:
            return [0, last]
        own = self.copies.setdefault(incarnation, {})
        for item, value in values.items():
            total = self.sums.get(item, 0) + (value or 0) - own.get(item, 0)
            if value is None:
                own.pop(item, None)
            else:
                own[item] = value
            if total or value is not None:
                self.sums[item] = total
            else:
                self.sums.pop(item, None)
        self.registry[incarnation] = sequence
        return [1, sequence]

    def take(self, incarnation: str, believed: int, item: bytes, n: int, cap: int, known: int) -> list[int]:
        last = self.registry.get(incarnation, 0)
        if last < 0:
            return [-1, 0, 0, 0]
        total = self.sums.get(item, 0)
        held = self.copies.get(incarnation, {}).get(item, 0)
        if last != believed:
            return [2, total, last, held]
        if total + max(known - held, 0) + n > cap:
            return [0, total, last, held]
        self.registry.setdefault(incarnation, 0)
        self.copies.setdefault(incarnation, {})[item] = held + n
        self.sums[item] = total + n
        return [1, total + n, last, held + n]

    def reap(self, incarnation: str) -> list[Any]:
        if self.registry.get(incarnation, 0) >= 0:
            self.registry[incarnation] = -1
        for item, value in self.copies.pop(incarnation, {}).items():
            self.sums[item] = self.sums.get(item, 0) - value
            if not self.sums[item]:
                del self.sums[item]
        return [0, b"0"]

    def check(self) -> None:
        """The invariant: sums are the sums of the copies, and nothing is negative."""
        copies: Counter[bytes] = Counter()
        for own in self.copies.values():
            assert all(value >= 0 for value in own.values())
            copies.update(own)
        assert {i: n for i, n in copies.items() if n} == {i: n for i, n in self.sums.items() if n}


@dataclass
class ModelFleet:
    """The fleet's own keys; time does not pass here."""

    live: set[str] = field(default_factory=set)
    dying: set[str] = field(default_factory=set)
    records: dict[str, bytes] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    joins: int = 0


class ModelServer:
    """Carries out calls; each may be lost, answered to nobody, repeated, or come late.

    Attributes:
        fates: gives the fate of the next call: heard, unheard, unsent or repeated.
        late: calls that may still arrive (again).
    """

    def __init__(self, fates: Callable[[], str]) -> None:
        self.fates = fates
        self.fleet = ModelFleet()
        self.shards: dict[str, ModelShard] = {}
        self.late: list[Call[Any]] = []
        self._kept: dict[str, ModelShard] = {}

    def run(self, flow: Flow[Any]) -> Any:
        """Drive a flow; its errors pass through."""
        try:
            calls = next(flow)
            while True:
                calls = flow.send([self._outcome(call) for call in calls])
        except StopIteration as finished:
            return finished.value

    def _outcome(self, call: Call[Any]) -> Any:
        fate = self.fates()
        if fate in ("unheard", "unsent"):
            if fate == "unheard":
                self.carry(call)
            self.late.append(call)
            return AmbiguousError("no answer")
        if fate == "repeated":
            self.carry(call)
        return call.decode(self.carry(call))

    def keep(self) -> None:
        """Every shard as it is now is what its replica has."""
        self._kept = copy.deepcopy(self.shards)

    def fail_over(self, chance: random.Random) -> None:
        """Some shards fall back to what their replicas had."""
        for key in sorted(self._kept):
            if chance.random() < 0.7:
                self.shards[key] = copy.deepcopy(self._kept[key])

    def flush(self, chance: random.Random) -> None:
        """Some shards lose everything, the fleet's own keys perhaps too."""
        for key in sorted(self.shards):
            if chance.random() < 0.5:
                self.shards[key] = ModelShard()
        if chance.random() < 0.5:
            self.fleet = ModelFleet(joins=self.fleet.joins)

    def shard(self, registry: str) -> ModelShard:
        return self.shards.setdefault(registry, ModelShard())

    def carry(self, call: Call[Any]) -> Any:
        """What the server does and answers."""
        if call.script is None:
            shard = self.shard(str(call.args[1]))
            if call.args[0] == "HGET":
                last = shard.registry.get(str(call.args[2]))
                return None if last is None else str(last).encode()
            assert call.args[0] == "HGETALL"
            return [
                part for inc, last in shard.registry.items() for part in (inc.encode(), str(last).encode())
            ]
        count = call.script.key_count
        keys, args = [str(key) for key in call.args[1 : count + 1]], call.args[count + 1 :]
        return getattr(self, f"_{call.script.name}")(keys, args)

    def _gauge_publish(self, keys: list[str], args: Any) -> list[int]:
        values = {args[i]: None if args[i + 1] == "" else args[i + 1] for i in range(3, len(args), 2)}
        return self.shard(keys[0]).publish(args[0], args[1], args[2], values)

    def _gauge_take(self, keys: list[str], args: Any) -> list[int]:
        return self.shard(keys[0]).take(*args)

    def _gauge_reap(self, keys: list[str], args: Any) -> list[Any]:
        return self.shard(keys[0]).reap(args[0])

    def _fleet_join(self, _: list[str], args: Any) -> list[Any]:
        fleet = self.fleet
        for name, text in zip(args[3::2], args[4::2], strict=True):
            fleet.objects.setdefault(name, text.encode())
        if args[0] not in fleet.live:
            fleet.joins += 1
            fleet.records[args[0]] = f"{fleet.joins} {args[2]}".encode()
            fleet.live.add(args[0])
        return [fleet.joins, len(fleet.live), *(fleet.objects[name] for name in args[3::2])]

    def _fleet_beat(self, _: list[str], args: Any) -> list[Any]:
        if args[0] not in self.fleet.live:
            return [0, len(self.fleet.live)]
        return [1, len(self.fleet.live), *(incarnation.encode() for incarnation in sorted(self.fleet.dying))]

    def _fleet_fence(self, _: list[str], args: Any) -> int:
        moved = self.fleet.live & set(args[1:])
        self.fleet.live -= moved
        self.fleet.dying |= moved
        return len(moved)

    def _fleet_bury(self, _: list[str], args: Any) -> int:
        if args[0] in self.fleet.live:
            return 0
        self.fleet.dying.discard(args[0])
        self.fleet.records.pop(args[0], None)
        return 1

    def _fleet_look(self, _: list[str], __: Any) -> list[Any]:
        fleet = self.fleet
        return [
            0,
            [part for incarnation in sorted(fleet.live) for part in (incarnation.encode(), b"1")],
            [incarnation.encode() for incarnation in sorted(fleet.dying)],
            [part for inc, text in fleet.records.items() for part in (inc.encode(), text)],
            [part for name, text in fleet.objects.items() for part in (name.encode(), text)],
        ]
