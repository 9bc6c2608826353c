"""What a failover forgets of takes comes back by itself, and a member that was reaped while paused counts once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

import sharedstate
from sharedstate.client import State
from sharedstate.local import LocalCluster
from sharedstate.local.admin import ReplyError
from sharedstate.outbound.slots import Slot
from tests.support import poll

from .config import write
from .test_policies import PATIENT, slot_of


def rows(state: State, name: str = "outbound_domains") -> dict[str, int]:
    return dict(state.shared(name).view().rows())


@pytest.mark.slow
@pytest.mark.parametrize("published", [False, True], ids=["takes only", "takes and publishes"])
def test_takes_lost_in_a_failover_come_back(
    replicated_cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    monkeypatch.setattr("sharedstate.member.VERIFY_EVERY", 1.0)
    cluster = replicated_cluster
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(
                sharedstate.connect(cluster.url, node=node, config=write(tmp_path, total=-1), timeout=2.0)
            )
            for node in ("a", "b")
        )
        slot = slot_of(one.outbound._core, "any.example")
        held: list[Slot] = [one.outbound.acquire(domain="any.example", timeout=PATIENT)]
        one.flush()
        primary = cluster.primary_of(slot)
        replica = cluster.replica_of(primary)
        cluster.pause(replica)  # so that it cannot connect again
        primary.call("CLIENT", "KILL", "TYPE", "replica")
        held += [state.outbound.acquire(domain="any.example", timeout=PATIENT) for state in (one, two, two)]
        assert [granted.decided_by for granted in held] == ["redis"] * 4
        if published:
            one.flush()
            two.flush()
        cluster.kill(primary)
        cluster.resume(replica)

        def taken_over() -> bool:
            with suppress(ReplyError):  # it may have become a primary by itself
                replica.call("CLUSTER", "FAILOVER", "TAKEOVER")
            return replica.role == "primary"

        poll(taken_over, what="the replica takes over")
        poll(lambda: rows(one) == {"any.example": 4}, 20, what="what was forgotten to be published again")
        for state in (one, two):
            state.outbound._core.policy = "closed"

        def decided() -> Slot | None:
            answer = one.outbound.acquire(domain="any.example", timeout=PATIENT)
            return answer if answer.decided_by == "redis" else None

        fifth = poll(decided, what="Redis to decide again")
        assert fifth
        held.append(fifth)
        assert not two.outbound.acquire(domain="any.example", timeout=PATIENT), "five are held"
        for granted in held:
            granted.release()
        one.flush()
        two.flush()
        assert rows(one) == {}


HOLDER = """
import sys, sharedstate
with sharedstate.connect(sys.argv[1], node="sleeper", config=sys.argv[2]) as state:
    slots = [state.outbound.acquire(domain="small.example", timeout=10) for _ in range(2)]
    print(sum(map(bool, slots)), flush=True)
    for line in sys.stdin:
        state.flush(10)
        print(state.metrics.rejoins, flush=True)
"""


@pytest.mark.slow
def test_a_member_that_slept_too_long_keeps_its_connections_and_counts_once(url: str, tmp_path: Path) -> None:
    """Its slots are given to others meanwhile, its connections are open again when it wakes: both count."""
    config = write(tmp_path, member_timeout=1.5)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, str(config)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with sharedstate.connect(url, node="a", config=config) as state:
            state.outbound._core.policy = "closed"
            assert process.stdout.readline() == "2\n"
            assert not state.outbound.acquire(domain="small.example", timeout=PATIENT)
            os.kill(process.pid, signal.SIGSTOP)
            slot = poll(
                lambda: state.outbound.acquire(domain="small.example", timeout=PATIENT),
                what="the slots of the sleeper to come back",
            )
            os.kill(process.pid, signal.SIGCONT)
            process.stdin.write("flush\n")
            process.stdin.flush()
            assert int(process.stdout.readline()) >= 1, "it came back as a new incarnation"
            state.flush()
            assert rows(state) == {"small.example": 3}
            slot.release()
            state.flush()
            assert not state.outbound.acquire(domain="small.example", timeout=PATIENT), "two are held"
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.slow
def test_takes_go_on_over_a_reset(url: str, tmp_path: Path) -> None:
    """Fenced while alive: it rejoins, and what it holds is what counts."""
    with sharedstate.connect(url, node="a", config=write(tmp_path)) as state:
        state.outbound._core.policy = "closed"
        held = [state.outbound.acquire(domain="small.example", timeout=PATIENT)]
        state.reset()
        held += [
            poll(
                lambda: state.outbound.acquire(domain="small.example", timeout=PATIENT),
                what="a slot after the reset",
            )
        ]
        assert state.metrics.rejoins == 1
        assert not state.outbound.acquire(domain="small.example", timeout=PATIENT)
        state.flush()
        assert rows(state) == {"small.example": 2}
        assert rows(state, "outbound_scopes") == {"all": 2}
