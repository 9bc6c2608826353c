"""Slots on a real cluster, told to both faces through one table of cases."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import sharedstate
from sharedstate import aio
from sharedstate.config import LimitKind
from sharedstate.errors import ClosedError, InvalidAddressError, InvalidDomainError, InvalidValueError
from sharedstate.outbound.slots import Slot
from tests.support import apoll, poll

from .config import write


@dataclass(frozen=True)
class Case:
    """Slots asked for one after the other, all held; how many are granted, and who refuses the next.

    Attributes:
        name: what it shows.
        connection: the arguments of each.
        granted: how many.
        refused_by: scope, limit, object and item of the cap that refuses the next one, or None for no end.
        counts: what the objects hold then.
    """

    name: str
    connection: dict[str, str]
    granted: int
    refused_by: tuple[str, int, str, str] | None
    counts: dict[str, dict[str, int]] = field(default_factory=dict)


CASES = [
    Case(
        "the global number counts each domain by itself",
        {"domain": "Any.example", "ip": "192.0.2.1"},
        5,
        ("global", 5, "outbound_domains", "any.example"),
        {
            "outbound_domains": {"any.example": 5},
            "outbound_cidr": {"192.0.2.1/32": 5},
            "outbound_scopes": {"all": 5},
        },
    ),
    Case(
        "a domain's own number",
        {"domain": "small.example"},
        2,
        ("domain", 2, "outbound_domains", "small.example"),
    ),
    Case(
        "-1 lifts it, what counts all remains",
        {"domain": "free.example"},
        12,
        ("global", 12, "outbound_scopes", "all"),
        {"outbound_domains": {"free.example": 12}, "outbound_scopes": {"all": 12}},
    ),
    Case(
        "a host's number counts the MX host",
        {"domain": "d.example", "host": "MX.one.example."},
        1,
        ("host", 1, "outbound_hosts", "mx.one.example"),
        {"outbound_hosts": {"mx.one.example": 1}, "outbound_domains": {"d.example": 1}},
    ),
    Case(
        "through one binding",
        {"domain": "e.example", "binding": "Bulk"},
        3,
        ("binding", 3, "outbound_scopes", "binding/bulk"),
        {"outbound_scopes": {"all": 3, "binding/bulk": 3}, "outbound_binding_domains": {"bulk/e.example": 3}},
    ),
    Case(
        "one domain through one binding, refused before anything else is taken",
        {"domain": "d.example", "binding": "bulk"},
        2,
        ("binding::domain", 2, "outbound_binding_domains", "bulk/d.example"),
        {"outbound_scopes": {"all": 2, "binding/bulk": 2}, "outbound_binding_domains": {"bulk/d.example": 2}},
    ),
]
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def check_refusal(slot: Slot, case: Case) -> None:
    assert case.refused_by is not None
    assert not slot
    assert slot.decided_by == "redis"
    assert slot.retry_after > 0
    refusal = slot.refused_by
    assert refusal is not None
    assert (refusal.scope.kind, refusal.limit, refusal.object, refusal.item) == case.refused_by
    assert refusal.count == refusal.limit


@cases
def test_sync(url: str, tmp_path: Path, case: Case) -> None:
    config = write(tmp_path)
    with (
        sharedstate.connect(url, node="a", config=config) as one,
        sharedstate.connect(url, node="b", config=config) as two,
    ):
        outbound = [one.outbound, two.outbound]
        slots = []
        for number in range(case.granted):
            assert outbound[number % 2].check_connection(**case.connection, timeout=10)
            slot = outbound[number % 2].acquire(**case.connection, timeout=10)
            assert slot, slot
            assert slot.decided_by == "redis"
            slots.append(slot)
        for face in outbound:
            check_refusal(face.acquire(**case.connection, timeout=10), case)
            assert not face.check_connection(**case.connection, timeout=10)
        one.flush()
        two.flush()
        for name, counts in case.counts.items():
            assert dict(one.shared(name).view().rows()) == counts
        slots[0].release()
        slots[0].release()
        one.flush()
        assert two.outbound.acquire(**case.connection, timeout=10), "whoever comes next"
        for slot in slots:
            slot.release()
        assert one.outbound.metrics.unmatched == 0


@cases
async def test_asyncio(url: str, tmp_path: Path, case: Case) -> None:
    config = write(tmp_path)
    async with (
        await aio.connect(url, node="a", config=config) as one,
        await aio.connect(url, node="b", config=config) as two,
    ):
        outbound = [one.outbound, two.outbound]
        slots = []
        for number in range(case.granted):
            assert await outbound[number % 2].check_connection(**case.connection, timeout=10)
            slot = await outbound[number % 2].acquire(**case.connection, timeout=10)
            assert slot, slot
            assert slot.decided_by == "redis"
            slots.append(slot)
        for face in outbound:
            check_refusal(await face.acquire(**case.connection, timeout=10), case)
            assert not await face.check_connection(**case.connection, timeout=10)
        await one.flush()
        await two.flush()
        for name, counts in case.counts.items():
            assert dict((await (await one.shared(name)).view()).rows()) == counts
        slots[0].release()
        slots[0].release()
        await one.flush()
        assert await two.outbound.acquire(**case.connection, timeout=10), "whoever comes next"
        for slot in slots:
            slot.release()
        assert one.outbound.metrics.unmatched == 0


def test_a_block_holds_its_slot_and_gives_it_back(url: str, tmp_path: Path) -> None:
    with sharedstate.connect(url, config=write(tmp_path)) as state:
        domains = state.shared("outbound_domains")

        def deliver() -> None:
            with state.outbound.connection(domain="small.example", timeout=10) as slot:
                assert slot.allowed
                assert domains.count("small.example") == 1, "counted at once, not when it is published"
                raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            deliver()
        poll(lambda: domains.count("small.example") == 0, what="the slot to be published as given back")


async def test_a_block_in_asyncio(url: str, tmp_path: Path) -> None:
    async with await aio.connect(url, config=write(tmp_path)) as state:
        domains = await state.shared("outbound_domains")
        async with state.outbound.connection(domain="small.example", timeout=10) as slot:
            assert slot.allowed
            assert await domains.count("small.example") == 1

        async def back() -> bool:
            return await domains.count("small.example") == 0

        await apoll(back, what="the slot to be published as given back")


def test_one_after_the_other_never_waits_for_a_publish(url: str, tmp_path: Path) -> None:
    """A slot given back is there at once for the same process, published or not."""
    with sharedstate.connect(url, config=write(tmp_path)) as state:
        for _ in range(200):
            with state.outbound.connection(domain="d.example", host="mx.one.example", timeout=10) as slot:
                assert slot, slot
        assert state.outbound.metrics.reused > 0


def test_without_caps_it_only_counts(url: str) -> None:
    with sharedstate.connect(url) as state:
        slots = [state.outbound.acquire(domain="d.example", ip="192.0.2.1") for _ in range(50)]
        assert all(slots)
        assert {slot.decided_by for slot in slots} == {"uncapped"}
        assert state.shared("outbound_domains").local() == {"d.example": 50}
        assert state.shared("outbound_cidr").local() == {"192.0.2.1": 50}
        assert state.outbound.check_connection(domain="d.example").decided_by == "uncapped"
        for slot in slots:
            slot.release()
        assert state.shared("outbound_domains").local() == {}


def test_events_and_slots_count_the_same(url: str, tmp_path: Path) -> None:
    """An event does not ask, and counts; whoever asks sees it."""
    with sharedstate.connect(url, config=write(tmp_path)) as state:
        for _ in range(2):
            state.events.outbound_connect("192.0.2.1", "small.example", binding="bulk")
        state.flush()
        slot = state.outbound.acquire(domain="small.example", timeout=10)
        assert slot.refused_by is not None
        assert (slot.refused_by.kind, slot.refused_by.count) == (LimitKind.MAX_CONNECTIONS, 2)
        assert dict(state.shared("outbound_scopes").view().rows()) == {"all": 2, "binding/bulk": 2}
        state.events.outbound_disconnect("192.0.2.1", "small.example", binding="bulk")
        state.flush()
        assert state.outbound.acquire(domain="small.example", timeout=10)


def test_bad_input_counts_nothing(url: str, tmp_path: Path) -> None:
    with sharedstate.connect(url, config=write(tmp_path)) as state:
        acquire = state.outbound.acquire
        bad: list[tuple[dict[str, Any], type[Exception], str]] = [
            ({"domain": "no domain"}, InvalidDomainError, "is not a domain name"),
            ({"domain": "d.example", "ip": "1.2.3"}, InvalidAddressError, "is not an IP address"),
            ({"domain": "d.example", "binding": ""}, InvalidValueError, "give 1 to 255 printable"),
            ({"domain": "d.example", "timeout": 0}, InvalidValueError, "timeout 0 is not usable"),
            ({"domain": "d.example", "host": "-"}, InvalidDomainError, "is not a domain name"),
        ]
        for arguments, error, sentence in bad:
            with pytest.raises(error, match=sentence):
                acquire(**arguments)
        for name in ("outbound_domains", "outbound_cidr", "outbound_scopes", "outbound_hosts"):
            assert state.shared(name).local() == {}
        slot = acquire(domain="d.example")
    slot.release()
    with pytest.raises(ClosedError, match="closed"):
        acquire(domain="d.example")


async def test_many_tasks_share_a_cap(url: str, tmp_path: Path) -> None:
    """200 tasks ask at once: exactly as many are granted as there is room for."""
    async with await aio.connect(url, config=write(tmp_path, total=1000)) as state:
        asked: list[Callable[[], Awaitable[Slot]]] = [
            lambda: state.outbound.acquire(domain="any.example", timeout=10)
        ] * 200
        slots = await asyncio.gather(*(ask() for ask in asked))
        assert sum(map(bool, slots)) == 5
        for slot in slots:
            slot.release()
        await state.flush()
        assert await (await state.shared("outbound_domains")).count("any.example") == 0


async def test_a_cancelled_task_holds_no_slot(url: str, tmp_path: Path) -> None:
    async with await aio.connect(url, config=write(tmp_path)) as state:
        for _ in range(10):
            task = asyncio.create_task(state.outbound.acquire(domain="small.example", timeout=10))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        domains = await state.shared("outbound_domains")

        async def quiet() -> bool:
            await state.flush()
            return await domains.count("small.example") == 0

        await apoll(quiet, what="slots of cancelled tasks to go back")
        assert domains.local() == {}
