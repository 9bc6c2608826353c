"""The same story told to both faces: whatever one does, the other does."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

import sharedstate
from sharedstate import aio
from sharedstate.errors import (
    ClosedError,
    CountBelowZeroError,
    InvalidAddressError,
    InvalidDomainError,
    InvalidUrlError,
    InvalidValueError,
    ShardMismatchError,
    UnknownNodeError,
    UnknownObjectError,
)
from tests.support import apoll, poll

CONFIG = """
[cluster]
member_timeout = 3.0

[[replicate]]
type = "inbound_cidr"

[[replicate]]
type = "outbound_cidr"

[[replicate]]
type = "outbound_domains"

[[replicate]]
type = "outbound_binding_domains"

[[replicate]]
name = "by_site"
class = "outbound_domains"
count_by = "site"

[[replicate]]
name = "by_host"
class = "outbound_domains"
count_by = "host"

[[replicate]]
name = "vip_domains"
class = "outbound_domains"
binding_group = "vip"

[[site]]
name = "outlook"
domains = ["hotmail.com", "live.com"]
mx = ["*.protection.outlook.com"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(CONFIG)
    return path


def test_sync_counts_blocks_nodes_and_domains(url: str, config: Path) -> None:
    with (
        sharedstate.connect(url, node="relay-0-1", config=config) as one,
        sharedstate.connect(url, node="relay-0-2", config=config) as two,
    ):
        one.events.inbound_connect("10.0.0.1")
        one.events.inbound_connect("::ffff:10.0.0.1")
        two.events.inbound_connect("10.0.0.2")
        two.events.inbound_connect("[IPv6:2001:db8::1]")
        one.events.outbound_connect(
            "192.0.2.1", "MÜNCHEN.de.", host="mx1.example", binding="b1", binding_group="VIP"
        )
        two.events.outbound_connect("192.0.2.1", "Live.com", host="a.protection.outlook.com")
        two.events.outbound_connect(
            "192.0.2.1", "contoso.example", host="contoso.mail.protection.outlook.com"
        )
        one.flush()
        two.flush()
        tree = one.shared("inbound_cidr")
        asked = ["10.0.0.1", "10.0.0.0/30", "10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/64"]
        assert [tree.count(block) for block in asked] == [2, 3, 3, 3, 3, 1, 1]
        assert [tree.count(block, node="relay-0-1") for block in asked] == [2, 2, 2, 2, 2, 0, 0]
        assert tree.view("RELAY-0-2").counts == {"10.0.0.2": 1, "2001:db8::1": 1}
        assert one.shared("outbound_domain").view().counts == {
            "xn--mnchen-3ya.de": 1,
            "live.com": 1,
            "contoso.example": 1,
        }
        assert one.shared("by_site").view().counts == {"xn--mnchen-3ya.de": 1, "outlook": 2}
        assert one.shared("by_host").count("mx1.example") == 1
        assert one.shared("vip_domains").view().counts == {"xn--mnchen-3ya.de": 1}
        assert one.shared("outbound_binding_domains").count(("B1", "münchen.de")) == 1
        assert list(tree.by_node().nodes) == ["relay-0-1", "relay-0-2"]
        one.events.inbound_disconnect("10.0.0.1")
        one.events.inbound_disconnect("10.9.9.9")
        one.flush()
        assert tree.count("10.0.0.0/24") == 2
        assert one.metrics.unmatched == 1
        assert (two.info().leader or pytest.fail("nobody leads")).node == "relay-0-1"
    with sharedstate.observe(url) as observer:
        assert observer.members() == []
        assert observer.shared("inbound_cidr").view().counts == {}


async def test_async_counts_the_same(url: str, config: Path) -> None:
    async with (
        await aio.connect(url, node="relay-0-1", config=config) as one,
        await aio.connect(url, node="relay-0-2", config=config) as two,
    ):
        one.events.inbound_connect("10.0.0.1")
        two.events.inbound_connect("10.0.0.2")
        await one.flush()
        await two.flush()
        tree = await one.shared("inbound_cidr")
        assert [await tree.count(block) for block in ("10.0.0.1", "10.0.0.0/24", "0.0.0.0/0")] == [1, 2, 2]
        assert (await tree.view("relay-0-2")).counts == {"10.0.0.2": 1}
        assert {k: v async for page in tree.pages() for k, v in page.items()} == {
            "10.0.0.1": 1,
            "10.0.0.2": 1,
        }
        assert list((await tree.by_node()).nodes) == ["relay-0-1", "relay-0-2"]
        assert ((await two.info()).leader or pytest.fail("nobody leads")).node == "relay-0-1"
        assert await one.reset("relay-0-2") == 1
        with pytest.raises(UnknownObjectError, match="did you mean 'inbound_cidr'"):
            await one.shared("inbound_cdr")

        async def back() -> bool:
            return await tree.count("10.0.0.0/24") == 2 and two.metrics.rejoins == 1

        await apoll(back, 10)
    async with await aio.observe(url) as observer:
        assert await observer.members() == []
        assert (await (await observer.shared("inbound_cidr")).view()).counts == {}


def test_changes_are_published_within_max_delay_without_flush(url: str, config: Path) -> None:
    with sharedstate.connect(url, config=config) as state:
        state.flush()
        state.events.inbound_connect("10.0.0.1")
        tree = state.shared("inbound_cidr")
        poll(lambda: tree.count("10.0.0.1") == 1, 5)


async def test_async_changes_are_published_from_any_thread(url: str, config: Path) -> None:
    async with await aio.connect(url, config=config) as state:
        await asyncio.to_thread(state.events.inbound_connect, "10.0.0.1")
        tree = await state.shared("inbound_cidr")

        async def there() -> bool:
            return await tree.count("10.0.0.1") == 1

        await apoll(there, 5)


def test_bad_input_counts_nothing(url: str, config: Path) -> None:
    with sharedstate.connect(url, node="relay-0-1", config=config) as state:
        tree = state.shared("inbound_cidr")
        for bad in ("10.0.0", "10.0.0.0/8", "example.com", "fe80::1%eth0", ""):
            with pytest.raises(InvalidAddressError, match="is not an IP address"):
                tree.increment(bad)
        with pytest.raises(InvalidAddressError, match="no valid prefix length"):
            tree.count("10.0.0.0/33")
        with pytest.raises(InvalidDomainError, match="is not a domain name"):
            state.events.outbound_connect("192.0.2.1", "not a domain")
        assert state.shared("outbound_cidr").local() == {}, "half applied"
        with pytest.raises(
            CountBelowZeroError, match=r"inbound_cidr: the count of '10\.0\.0\.1' on this member is 0"
        ):
            tree.decrement("10.0.0.1")
        for step in (0, -1, 1.5, True):
            if step is not True:
                with pytest.raises(InvalidValueError, match="whole number"):
                    tree.increment("10.0.0.1", step)  # type: ignore[arg-type]
        with pytest.raises(InvalidValueError, match="not a binding with a domain"):
            state.shared("outbound_binding_domains").increment("example.com")
        with pytest.raises(UnknownNodeError, match="did you mean 'relay-0-1'"):
            tree.view("relay-01")
        assert tree.local() == {}
    with pytest.raises(ClosedError, match="closed"):
        tree.increment("10.0.0.1")
    with pytest.raises(ClosedError, match="closed"):
        state.flush()
    with sharedstate.observe(url) as observer, pytest.raises(InvalidValueError, match="does not count it"):
        observer.shared("inbound_cidr").increment("10.0.0.1")


def test_a_different_shard_count_is_refused_with_both_numbers(url: str, tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text('[[replicate]]\ntype = "inbound_cidr"\nshards = 8\n')
    with sharedstate.connect(url) as state:
        with pytest.raises(
            ShardMismatchError, match="with 8 shards but the fleet has it as inbound_cidr with 16"
        ):
            sharedstate.connect(url, config=path)
        assert len(state.members()) == 1


def test_without_a_url_the_sentence_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHAREDSTATE_URL", "SHAREDSTATE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidUrlError, match="set SHAREDSTATE_URL"):
        sharedstate.connect()


def test_node_names_come_from_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHAREDSTATE_NODE", raising=False)
    monkeypatch.setenv("EC_NODE_NAME", "relay-9")
    with sharedstate.observe(url) as observer:
        assert observer.node == "relay-9"
    monkeypatch.setenv("SHAREDSTATE_NODE", "relay-8")
    with sharedstate.observe(url) as observer:
        assert observer.node == "relay-8"


def test_public_names_are_one_sorted_list() -> None:
    assert sorted(sharedstate.__all__) == sharedstate.__all__
    for name in sharedstate.__all__:
        assert getattr(sharedstate, name)


def test_standalone_serves_the_same(standalone: object) -> None:
    target = getattr(standalone, "url", standalone)
    with sharedstate.connect(str(target)) as state:
        state.events.inbound_connect("10.0.0.1")
        state.flush()
        assert state.shared("inbound_cidr").count("10.0.0.0/8") == 1
        assert state.info().topology == "standalone"


def test_closing_without_redis_warns_and_returns(
    standalone: object, caplog: pytest.LogCaptureFixture
) -> None:
    target = getattr(standalone, "url", standalone)
    state = sharedstate.connect(str(target), timeout=0.5)
    stop = getattr(standalone, "stop", None)
    if stop is None:
        pytest.skip("this fixture cannot be stopped")
    stop()
    with caplog.at_level(logging.WARNING, "sharedstate"):
        state.close(timeout=0.5)
    assert "leaving the fleet failed" in caplog.text
