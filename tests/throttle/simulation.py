"""The real scripts on a real server, and the real members' side, in a made-up time.

Everything that can go between a member and its server is a step of its own: a request is made, carried out (perhaps
again, perhaps much later), answered or lost, while time passes as the test says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import pytest

from sharedstate.call import Call
from sharedstate.keys import Keys
from sharedstate.link.sync import Link
from sharedstate.objects import throttle as calls
from sharedstate.objects.throttle import Grant, How, Taken
from sharedstate.scripts import Script, load_script
from sharedstate.throttle import bucket as bucket_module
from sharedstate.throttle import lease as lease_module
from sharedstate.throttle.bucket import Bucket
from sharedstate.throttle.decision import Decision, Policy
from sharedstate.throttle.lease import LeasedBucket
from sharedstate.throttle.spec import ThrottleSpec

KEYS = Keys("sim")
NAME = "t"
KEY = KEYS.bucket(NAME)
_CLOCK = re.compile(r"local function server_us\(\).*?\nend\n", re.DOTALL)


def at_made_up_time(script: Script) -> Script:
    """The script with a clock that a test sets: an argument of its own in front of the others."""
    text, found = _CLOCK.subn(
        "local function server_us() return tonumber(redis.call('GET', 'now')) end\n", script.text
    )
    assert found == 1, f"{script.name} reads the time once"
    import hashlib

    return replace(script, text=text, sha=hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


SCRIPTS = {
    name: at_made_up_time(load_script(name))
    for name in (
        "throttle_take",
        "throttle_lease",
        "throttle_define",
        "throttle_set",
        "throttle_reset",
        "throttle_look",
    )
}


class Flight:
    """A lease's request on its way."""

    def __init__(self, who: int, call: Call[Grant], owed: int) -> None:
        self.who = who
        self.call = call
        self.owed = owed
        self.answer: Grant | None = None

    def __repr__(self) -> str:
        return f"Flight({self.who}, {self.call.args[4:]}, {self.answer})"


