"""Members reduced to their audit series, over a link that loses and repeats, on a clock that the test moves."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from sharedstate.audit.clock import ServerClock
from sharedstate.audit.core import AuditCore, MemberCore
from sharedstate.audit.series import SeriesSpec
from sharedstate.call import Call, Flow
from sharedstate.errors import AmbiguousError, LinkError
from sharedstate.keys import Keys
from sharedstate.link.sync import Link


class Time:
    """The server's clock for a whole test, started at the server's and moved by hand."""

    def __init__(self, now: float) -> None:
        self.now = now


class SteppedClock(ServerClock):
    """A clock that shows the test's time."""

    def __init__(self, time: Time) -> None:
        super().__init__()
        self.known = True
        self._time = time

    def now(self) -> float:
        return self._time.now

    @property
    def stale(self) -> bool:
        return False

    def sample(self, server_ms: int, began: float, ended: float) -> None: ...


def run(
    link: Link,
    flow: Flow[Any],
    fate: Callable[[], str] = lambda: "heard",
    late: list[Call[Any]] | None = None,
) -> Any:
    """Carry out a flow; each call is heard, unheard (done, no answer), unsent, or repeated later."""
    try:
        calls = next(flow)
        while True:
            outcomes: list[Any] = []
            for call in calls:
                what = fate()
                if what == "unsent":
                    outcomes.append(AmbiguousError("lost on the way."))
                    continue
                (outcome,) = link.execute([call])
                if what == "repeated" and late is not None:
                    late.append(call)
                outcomes.append(AmbiguousError("no answer.") if what == "unheard" else outcome)
            calls = flow.send(outcomes)
    except StopIteration as end:
        return end.value
    finally:
        flow.close()


def lossy(chance: random.Random, share: float) -> Callable[[], str]:
    def fate() -> str:
        return chance.choice(("unheard", "unsent", "repeated")) if chance.random() < share else "heard"

    return fate


class TestMember:
    """One life of a process of a node."""

    __test__ = False

    def __init__(self, link: Link, keys: Keys, node: str, time: Time, spec: SeriesSpec) -> None:
        self.node = node
        self.core = MemberCore(keys, node, manager=False, wake=lambda: None)
        clock = SteppedClock(time)
        self.core.clock = self.core.engine.clock = clock
        self.core.configured([(spec, 1.0, 100)])
        self.store = self.core.engine.stores[spec.name]
        self._link = link
        run(link, self.core.engine.register())

    def add(self, key: str, count: int) -> None:
        self.store._until = 0.0  # the test's clock may have been moved
        self.store.add(key, count)

    def publish(self, fate: Callable[[], str] = lambda: "heard", late: list[Call[Any]] | None = None) -> bool:
        try:
            run(self._link, self.core.engine.publish(), fate, late)
        except LinkError:
            return False
        return True

    def verify(self) -> None:
        run(self._link, self.core.engine.verify())


def observer(keys: Keys, time: Time) -> AuditCore:
    core = AuditCore(keys, "observer")
    core.clock = SteppedClock(time)
    return core
