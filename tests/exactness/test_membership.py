"""Who is a member, and what of whom is counted, when processes die, sleep, leave and come back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

import sharedstate
from sharedstate.errors import ShardMismatchError, UnknownNodeError
from sharedstate.local import LocalCluster
from sharedstate.observer import Observer
from sharedstate.specs import ObjectSpec

from ..support import poll
from .harness import Worker, await_exact, end, truths_of

MEMBER_TIMEOUT = 1.5
ADDRESS = "192.0.2.1"


@pytest.fixture
def workers(url: str) -> Iterator[list[Worker]]:
    """Two processes on node a, one on b, in this order of joining, counting 2, 3 and 4 on one address."""
    started: list[Worker] = []
    try:
        for number, node in enumerate(("a", "a", "b")):
            worker = Worker(url, node, member_timeout=MEMBER_TIMEOUT).ready()
            started.append(worker)
            worker.ask("burst", "inbound_cidr", [ADDRESS] * (2 + number))
            worker.ask("flush")
        yield started
    finally:
        end(started)


@pytest.fixture
def observer(url: str) -> Iterator[Observer]:
    with sharedstate.observe(url) as opened:
        yield opened


def counted(observer: Observer, node: str | None = None) -> int:
    return sum(observer.shared("inbound_cidr").view(node=node).counts.values())


def test_processes_of_a_node_add_up(workers: list[Worker], observer: Observer) -> None:
    assert (counted(observer, "a"), counted(observer, "b"), counted(observer)) == (5, 4, 9)
    shared = observer.shared("inbound_cidr")
    assert (shared.count("192.0.2.0/24", node="A"), shared.count("0.0.0.0/0")) == (5, 9)
    assert [member.pid for member in observer.members()] == [worker.pid for worker in workers]


def test_killed_process_leaves_the_views(workers: list[Worker], observer: Observer) -> None:
    workers[0].kill()
    seen = set()

    def gone() -> bool:
        seen.add(counted(observer))
        return counted(observer) == 7

    poll(gone, timeout=MEMBER_TIMEOUT + 1.0, what="the dead process is out of the views")
    assert seen <= {9, 7}
    assert counted(observer, "a") == 3
    assert len(observer.members()) == 2


def test_last_process_of_a_node(workers: list[Worker], observer: Observer) -> None:
    workers[2].kill()
    poll(lambda: counted(observer) == 5, what="its counts are gone")
    with pytest.raises(UnknownNodeError, match="'b'"):
        observer.shared("inbound_cidr").view(node="b")


def test_everybody_killed_and_only_an_observer_looks(workers: list[Worker], observer: Observer) -> None:
    for worker in workers:
        worker.kill()
    poll(lambda: counted(observer) == 0, what="an observer takes the dead out")
    assert observer.members() == []


def test_process_that_slept_comes_back_once(
    workers: list[Worker], observer: Observer, cluster: LocalCluster
) -> None:
    seen = set()

    def total() -> int:
        seen.add(now := counted(observer))
        return now

    for _ in range(2):
        workers[1].stop()
        poll(lambda: total() == 6, what="the sleeper is taken out")
        workers[1].resume()
        poll(lambda: total() == 9, what="the sleeper comes back")
    assert seen == {9, 6}, "never twice, never negative"
    assert workers[1].ask("metrics")["rejoins"] >= 2
    await_exact(cluster, observer, lambda: truths_of(workers))


def test_leader_is_the_oldest(workers: list[Worker], observer: Observer) -> None:
    def leader() -> int:
        found = observer.info().leader
        return 0 if found is None else found.pid

    assert leader() == workers[0].pid
    workers[0].kill()
    poll(lambda: leader() == workers[1].pid, what="the next oldest leads")
    workers[1].ask("close")
    poll(lambda: leader() == workers[2].pid, what="the last one leads")


def test_manager_does_not_lead(url: str, observer: Observer) -> None:
    with sharedstate.connect(url, node="console", role="Manager"):
        assert observer.info().leader is None
        with sharedstate.connect(url, node="a") as state:
            leader = observer.info().leader
            assert leader is not None
            assert leader.incarnation == state.member.incarnation


def test_a_member_knows_how_many_are_live(workers: list[Worker], url: str) -> None:
    """Three workers and this one: known from the join on, and followed by heartbeats."""
    with sharedstate.connect(url, node="c", member_timeout=MEMBER_TIMEOUT) as state:
        assert state._engine.live_members == 4
        workers[0].kill()
        poll(lambda: state._engine.live_members == 3, what="a heartbeat that knows of the death")


def test_leaving_takes_the_counts_out(workers: list[Worker], observer: Observer) -> None:
    workers[2].ask("close")
    assert counted(observer) == 5
    assert len(observer.members()) == 2


def test_reset_members_rejoin(workers: list[Worker], observer: Observer, cluster: LocalCluster) -> None:
    before = {worker.ask("member")["incarnation"] for worker in workers[:2]}
    assert observer.reset("a") == 2
    poll(lambda: len(observer.members()) == 3, what="both rejoined")
    await_exact(cluster, observer, lambda: truths_of(workers))
    assert before.isdisjoint(worker.ask("member")["incarnation"] for worker in workers)
    assert workers[2].ask("metrics")["rejoins"] == 0


def test_other_shard_count_is_refused(url: str, observer: Observer, monkeypatch: pytest.MonkeyPatch) -> None:
    with sharedstate.connect(url, node="a"):
        spec = ObjectSpec(name="inbound_cidr", cls="inbound_cidr", shards=5)
        monkeypatch.setattr("sharedstate.settings.DEFAULT_OBJECTS", (spec,))
        with pytest.raises(ShardMismatchError, match=r"inbound_cidr.* 5 shards .* 16"):
            sharedstate.connect(url, node="b")
        assert [member.node for member in observer.members()] == ["a"], "who was refused is no member"


FORK = """
import os, sys, sharedstate
from sharedstate.errors import ClosedError
state = sharedstate.connect(sys.argv[1], node="a")
state.events.inbound_connect("192.0.2.1")
child = os.fork()
if not child:
    try:
        state.events.inbound_connect("192.0.2.1")
    except ClosedError as error:
        print("child:", error, flush=True)
    state.close()
    os._exit(0)
os.waitpid(child, 0)
state.events.inbound_connect("192.0.2.1")
state.flush()
print("parent:", state.shared("inbound_cidr").count("192.0.2.1"), flush=True)
"""


def test_forked_child_is_no_member(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, url],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    child, parent = done.stdout.splitlines()
    assert child.startswith("child: the state belongs to the parent")
    assert parent == "parent: 2"
