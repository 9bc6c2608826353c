"""Audit series through both faces: whatever one does, the other does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sharedstate
from sharedstate import aio
from sharedstate.audit.reading import Question
from sharedstate.errors import (
    ClosedError,
    InvalidAddressError,
    InvalidDomainError,
    InvalidValueError,
    SeriesMismatchError,
    UnknownNodeError,
    UnknownSeriesError,
)
from tests.support import apoll, poll

CONFIG = """
[cluster]
member_timeout = 3.0

[[replicate]]
type = "inbound_cidr"

[[replicate]]
type = "metrics"
parameters = ["connect", "reception", "delivery", "audit_series"]
max_delay = 0.2

[[replicate]]
type = "eccmgr_metrics"
parameters = ["transfail"]

[inbound_audit]
monitors = ["300,6", "1800,4"]

[outbound_audit]
monitors = ["300,6"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(CONFIG)
    return path


def test_sync_counts_in_windows(url: str) -> None:
    with (
        sharedstate.connect(url, node="relay-0-1") as one,
        sharedstate.connect(url, node="relay-0-2") as two,
        sharedstate.observe(url) as observer,
    ):
        spec = one.audit.define("spam", "300,6 1800,4", "cidr", "cluster")
        assert two.audit.define("spam", ["300,6", "1800,4"], replicate="cluster") == spec
        one.audit.add("spam", "192.0.2.1")
        one.audit.add("spam", "::ffff:192.0.2.1", 2)
        two.audit.add("spam", "192.0.2.200", 10)
        two.audit.add("spam", "192.0.2.200", -4)
        one.flush()
        two.flush()
        blocks = ["192.0.2.1", "192.0.2.0/25", "192.0.2.0/24", "192.0.0.0/16", "192.0.0.0/8", "0.0.0.0/0"]
        assert [observer.audit.count("spam", block, 0, 1) for block in blocks] == [3, 3, 9, 9, 9, 9]
        assert [
            one.audit.count("spam", "192.0.2.0/24", 0, 1, node) for node in ("relay-0-1", "RELAY-0-2")
        ] == [3, 6]
        assert sum(observer.audit.windows("spam", "192.0.2.1", monitor="1800,4")) == 3
        assert observer.audit.count("spam", "192.0.2.1", 0, 1, monitor=1800) == 3
        assert observer.audit.count_many(
            [
                Question("spam", "192.0.2.1", 0, 1),
                Question("spam", "192.0.2.200", 0, 1, "relay-0-1"),
                Question("spam", "192.0.2.0/24", 0, 3, monitor="1800,4"),
            ]
        ) == [3, 0, 9]
        assert 0 < observer.audit.smoothed("spam", "192.0.2.0/24") <= 9
        assert [spec.name for spec in observer.audit.series()] == ["spam"]
        assert observer.audit.nodes("spam") == ["relay-0-1", "relay-0-2"]
        found = {}
        for window in (0, 1):
            for page in observer.audit.pages("spam", window):
                found.update(page)
        assert found == {"192.0.2.1": 3, "192.0.2.200": 6}
        observer.audit.adjust("spam", "192.0.2.1", 5, node="relay-0-9")
        assert observer.audit.count("spam", "192.0.2.0/24", 0, 1) == 14
        assert observer.audit.count("spam", "192.0.2.0/24", 0, 1, "relay-0-9") == 5
        assert observer.audit.remove_item("spam", "192.0.2.1") == 8
        assert [observer.audit.count("spam", block, 0, 1) for block in blocks] == [0, 0, 6, 6, 6, 6]
        assert observer.audit.count("spam", "192.0.2.1", 0, 1, monitor=1800) == 0
        assert (
            sum(
                observer.audit.count("spam", "0.0.0.0/0", 0, 1, node) for node in observer.audit.nodes("spam")
            )
            == 6
        )
        one.close()
        assert observer.audit.count("spam", "192.0.2.0/24", 0, 1, "relay-0-2") == 6
    with sharedstate.observe(url) as observer:
        assert observer.audit.count("spam", "192.0.2.0/24", 0, 1, "relay-0-2") == 6, (
            "the dead are still known"
        )


async def test_async_counts_the_same(url: str) -> None:
    async with (
        await aio.connect(url, node="relay-0-1") as one,
        await aio.connect(url, node="relay-0-2") as two,
        await aio.observe(url) as observer,
    ):
        for state in (one, two):
            await state.audit.define("spam", "300,6 1800,4", "cidr", "cluster")
            await state.audit.define("slow", "300,6", "time", "cluster")
        one.audit.add("spam", "192.0.2.1", 3)
        two.audit.add("spam", "192.0.2.200", 6)
        two.audit.add_seconds("slow", "aol.com", 2.0)
        await one.flush()
        await two.flush()
        assert await observer.audit.count("spam", "192.0.2.0/24", 0, 1) == 9
        assert await one.audit.count("spam", "192.0.2.0/24", 0, 1, "relay-0-1") == 3
        assert await observer.audit.count_many([Question("spam", "192.0.2.1", 0, 1)]) == [3]
        assert sum(await observer.audit.windows("spam", "192.0.0.0/8")) == 9
        assert 0 < await observer.audit.smoothed("spam", "192.0.2.0/24") <= 9
        assert (await observer.audit.durations("slow", "aol.com", 0, 1)).mean == 2.0
        assert [spec.name for spec in await observer.audit.series()] == ["slow", "spam"]
        assert await observer.audit.nodes("spam") == ["relay-0-1", "relay-0-2"]
        found: dict[str, int] = {}
        for window in (0, 1):
            async for page in observer.audit.pages("spam", window):
                found.update(page)
        assert found == {"192.0.2.1": 3, "192.0.2.200": 6}
        await observer.audit.adjust("spam", "192.0.2.1", -1)
        assert await observer.audit.remove_item("spam", "192.0.2.1") == 2
        assert await observer.audit.count("spam", "0.0.0.0/0", 0, 1) == 6
        with pytest.raises(UnknownSeriesError, match="did you mean 'spam'"):
            await observer.audit.count("spa", "192.0.2.1")
        one.audit.add("spam", "192.0.2.7")
        await apoll(lambda: one.audit.metrics.published == 12, what="published in the background")
    with pytest.raises(ClosedError):
        one.audit.add("spam", "192.0.2.1")


def test_events_feed_what_is_configured(url: str, config: Path) -> None:
    with sharedstate.connect(url, node="a", config=config) as state:
        events = state.events
        events.inbound_connect("192.0.2.1")
        events.inbound_connect("2001:db8::1")
        events.inbound_disconnect("192.0.2.1")
        events.reception("192.0.2.1", "AOL.com")
        events.rejection("192.0.2.1")
        for seconds in (1.0, 3.0):
            events.delivery("aol.com.", seconds)
        events.delivery("example.org", 10)
        events.transfail("aol.com")
        events.permfail("aol.com")
        with pytest.raises(InvalidAddressError):
            events.reception("nobody")
        with pytest.raises(InvalidDomainError):
            events.delivery("a..b", 1.0)
        with pytest.raises(InvalidValueError, match="not negative"):
            events.delivery("aol.com", -1.0)
        state.flush()
        audit = state.audit
        assert audit.count("connect", "192.0.2.0/24", 0, 1) == 1
        assert audit.count("connect", "::/0", 0, 1, monitor="1800,4") == 1
        assert audit.count("reception", "192.0.2.1", 0, 1) == 1
        assert audit.count("domain_reception", "aol.com", 0, 1) == 1
        assert [audit.count("delivery", key, 0, 1) for key in ("aol.com", "example.org", "*")] == [2, 1, 3]
        durations = audit.durations("delivery_time", "*", 0, 1)
        assert (durations.count, round(durations.mean, 3)) == (3, round(14 / 3, 3))
        assert durations.quantile(1.0) == pytest.approx(10, rel=0.01)
        # Not replicated: this process alone.
        assert audit.count("rejection", "192.0.2.1", 0, 1) == 1
        assert audit.count("permfail", "aol.com", 0, 1) == 1
        with pytest.raises(InvalidValueError, match="managers only"):
            audit.count("transfail", "aol.com")
        assert audit.define("virus", "60,3").replicate == "cluster", "audit_series"
        with (
            sharedstate.observe(url) as observer,
            sharedstate.connect(url, node="m", role="Manager") as manager,
        ):
            assert observer.audit.count("transfail", "aol.com", 0, 1) == 1
            assert manager.audit.count("transfail", "*", 0, 1) == 1
            with pytest.raises(UnknownSeriesError):
                observer.audit.count("rejection", "192.0.2.1")


@pytest.mark.parametrize(
    ("stanza", "kept"),
    [
        ("monitor_domains = false", []),
        ('domainlist = ["b.example"]', ["b.example"]),
        ("threshold = 2", ["a.example"]),
        ("", ["a.example", "b.example"]),
    ],
)
def test_which_domains_are_kept(url: str, tmp_path: Path, stanza: str, kept: list[str]) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(
        '[[replicate]]\ntype = "metrics"\nparameters = ["delivery"]\n'
        f'[outbound_audit]\nmonitors = ["300,6"]\n{stanza}\n'
    )
    with sharedstate.connect(url, node="a", config=path) as state:
        for domain in ("a.example", "a.example", "a.example", "b.example"):
            state.events.delivery(domain, 1.0)
        state.flush()
        found: dict[str, int] = {}
        for window in (0, 1):
            for page in state.audit.pages("delivery", window):
                found.update(page)
        assert found.pop("*") == 4
        assert sorted(found) == kept


def test_a_process_of_its_own(url: str) -> None:
    with sharedstate.connect(url, node="a") as state:
        for type_, keys in (("cidr", ("192.0.2.1", "192.0.2.9")), ("string", ("x", "y"))):
            spec = state.audit.define(f"own-{type_}", "300,6", type_, "none")
            assert state.audit.define(spec.name, "300,6", type_, "none") == spec
            state.audit.add(spec.name, keys[0], 3)
            state.audit.add(spec.name, keys[1])
            assert state.audit.count(spec.name, keys[0], 0, 1) == 3
            assert state.audit.remove_item(spec.name, keys[0]) == 3
            assert sum(state.audit.windows(spec.name, keys[0])) == 0
            assert state.audit.count(spec.name, keys[1], 0, 1, node="A") == 1
            with pytest.raises(InvalidValueError, match="this process alone"):
                state.audit.count(spec.name, keys[1], node="b")
            with pytest.raises(InvalidValueError, match="defined otherwise"):
                state.audit.define(spec.name, "300,7", type_, "none")
        assert state.audit.count("own-cidr", "192.0.2.0/28", 0, 1) == 1
        assert state.audit.count_many([Question("own-cidr", "0.0.0.0/0", 0, 1)]) == [1]
        assert state.audit.series() == [state.audit.spec("own-cidr"), state.audit.spec("own-string")]
        with sharedstate.observe(url) as observer:
            assert observer.audit.series() == []
        state.audit.define("own-time", "300,6", "time", "none")
        state.audit.add_seconds("own-time", "x", 4.0)
        assert state.audit.durations("own-time", "x", 0, 1).mean == 4.0


BAD: list[tuple[type[Exception], str, Any]] = [
    (InvalidValueError, "seconds,windows", lambda audit: audit.define("x", "300")),
    (InvalidValueError, "needs a monitor", lambda audit: audit.define("x", [])),
    (InvalidValueError, "known: cidr, cidr_ipv6", lambda audit: audit.define("x", "300,6", "cider")),
    (InvalidValueError, "known: none, cluster", lambda audit: audit.define("x", "300,6", replicate="all")),
    (InvalidValueError, "1 to 1024", lambda audit: audit.define("x", "300,6", "cidr", "cluster", 0)),
    (InvalidValueError, "series name", lambda audit: audit.define("a b", "300,6")),
    (
        SeriesMismatchError,
        "but the fleet has it",
        lambda audit: audit.define("spam", "300,7", "cidr", "cluster"),
    ),
    (UnknownSeriesError, "did you mean 'spam'", lambda audit: audit.add("span", "192.0.2.1")),
    (InvalidAddressError, "takes IPv4", lambda audit: audit.add("spam", "2001:db8::1")),
    (InvalidAddressError, "takes IPv4", lambda audit: audit.count("spam", "2001:db8::/32")),
    (InvalidAddressError, "not an IP address", lambda audit: audit.add("spam", "192.0.2")),
    (InvalidValueError, "whole number", lambda audit: audit.add("spam", "192.0.2.1", 1.5)),
    (InvalidValueError, "whole number", lambda audit: audit.add("spam", "192.0.2.1", 1 << 60)),
    (InvalidValueError, "windows 0 to 5", lambda audit: audit.count("spam", "192.0.2.1", 6)),
    (InvalidValueError, "wrong order", lambda audit: audit.count("spam", "192.0.2.1", 3, 1)),
    (InvalidValueError, "no windows of 60 s", lambda audit: audit.count("spam", "192.0.2.1", monitor=60)),
    (
        UnknownNodeError,
        "did you mean 'relay-0-1'",
        lambda audit: audit.count("spam", "192.0.2.1", node="relay-0-"),
    ),
    (InvalidValueError, "1 to 512 printable", lambda audit: audit.add("words", "")),
    (InvalidValueError, "add_seconds", lambda audit: audit.add("slow", "x")),
    (InvalidValueError, "not time", lambda audit: audit.add_seconds("words", "x", 1.0)),
    (InvalidValueError, "not negative", lambda audit: audit.add_seconds("slow", "x", float("nan"))),
    (InvalidValueError, "durations are kept", lambda audit: audit.durations("words", "x")),
    (InvalidValueError, "cannot be listed", lambda audit: next(audit.pages("slow"))),
    (InvalidValueError, "cannot be changed by hand", lambda audit: audit.adjust("slow", "x", 1)),
]


def test_what_is_refused(url: str) -> None:
    with sharedstate.connect(url, node="relay-0-1") as state:
        state.audit.define("spam", "300,6", "cidr", "cluster")
        state.audit.define("words", "300,6", "string", "cluster")
        state.audit.define("slow", "300,6", "time", "cluster")
        for error, sentence, work in BAD:
            with pytest.raises(error, match=sentence) as caught:
                work(state.audit)
            assert str(caught.value).endswith((".", "?")), caught.value
        state.flush()
        assert state.audit.metrics.published == 0


def test_a_mismatch_in_the_configuration_keeps_a_member_out(url: str, config: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(CONFIG.replace("1800,4", "1800,5"))
    with (
        sharedstate.connect(url, node="a", config=config) as state,
        pytest.raises(
            SeriesMismatchError, match="'connect' is defined as type cidr_any with windows 300,6 1800,5"
        ),
    ):
        sharedstate.connect(url, node="b", config=other)
    assert state.metrics.failures == 0


def test_leaving_publishes_what_waits(url: str) -> None:
    with sharedstate.connect(url, node="a") as state:
        state.audit.define("spam", "300,6", "cidr", "cluster", max_delay=60)
        state.audit.add("spam", "192.0.2.1")
    with sharedstate.observe(url) as observer:
        assert observer.audit.count("spam", "192.0.2.1", 0, 1) == 1


def test_background_publishing(url: str) -> None:
    with sharedstate.connect(url, node="a") as state, sharedstate.observe(url) as observer:
        state.audit.define("spam", "300,6", "cidr", "cluster", max_delay=0.01)
        state.audit.add("spam", "192.0.2.1")
        poll(lambda: observer.audit.count("spam", "192.0.2.1", 0, 1) == 1)
        state.reset()
        state.audit.add("spam", "192.0.2.1")
        poll(lambda: observer.audit.count("spam", "192.0.2.1", 0, 1) == 2, what="counted on after a rejoin")
        poll(lambda: state.metrics.rejoins >= 1)
        assert observer.audit.count("spam", "0.0.0.0/0", 0, 1) == 2, "a rejoin counts nothing twice"
