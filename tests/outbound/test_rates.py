"""OBTM and OBTC: configured rates, each scope a bucket of the whole fleet."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sharedstate import aio
from sharedstate.call import key_slot
from sharedstate.config import loads
from sharedstate.config.model import LimitKind
from sharedstate.errors import ClosedError, ConfigError, InvalidDomainError, InvalidValueError
from sharedstate.keys import Keys
from sharedstate.local import LocalCluster
from sharedstate.outbound.rates import RateTable
from tests.support import poll
from tests.throttle.both import Fleet, fleet

__all__ = ["fleet"]

CONFIG = """
[[limit]]
cluster_outbound_throttle_messages = "100/3600"
cluster_outbound_throttle_connections = "50/3600"

[[limit]]
domain = "aol.com"
cluster_outbound_throttle_messages = "5/3600"
cluster_outbound_throttle_connections = "3/3600"

[[limit]]
binding_group = "bulk"
cluster_outbound_throttle_messages = "7/3600"

[[limit]]
binding_group = "bulk"
domain = "/^y/"
cluster_outbound_throttle_messages = "2/3600"

[[limit]]
binding = "vip one"
domain = "*.example"
cluster_outbound_throttle_messages = "4/3600"

[[limit]]
domain = "capped.example"
cluster_max_outbound_connections = 2
"""


def table(kind: LimitKind = LimitKind.THROTTLE_MESSAGES) -> RateTable:
    return RateTable(loads(CONFIG, language="toml").limits, kind)


@pytest.mark.parametrize(
    ("domain", "binding", "group", "names"),
    [
        ("x.org", None, None, ["OBTM:all"]),
        ("AOL.com.", None, None, ["OBTM:domain/aol.com", "OBTM:all"]),
        ("x.org", None, "Bulk", ["OBTM:binding_group/bulk", "OBTM:all"]),
        (
            "yahoo.com",
            None,
            "bulk",
            ["OBTM:binding_group/bulk/domain/yahoo.com", "OBTM:binding_group/bulk", "OBTM:all"],
        ),
        ("yahoo.com", None, "other", ["OBTM:all"]),
        ("a.example", "VIP one", None, ["OBTM:binding/vip%20one/domain/a.example", "OBTM:all"]),
    ],
)
def test_every_scope_that_matches_has_to_allow(
    domain: str, binding: str | None, group: str | None, names: list[str]
) -> None:
    assert [rule.throttle for rule in table().applying(domain, binding, group)] == names


def test_rates_are_those_configured() -> None:
    rules = table(LimitKind.THROTTLE_CONNECTIONS).applying("aol.com", None, None)
    assert [(rule.throttle, str(rule.spec)) for rule in rules] == [
        ("OBTC:domain/aol.com", "3/hr"),
        ("OBTC:all", "50/hr"),
    ]


def test_names_that_are_none() -> None:
    with pytest.raises(InvalidDomainError):
        table().applying("not a domain", None, None)
    with pytest.raises(InvalidValueError, match="binding name"):
        table().applying("x.org", "line\nfeed", None)


def configured(fleet: Fleet, url: str, folder: Path, text: str = CONFIG, node: str = "a") -> Any:
    path = folder / f"{node}.toml"
    path.write_text(text)
    return fleet.connect(url, node=node, config=path)


@pytest.mark.parametrize("mode", ["strict", "leased"])
def test_messages(fleet: Fleet, url: str, tmp_path: Path, mode: str) -> None:
    text = f'[cluster]\nthrottle_mode = "{mode}"\n' + CONFIG
    a, b = (configured(fleet, url, tmp_path, text, node) for node in "ab")
    decisions = [state.outbound.check_message(domain="aol.com") for _ in range(4) for state in (a, b)]
    assert sum(map(bool, decisions)) == 5
    assert decisions[-1].throttle == "OBTM:domain/aol.com"
    assert decisions[-1].retry_after > 0
    assert a.outbound.check_message(domain="x.org"), "refused messages cost the global rate nothing"
    group = [a.outbound.check_message(domain="yahoo.com", binding_group="bulk") for _ in range(3)]
    assert [bool(decision) for decision in group] == [True, True, False]
    assert b.outbound.check_message(domain="yahoo.co.uk", binding_group="bulk"), (
        "a pattern is a bucket for each domain"
    )


def test_without_a_rate_everything_is_allowed(fleet: Fleet, url: str) -> None:
    state = fleet.connect(url)
    decision = state.outbound.check_message(domain="aol.com")
    assert decision
    assert decision.decided_by == "unlimited"
    assert state.outbound.check_connection(domain="aol.com").decided_by == "uncapped"


def test_connections_are_counted_by_their_rate(fleet: Fleet, url: str, tmp_path: Path) -> None:
    state = configured(fleet, url, tmp_path)
    answers = [state.outbound.check_connection(domain="aol.com") for _ in range(4)]
    assert [bool(answer) for answer in answers] == [True, True, True, False]
    refusal = answers[-1].refused_by
    assert (refusal.kind, refusal.item) == (LimitKind.THROTTLE_CONNECTIONS, "OBTC:domain/aol.com")
    assert str(refusal) == (
        'cluster_outbound_throttle_connections 3/hr (domain "aol.com") is used up, throttle OBTC:domain/aol.com'
    )
    assert (refusal.limit, refusal.count, refusal.object) == (3, 3, "throttle")
    assert (answers[0].decided_by, answers[-1].decided_by) == ("redis", "redis")
    assert answers[-1].retry_after > 0
    slot = state.outbound.acquire(domain="aol.com")
    assert not slot
    assert slot.refused_by.item == "OBTC:domain/aol.com"


def test_a_full_cap_gives_the_rate_back(fleet: Fleet, url: str, tmp_path: Path) -> None:
    state = configured(fleet, url, tmp_path)
    slots = [state.outbound.acquire(domain="capped.example") for _ in range(20)]
    assert sum(map(bool, slots)) == 2
    assert slots[-1].refused_by.kind == LimitKind.MAX_CONNECTIONS
    assert state.throttle_view("OBTC:all").left == 48
    assert not state.outbound.check_connection(domain="capped.example")
    assert state.throttle_view("OBTC:all").left == 48
    for slot in slots:
        slot.release()


def test_a_new_configuration_changes_the_fleets_rate(fleet: Fleet, url: str, tmp_path: Path) -> None:
    old = configured(fleet, url, tmp_path)
    assert sum(bool(old.outbound.check_message(domain="aol.com")) for _ in range(9)) == 5
    new = configured(fleet, url, tmp_path, CONFIG.replace('"5/3600"', '"8/3600"'), "b")
    assert sum(bool(new.outbound.check_message(domain="aol.com")) for _ in range(9)) == 3
    assert str(old.throttle_view("OBTM:domain/aol.com").spec) == "8/hr"


def test_a_rate_set_by_hand_stays(fleet: Fleet, url: str, tmp_path: Path) -> None:
    old = configured(fleet, url, tmp_path)
    assert old.outbound.check_message(domain="aol.com")
    old.set_throttle("OBTM:domain/aol.com", "2/hr")
    new = configured(fleet, url, tmp_path, node="b")
    assert sum(bool(new.outbound.check_message(domain="aol.com")) for _ in range(9)) <= 1
    assert str(new.throttle_view("OBTM:domain/aol.com").spec) == "2/hr"


def test_a_rate_no_bucket_can_keep_is_refused_with_the_configuration() -> None:
    with pytest.raises(
        ConfigError, match=r"^2:\d+: cluster_outbound_throttle_messages 5/999999999: .* 366 days"
    ):
        loads('[[limit]]\ncluster_outbound_throttle_messages = "5/999999999"\n', language="toml")


def test_what_is_not_usable_takes_nothing(fleet: Fleet, url: str, tmp_path: Path) -> None:
    state = configured(fleet, url, tmp_path)
    for cost in (0, -1, True, 1.5, 6):
        with pytest.raises(InvalidValueError):
            state.outbound.check_message(domain="aol.com", cost=cost)
    with pytest.raises(InvalidValueError):
        state.outbound.check_message(domain="aol.com", timeout=0)
    assert state.outbound.check_message(domain="aol.com", cost=5)
    state.close()
    for ask in (state.outbound.check_message, state.outbound.check_connection, state.outbound.acquire):
        with pytest.raises(ClosedError):
            ask(domain="aol.com")


def test_a_rate_configured_while_redis_hangs_comes_into_force_later(
    fleet: Fleet, cluster: LocalCluster, tmp_path: Path
) -> None:
    """The policy decides meanwhile, and the fleet's older rate is changed as soon as Redis answers again."""
    old = configured(fleet, cluster.url, tmp_path)
    assert old.outbound.check_message(domain="aol.com")
    new = configured(fleet, cluster.url, tmp_path, CONFIG.replace('"5/3600"', '"8/3600"'), "b")
    node = cluster.primary_of(key_slot(Keys("ec_cluster").bucket("OBTM:domain/aol.com")))
    cluster.pause(node)
    try:
        assert new.outbound.check_message(domain="aol.com").decided_by == "local"
        assert "OBTM:domain/aol.com" not in new.outbound._pacer._configured
    finally:
        cluster.resume(node)

    def told() -> bool:
        new.outbound.check_message(domain="aol.com")
        return "OBTM:domain/aol.com" in new.outbound._pacer._configured

    poll(told, timeout=20)
    assert str(old.throttle_view("OBTM:domain/aol.com").spec) == "8/hr"


async def _cancelled(url: str, path: Path) -> None:
    async with await aio.connect(url, node="a", config=path) as state:
        assert (await state.outbound.acquire(domain="capped.example")).allowed
        outbound = state.outbound
        reached = asyncio.Event()

        async def never(*_: object) -> None:
            reached.set()
            await asyncio.Event().wait()

        outbound._drive = never  # type: ignore[method-assign, assignment]
        asked = asyncio.create_task(outbound.acquire(domain="capped.example"))
        await reached.wait()
        assert (await state.throttle_view("OBTC:all")).left == 48
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await asyncio.gather(*outbound._returning)
        assert (await state.throttle_view("OBTC:all")).left == 49


def test_a_cancelled_task_gives_the_rate_back(url: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(CONFIG)
    asyncio.run(_cancelled(url, path))
