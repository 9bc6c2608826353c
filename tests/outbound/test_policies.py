"""A Redis that hangs costs one deadline; then the policy answers, and recovery is by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import sharedstate
from sharedstate import aio
from sharedstate.breaker import Breaker
from sharedstate.call import Call, key_slot
from sharedstate.client import State
from sharedstate.errors import InvalidValueError
from sharedstate.local import LocalCluster
from sharedstate.outbound.taking import SlotCore
from tests.support import apoll, poll

from .config import write

#: A question answered by Redis may take this long on a busy machine, seconds.
PATIENT = 10.0


@contextmanager
def hung(cluster: LocalCluster, slot: int) -> Iterator[None]:
    """The primary of a slot stands still."""
    primary = cluster.primary_of(slot)
    cluster.pause(primary)
    try:
        yield
    finally:
        cluster.resume(primary)


def slot_of(core: SlotCore, domain: str) -> int:
    capped = core.plan((None, domain, None, None, None)).capped[0]
    return key_slot(core._keys.registry(capped.store.spec.name, capped.shard.index))


def count_questions(state: State, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often takes were sent from now on."""
    asked = 0
    execute = state._link.execute

    def counting(calls: Sequence[Call[Any]], timeout: float | None = None) -> list[Any]:
        nonlocal asked
        asked += any(call.script is not None and call.script.name == "gauge_take" for call in calls)
        return execute(calls, timeout)

    monkeypatch.setattr(state._link, "execute", counting)
    return lambda: asked