@dataclass
class Simulation:
    """One throttle, its members, and the time (µs)."""

    link: Link
    spec: ThrottleSpec
    now: int = 1_700_000_000_000_000
    members: list[LeasedBucket] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    flights: list[Flight] = field(default_factory=list)
    ghosts: list[Flight] = field(default_factory=list)
    #: time, tokens, and which member's lease (-1: strictly)
    admitted: list[tuple[int, int, int]] = field(default_factory=list)
    running: int = -1

    def __post_init__(self) -> None:
        for outcome in self.link.execute([plain("FLUSHALL"), plain("SET", "now", self.now)]):
            assert outcome == b"OK", outcome

    # -- time ------------------------------------------------------------------------------------------------

    def clock(self, _clock: int = 0) -> float:
        """The clock of the member that is running."""
        return (self.now + (self.offsets[self.running] if self.running >= 0 else 0)) / 1e6

    def advance(self, us: int) -> None:
        self.now += us
        self.link.execute([plain("SET", "now", self.now)])

    def run(self, call: Call[Any]) -> Any:
        assert call.script is not None
        (outcome,) = self.link.execute([replace(call, script=SCRIPTS[call.script.name])])
        assert not isinstance(outcome, BaseException), outcome
        return outcome

    # -- members ---------------------------------------------------------------------------------------------

    def join(self, offset: int = 0, epsilon: float = 0.95, turn: float = 0.01) -> int:
        number = len(self.members)
        member = LeasedBucket(
            NAME, KEY, f"n{number}#1#x", self.spec, Policy.CLOSED, 0.05, lambda: 1, epsilon, lambda _: None
        )
        member.turn = turn
        self.members.append(member)
        self.offsets.append(offset)
        return number

    @contextmanager
    def as_member(self, who: int) -> Iterator[LeasedBucket]:
        self.running = who
        yield self.members[who]
        self.running = -1

    def spend(self, who: int, cost: int = 1) -> Decision | None:
        with self.as_member(who) as member:
            decision = member.spend(cost) or member.consider(cost)
        if decision:
            self.admitted.append((self.now, cost, who))
        return decision

    def put_back(self, who: int, tokens: int) -> None:
        """What was allowed last did not happen: as `dec`, without the part that asks Redis."""
        mine = [index for index, (_, cost, by) in enumerate(self.admitted) if by == who and cost == 1][
            -tokens:
        ]
        with self.as_member(who) as member:
            fits = len(mine) - member.put_back(len(mine)) if mine else 0
        for index in sorted(mine[len(mine) - fits :], reverse=True):
            del self.admitted[index]

    def request(self, who: int, cost: int = 1, *, leave: bool = False) -> Flight | None:
        with self.as_member(who) as member:
            if not member.claim():
                return None
            call, owed = member.request(cost, leave=leave)
        flight = Flight(who, call, owed)
        self.flights.append(flight)
        return flight

    def carry_out(self, flight: Flight) -> None:
        answer = self.run(flight.call)
        flight.answer = flight.answer or answer
        self.check_books()

    def answer(self, flight: Flight) -> None:
        assert flight.answer is not None
        self.flights.remove(flight)
        with self.as_member(flight.who) as member:
            member.granted(flight.answer, flight.owed)

    def lose(self, flight: Flight) -> None:
        self.flights.remove(flight)
        self.ghosts.append(flight)
        with self.as_member(flight.who) as member:
            member.gave_up()

    def lease(self, who: int, cost: int = 1) -> None:
        """A request that goes well."""
        flight = self.request(who, cost)
        if flight is not None:
            self.carry_out(flight)
            self.answer(flight)

    def check(self, who: int, cost: int = 1) -> bool:
        """A check as the flow does it, without delay."""
        decision = self.spend(who, cost)
        if decision is None:
            self.lease(who, cost)
            decision = self.spend(who, cost)
        return bool(decision)

    def take(self, bucket: Bucket, cost: int = 1, how: How = How.ALL, longest: float = 0.0) -> Taken:
        """A strict check."""
        call, owed = bucket.ask(cost, how, longest)
        taken: Taken = self.run(call)
        bucket.answered(taken, owed, cost)
        self.check_books()
        if taken.got and how is not How.BACK:
            self.admitted.append((self.now + (taken.wait if how is How.AHEAD else 0), taken.got, -1))
        return taken

    # -- what must hold --------------------------------------------------------------------------------------

    def stored(self) -> dict[str, str]:
        (reply,) = self.link.execute([plain("HGETALL", KEY)])
        return {key.decode(): value.decode() for key, value in zip(reply[::2], reply[1::2], strict=True)}

    def check_books(self) -> None:
        """The books balance: what is leased out is what the leases hold, and all of it fits into the bucket."""
        stored = self.stored()
        if not stored:
            return
        _, cost, _, burst = map(int, stored["s"].split()[:4])
        held = sum(int(record.split()[2]) for name, record in stored.items() if name[0] == "l")
        assert int(stored["o"]) == held
        assert int(stored["t"]) + held * cost <= burst * cost

    def check_bound(self) -> None:
        """In every interval at most capacity + rate * length: an ideal bucket is never overdrawn."""
        rate = Fraction(self.spec.limit, self.spec.period)
        level, since = Fraction(self.spec.burst), 0
        for at, cost, _ in sorted(self.admitted):
            level = min(Fraction(self.spec.burst), level + (at - since) * rate) - cost
            since = at
            assert level >= 0, f"overdrawn by {-float(level)} at {at}"

    def look(self) -> Any:
        return self.run(calls.look(KEYS, NAME))


def plain(*args: Any) -> Call[Any]:
    return Call(args, None, lambda reply: reply, resend=True)


@pytest.fixture
def made_up_clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives the members' side the clock of a simulation: ``made_up_clock(simulation)``."""

    def install(simulation: Simulation) -> Simulation:
        monkeypatch.setattr(lease_module, "_clock", simulation.clock)
        monkeypatch.setattr(lease_module, "awake_clock", simulation.clock)
        monkeypatch.setattr(bucket_module, "awake_clock", simulation.clock)
        return simulation

    return install
