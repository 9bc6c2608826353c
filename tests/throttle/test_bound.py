"""The bound: in every interval the fleet admits at most capacity + rate * length, whatever happens in between."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sharedstate.link.sync import Link
from sharedstate.objects.throttle import How
from sharedstate.throttle import bucket as bucket_module
from sharedstate.throttle import lease as lease_module
from sharedstate.throttle.bucket import Bucket
from sharedstate.throttle.decision import Policy
from sharedstate.throttle.lease import LEASE_TIME
from sharedstate.throttle.spec import parse_spec

from .simulation import KEY, NAME, Simulation

SPECS = [
    "10/1",
    "1/1",
    "10/min",
    "1000/1",
    "7/1,max_burst=3",
    "100000/1,max_burst=50",
    "999983/day,max_burst=40",
]
STEPS = st.sampled_from([1, 7, 1_000, 9_999, 100_000, 1_000_000, 3_000_000, 20_000_000]) | st.integers(
    0, 4_000_000
)


def machine(link: Link) -> type[RuleBasedStateMachine]:
    """The rules over one server."""

    class Fleet(RuleBasedStateMachine):
        @initialize(
            spec=st.sampled_from(SPECS),
            members=st.lists(
                st.tuples(
                    st.integers(-(10**12), 10**12),
                    st.sampled_from([0.05, 0.5, 0.95]),
                    st.sampled_from([0.001, 0.01, 1.0]),
                ),
                min_size=1,
                max_size=4,
            ),
        )
        def start(self, spec: str, members: list[tuple[int, float, float]]) -> None:
            self.sim = Simulation(link, parse_spec(spec))
            lease_module._clock = self.sim.clock  # type: ignore[assignment]
            lease_module.awake_clock = bucket_module.awake_clock = self.sim.clock
            for offset, epsilon, turn in members:
                self.sim.join(offset, epsilon, turn)
            self.strict = Bucket(NAME, KEY, "s#1#x", self.sim.spec, Policy.CLOSED, 0.05, lambda: 1)

        @rule(us=STEPS)
        def time_passes(self, us: int) -> None:
            self.sim.advance(us)

        @rule(data=st.data(), cost=st.sampled_from([1, 1, 1, 2, 3]), times=st.integers(1, 30))
        def checks(self, data: st.DataObject, cost: int, times: int) -> None:
            who = self.some_member(data)
            for _ in range(times):
                if not self.sim.check(who, min(cost, self.sim.spec.burst)):
                    break

        @rule(data=st.data(), times=st.integers(1, 5))
        def spends_what_it_has(self, data: st.DataObject, times: int) -> None:
            who = self.some_member(data)
            for _ in range(times):
                self.sim.spend(who)

        @rule(data=st.data(), tokens=st.integers(1, 4))
        def changes_its_mind(self, data: st.DataObject, tokens: int) -> None:
            self.sim.put_back(self.some_member(data), tokens)

        @rule(data=st.data(), cost=st.integers(0, 3), leave=st.booleans())
        def asks(self, data: st.DataObject, cost: int, leave: bool) -> None:
            self.sim.request(self.some_member(data), min(cost, self.sim.spec.burst), leave=leave)

        @precondition(lambda self: self.sim.flights)
        @rule(data=st.data())
        def is_carried_out(self, data: st.DataObject) -> None:
            self.sim.carry_out(data.draw(st.sampled_from(self.sim.flights)))

        @precondition(lambda self: any(flight.answer for flight in self.sim.flights))
        @rule(data=st.data())
        def is_answered(self, data: st.DataObject) -> None:
            self.sim.answer(
                data.draw(st.sampled_from([flight for flight in self.sim.flights if flight.answer]))
            )

        @precondition(lambda self: self.sim.flights)
        @rule(data=st.data())
        def is_lost(self, data: st.DataObject) -> None:
            self.sim.lose(data.draw(st.sampled_from(self.sim.flights)))

        @precondition(lambda self: self.sim.ghosts)
        @rule(data=st.data())
        def comes_late(self, data: st.DataObject) -> None:
            self.sim.carry_out(data.draw(st.sampled_from(self.sim.ghosts)))

        @rule(cost=st.integers(1, 3), how=st.sampled_from([How.ALL, How.SOME]), times=st.integers(1, 10))
        def strict_checks(self, cost: int, how: How, times: int) -> None:
            for _ in range(times):
                self.sim.take(self.strict, min(cost, self.sim.spec.burst), how)

        @rule(longest=st.sampled_from([0.0, 0.5, 30.0]))
        def tarpit(self, longest: float) -> None:
            self.sim.take(self.strict, 1, How.AHEAD, longest)

        @invariant()
        def books_balance(self) -> None:
            if hasattr(self, "sim"):
                self.sim.check_books()

        def teardown(self) -> None:
            if not hasattr(self, "sim"):
                return
            self.sim.check_bound()
            self.everything_comes_back()

        def everything_comes_back(self) -> None:
            """Nothing leaks: when all is over, the bucket is full again."""
            spec = self.sim.spec
            self.sim.advance(int((LEASE_TIME + 40) * 1e6))
            self.sim.advance(3 * spec.period * spec.burst // spec.limit + 10**6)
            view = self.sim.look()
            if view is not None:
                assert (view.left, view.leased) == (spec.burst, 0)

        def some_member(self, data: st.DataObject) -> int:
            return data.draw(st.integers(0, len(self.sim.members) - 1))

    return Fleet


def test_bound(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (lease_module, "_clock"),
        (lease_module, "awake_clock"),
        (bucket_module, "awake_clock"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back after the test
    run_state_machine_as_test(
        machine(link),
        settings=settings(
            max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