def test_policies_decide_while_the_primary_hangs(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(tmp_path, total=-1)
    with (
        sharedstate.connect(cluster.url, node="a", config=config) as state,
        sharedstate.connect(cluster.url, node="b", config=config),
    ):
        poll(lambda: state._engine.live_members == 2, what="a heartbeat that knows both")
        core = state.outbound._core
        held = state.outbound.acquire(domain="any.example", timeout=PATIENT)
        assert held.decided_by == "redis"
        with hung(cluster, slot_of(core, "any.example")):
            asked = count_questions(state, monkeypatch)
            slots = [state.outbound.acquire(domain="any.example") for _ in range(200)]
            # 5 for two members: each has a share of 2, and one is held already.
            assert [slot.decided_by for slot in slots] == ["local"] * 200
            assert sum(map(bool, slots)) == 1
            assert asked() <= 5, "one deadline, then a probe now and then"
            refusal = slots[-1].refused_by
            assert refusal is not None
            assert refusal.count == 2
            assert not state.outbound.check_connection(domain="any.example")
            core.policy = "closed"
            assert not state.outbound.acquire(domain="any.example")
            core.policy = "open"
            opened = [state.outbound.acquire(domain="any.example") for _ in range(10)]
            assert all(opened)
            assert {slot.decided_by for slot in opened} == {"open"}
            assert state.outbound.check_connection(domain="any.example").decided_by == "open"
        core.policy = "closed"
        poll(
            lambda: state.outbound.acquire(domain="any.example", timeout=PATIENT).decided_by == "redis",
            what="Redis to decide again",
        )
        state.flush()
        assert state.shared("outbound_domains").count("any.example") == 12, (
            "granted by policy, counted by all"
        )
        for slot in [held, *slots, *opened]:
            slot.release()
        state.flush()
        assert state.shared("outbound_domains").count("any.example") == 0
        metrics = state.outbound.metrics
        assert (metrics.policy_allowed, metrics.policy_refused) >= (11, 200)
        slot = state.outbound.acquire(domain="any.example", timeout=PATIENT)
        assert slot.decided_by == "redis"


async def test_asyncio_decides_the_same(cluster: LocalCluster, tmp_path: Path) -> None:
    async with await aio.connect(cluster.url, node="a", config=write(tmp_path, total=-1)) as state:
        held = await state.outbound.acquire(domain="any.example", timeout=PATIENT)
        with hung(cluster, slot_of(state.outbound._core, "any.example")):
            slots = [await state.outbound.acquire(domain="any.example") for _ in range(50)]
            assert [slot.decided_by for slot in slots] == ["local"] * 50
            assert sum(map(bool, slots)) == 4
        for slot in [held, *slots]:
            slot.release()

        async def recovered() -> bool:
            slot = await state.outbound.acquire(domain="any.example", timeout=PATIENT)
            slot.release()
            return slot.decided_by == "redis"

        await apoll(recovered, what="Redis to decide again")
        await state.flush()
        assert await (await state.shared("outbound_domains")).count("any.example") == 0


def test_other_primaries_decide_as_ever(cluster: LocalCluster, tmp_path: Path) -> None:
    """One hung primary, with a publisher that waits for it: what lives elsewhere is decided by Redis."""
    with sharedstate.connect(cluster.url, node="a", config=write(tmp_path, total=-1)) as state:
        core = state.outbound._core
        domains = [f"d{number}.example" for number in range(40)]
        stuck = slot_of(core, domains[0])
        primary = cluster.primary_of(stuck)
        elsewhere = [d for d in domains if cluster.primary_of(slot_of(core, d)) is not primary]
        with hung(cluster, stuck):
            slots = [state.outbound.acquire(domain=domains[0]) for _ in range(3)]
            assert {slot.decided_by for slot in slots} == {"local"}
            poll(lambda: state.metrics.failures > 0, what="a publish that fails")
            for domain in elsewhere:
                for _ in range(3):
                    slot = state.outbound.acquire(domain=domain, timeout=PATIENT)
                    assert slot.decided_by == "redis"
                    slot.release()


def test_a_full_memory_is_for_the_policy(cluster: LocalCluster, tmp_path: Path) -> None:
    """A server that refuses writes has answered: no breaker opens, the policy decides each time."""
    with sharedstate.connect(cluster.url, node="a", config=write(tmp_path, total=-1)) as state:
        core = state.outbound._core
        primary = cluster.primary_of(slot_of(core, "any.example"))
        primary.call("CONFIG", "SET", "maxmemory", 1)
        try:
            slots = [state.outbound.acquire(domain="any.example", timeout=PATIENT) for _ in range(8)]
            # The server may notice one command late; and to refuse it need not write.
            assert {slot.decided_by for slot in slots[1:] if slot} == {"local"}
            assert sum(map(bool, slots)) == 5
            assert core.breaker.opened == 0
        finally:
            primary.call("CONFIG", "SET", "maxmemory", 0)
        poll(
            lambda: state.outbound.acquire(domain="e.example", timeout=PATIENT).decided_by == "redis",
            what="Redis to decide again",
        )
        state.flush()
        assert state.shared("outbound_domains").count("any.example") == 5


def test_unusable_settings_are_refused(url: str, tmp_path: Path) -> None:
    with sharedstate.connect(url, config=write(tmp_path)) as state:
        arguments = (state._keys, state._engine, state.events.targets, state._link.owner)
        with pytest.raises(InvalidValueError, match="policy 'shut' is not known"):
            SlotCore(*arguments, policy="shut")
        with pytest.raises(InvalidValueError, match="timeout 100 is not usable"):
            SlotCore(*arguments, timeout=100)
        core = SlotCore(*arguments, timeout=1, policy="open", breaker=Breaker())
        assert (core.timeout, core.policy) == (1, "open")


async def test_both_faces_take_what_is_configured(url: str, tmp_path: Path) -> None:
    """One policy and one deadline for throttles and caps, and one breaker for the servers they share."""
    path = write(tmp_path)
    path.write_text(
        path.read_text().replace(
            "[cluster]\n", '[cluster]\nthrottle_policy = "closed"\nthrottle_timeout = 0.2\n'
        )
    )
    with sharedstate.connect(url, config=path) as state:
        async with await aio.connect(url, config=path) as other:
            for face in (state, other):
                core = face.outbound._core
                assert (core.policy, core.timeout) == ("closed", 0.2)
                assert core.breaker is face._throttles.engine.breaker
