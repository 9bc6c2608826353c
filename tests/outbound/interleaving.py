"""Flows of several members, taken step by step in any order, against the model of the server.

Every call is sent, delivered, answered, lost or late on its own, so that takes and publishes meet in each order that a
network could bring about, and more.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass, field
from typing import Any

from sharedstate.breaker import Breaker
from sharedstate.call import Call, only
from sharedstate.config import Limit, LimitKind, Scope
from sharedstate.errors import AmbiguousError, UnreachableError
from sharedstate.keys import Keys
from sharedstate.member import MemberEngine, Metrics
from sharedstate.objects import fleet
from sharedstate.objects.store import GaugeStore
from sharedstate.outbound.slots import Slot
from sharedstate.outbound.taking import SlotCore, Wait
from sharedstate.outbound.targets import Targets
from sharedstate.reaping import bury_flow
from sharedstate.results import Member
from sharedstate.specs import ObjectSpec
from tests.exactness.model import ModelServer

KEYS = Keys("model")
DOMAINS = ["a.example", "b.example", "c.example"]
_UNANSWERED = object()


class Patience(Breaker):
    """Never sends anybody away: what a policy would decide is not what is tried here."""

    def allow(self, address: Hashable) -> bool:
        return True


@dataclass
class Sent:
    """One call under way."""

    call: Call[Any]
    reply: Any = _UNANSWERED

    @property
    def delivered(self) -> bool:
        return self.reply is not _UNANSWERED


@dataclass
class Run:
    """One flow under way, with what it waits for."""

    flow: Generator[Any, Any, Any]
    node: Node
    done: Callable[[Any], None]
    sent: list[Sent] = field(default_factory=list)
    wait: Wait | None = None


class Node:
    """One member with its caps."""

    def __init__(self, name: str, limits: tuple[Limit, ...], shards: int) -> None:
        specs = [
            ObjectSpec(name="outbound_domains", cls="outbound_domains", shards=shards, remember=2),
            ObjectSpec(name="outbound_scopes", cls="outbound_scopes", shards=1, remember=2),
        ]
        self.stores = [GaugeStore(spec, lambda: None) for spec in specs]
        self.engine = MemberEngine(
            KEYS, Member(incarnation="", node=name, pid=1), self.stores, 15.0, Metrics()
        )
        self.core = SlotCore(
            KEYS,
            self.engine,
            Targets(self.stores, (), limits),
            lambda slot: slot,
            policy="closed",
            breaker=Patience(),
        )
        self.held: list[tuple[str, Slot]] = []
        self.ticking = False
        self.dead = False


class World:
    """Members, the server, and everything under way between them.

    Args:
        chance: decides everything.
        each: cap on each domain.
        total: cap on all together.
        losses: how likely an answer is lost.
        nodes: how many members.
    """

    def __init__(
        self, chance: random.Random, each: int, total: int, losses: float, nodes: int, shards: int
    ) -> None:
        self.chance = chance
        self.each, self.total = each, total
        self.losses = losses
        self.limits = (
            Limit(LimitKind.MAX_CONNECTIONS, Scope(), each),
            Limit(LimitKind.SERVER_MAX_CONNECTIONS, Scope(), total),
        )
        self.server = ModelServer(lambda: "heard")
        self.nodes: list[Node] = []
        self.runs: list[Run] = []
        self.late: list[Call[Any]] = []
        self.granted = 0
        self._shards = shards
        for _ in range(nodes):
            self.join()

    def join(self) -> None:
        node = Node(f"n{len(self.nodes)}", self.limits, self._shards)
        self.server.run(node.engine.join())
        self.nodes.append(node)

    @property
    def live(self) -> list[Node]:
        return [node for node in self.nodes if not node.dead]

    def held(self) -> Counter[str]:
        """Slots that live members hold, by domain."""
        return Counter(domain for node in self.live for domain, _ in node.held)

    # -- what may happen ---------------------------------------------------------------------------------------

    def acquire(self, node: Node) -> None:
        if sum(run.node is node for run in self.runs) > 4:
            return
        domain = self.chance.choice(DOMAINS)

        def done(slot: Slot) -> None:
            if slot:
                self.granted += 1
                node.held.append((domain, slot))

        plan = node.core.plan((None, domain, None, None, None))
        self._start(Run(node.core.acquire(plan, float("inf")), node, done))

    def release(self, node: Node) -> None:
        if node.held:
            node.held.pop(self.chance.randrange(len(node.held)))[1].release()

    def tick(self, node: Node, disturbed: bool = False) -> None:
        if node.ticking:
            return
        node.ticking = True

        def done(_: Any) -> None:
            node.ticking = False

        self._start(Run(node.engine.tick(disturbed), node, done))

    def deliver(self) -> None:
        """Some call arrives at the server."""
        waiting = [sent for run in self.runs for sent in run.sent if not sent.delivered]
        if waiting:
            sent = self.chance.choice(waiting)
            sent.reply = self.server.carry(sent.call)
            if sent.call.resend and self.chance.random() < self.losses:
                self.late.append(sent.call)  # the link sent it twice

    def answer(self) -> None:
        """Some flow hears of its calls, or that no answer will come."""
        ready = [
            run
            for run in self.runs
            if run.wait is None
            and (all(sent.delivered for sent in run.sent) or self.chance.random() < self.losses)
        ]
        if ready:
            run = self.chance.choice(ready)
            self._resume(run, [self._outcome(sent) for sent in run.sent])

    def wake(self) -> None:
        """Some flow that waits goes on: what it waited for is there, or its time is up."""
        ready = [run for run in self.runs if run.wait is not None and self._awake(run)]
        if ready:
            self._resume(self.chance.choice(ready), None)

    def arrive_late(self) -> None:
        if self.late:
            self.server.carry(self.late.pop(self.chance.randrange(len(self.late))))

    def give_up(self) -> None:
        """A task is cancelled, or a flush interrupted."""
        if self.runs:
            run = self.chance.choice(self.runs)
            self._end(run)
            if run.flow.gi_code.co_name == "tick":
                run.node.ticking = False

    def kill(self, node: Node) -> None:
        """Dead, and reaped by somebody at once; what it had sent may still arrive."""
        if len(self.live) == 1:
            return
        node.dead = True
        for run in [run for run in self.runs if run.node is node]:
            self.runs.remove(run)
            self.late += [sent.call for sent in run.sent if not sent.delivered]
        self.fence(node)

    def fence(self, node: Node) -> None:
        incarnation = node.engine.member.incarnation
        self.server.run(only(fleet.fence(KEYS, [incarnation])))
        self.server.run(bury_flow(KEYS, incarnation))

    # -- the end -----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """No more losses: everything under way ends, every member publishes."""
        self.losses = 0.0
        for _ in range(10_000):
            if not self.runs:
                break
            self.deliver()
            self.answer()
            self.wake()
            for node in self.live:
                if any(run.node is node and run.wait is not None for run in self.runs):
                    self.tick(node)
        assert not self.runs, [(run.flow.gi_code.co_name, run.wait) for run in self.runs]
        while self.late:
            self.arrive_late()
        for _ in range(4):
            for node in self.live:
                node.engine._beaten = (
                    0.0  # time passes: every member beats, and the leader looks for strangers
                )
                self.server.run(node.engine.tick(True))

    def check_server(self) -> None:
        """The server has exactly what the members hold."""
        held = self.held()
        sums: Counter[str] = Counter()
        for key, shard in self.server.shards.items():
            shard.check()
            if "outbound_domains" in key:
                sums.update({item.decode(): n for item, n in shard.sums.items()})
        assert +sums == held
        scopes = self.server.shard(KEYS.registry("outbound_scopes", 0))
        assert scopes.sums.get(b"all", 0) == held.total()

    def check_caps(self) -> None:
        held = self.held()
        assert all(n <= self.each for n in held.values()), held
        assert held.total() <= self.total, held

    # -- driving -----------------------------------------------------------------------------------------------

    def _start(self, run: Run) -> None:
        self.runs.append(run)
        self._resume(run, None)

    def _resume(self, run: Run, value: Any) -> None:
        run.sent, run.wait = [], None
        try:
            step = run.flow.send(value)
        except StopIteration as end:
            self.runs.remove(run)
            run.done(end.value)
        except (AmbiguousError, UnreachableError):  # a publish that failed: its driver tries again
            self.runs.remove(run)
            run.done(None)
        else:
            if isinstance(step, Wait):
                run.wait = step
            else:
                run.sent = [Sent(call) for call in step]

    def _outcome(self, sent: Sent) -> Any:
        lost = self.chance.random() < self.losses
        if sent.delivered and not lost:
            return sent.call.decode(sent.reply)
        if not sent.delivered:
            if self.chance.random() < 0.3:
                return UnreachableError("never left")
            self.late.append(sent.call)
        return AmbiguousError("no answer")

    def _awake(self, run: Run) -> bool:
        assert run.wait is not None
        return run.node.engine.board.turn != run.wait.turn or run.wait.seconds < float("inf")

    def _end(self, run: Run) -> None:
        self.runs.remove(run)
        self.late += [sent.call for sent in run.sent if not sent.delivered]
        run.flow.close()
