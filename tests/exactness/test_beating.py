"""A member that reaps a very large one beats in between: nobody takes it for dead while it works."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sharedstate import member as member_module
from sharedstate.call import Call, Flow
from sharedstate.keys import Keys
from sharedstate.member import MemberEngine, Metrics
from sharedstate.objects.store import GaugeStore
from sharedstate.results import Member
from sharedstate.specs import ObjectSpec

from .model import ModelServer

KEYS = Keys("model")
SPEC = ObjectSpec(name="outbound_domains", cls="outbound_domains", shards=2)
TIMEOUT = 15.0
#: A round trip of this model, seconds; a reap takes so many that a member would be dead several times.
STEP, PAGES = 0.4, 100


class SlowServer(ModelServer):
    """Every question takes STEP seconds, and every reap PAGES questions; members that do not beat are fenced."""

    def __init__(self, live_for: float) -> None:
        super().__init__(lambda: "heard")
        self.now = 0.0
        self.live_for = live_for
        self.until: dict[str, float] = {}
        self.pages: dict[tuple[str, str], int] = {}
        self.fence_at: float | None = None
        self.missed: list[str] = []

    def run(self, flow: Flow[Any]) -> Any:
        return super().run(self._timed(flow))

    def _timed(self, flow: Flow[Any]) -> Flow[Any]:
        calls = next(flow)
        while True:
            self.now += STEP
            for incarnation in sorted(self.fleet.live):
                if self.until.get(incarnation, self.now) < self.now:
                    self.missed.append(incarnation)
            if self.fence_at is not None and self.now >= self.fence_at:
                self.fence_at = None
                self.fleet.dying |= self.fleet.live
                self.fleet.live = set()
            try:
                calls = flow.send((yield calls))
            except StopIteration as finished:
                return finished.value

    def carry(self, call: Call[Any]) -> Any:
        answer = super().carry(call)
        if call.script is not None and call.script.name in ("fleet_join", "fleet_beat") and answer[0]:
            self.until[str(call.args[call.script.key_count + 1])] = self.now + self.live_for
        return answer

    def _gauge_reap(self, keys: list[str], args: Any) -> list[Any]:
        place = (keys[0], args[0])
        self.pages[place] = self.pages.get(place, 0) + 1
        if self.pages[place] < PAGES:
            return [PAGES - self.pages[place], b"1"]
        return super()._gauge_reap(keys, args)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowServer]:
    slow = SlowServer(TIMEOUT * 2 / 3)
    monkeypatch.setattr(member_module, "awake_clock", lambda: slow.now)
    yield slow
    assert slow.missed == [], "every member beat in time"


def engine_of(node: str) -> MemberEngine:
    store = GaugeStore(SPEC, lambda: None)
    store.increment("a.example", 3)
    return MemberEngine(KEYS, Member(incarnation="", node=node, pid=1), [store], TIMEOUT, Metrics())


def sums(server: SlowServer) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for index in range(SPEC.shards):
        found |= server.shard(KEYS.registry(SPEC.name, index)).sums
    return found


def joined(server: SlowServer, node: str = "a") -> MemberEngine:
    engine = engine_of(node)
    server.run(engine.join())
    server.run(engine.publish())
    return engine


def test_while_it_takes_out_its_own_old_copies(server: SlowServer) -> None:
    engine = joined(server)
    server.run(engine.rejoin())
    assert server.now > 2 * TIMEOUT
    server.run(engine.tick(False))
    assert sums(server) == {b"a.example": 3}
    assert engine.metrics.rejoins == 1


def test_while_it_takes_out_another(server: SlowServer) -> None:
    engine, dead = joined(server), joined(server, "b")
    server.fleet.live.remove(dead.member.incarnation)
    server.fleet.dying.add(dead.member.incarnation)
    server.run(engine.beat())
    assert server.now > 2 * TIMEOUT
    assert sums(server) == {b"a.example": 3}
    assert (engine.metrics.reaped, engine.metrics.rejoins) == (1, 0)


def test_fenced_while_it_rejoins_it_rejoins_again(server: SlowServer) -> None:
    engine = joined(server)
    server.fence_at = server.now + TIMEOUT
    server.run(engine.rejoin())
    for _ in range(2):
        server.run(engine.tick(False))
    assert sums(server) == {b"a.example": 3}
    assert engine.metrics.rejoins == 2
    assert server.fleet.live == {engine.member.incarnation}
