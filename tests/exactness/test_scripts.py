"""The scripts' headers are their contract, and the builders keep to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import sharedstate
from sharedstate.audit import calls as audit_calls
from sharedstate.audit.series import SeriesSpec
from sharedstate.call import Call
from sharedstate.keys import Keys
from sharedstate.local import LocalCluster
from sharedstate.objects import fleet, gauge, throttle
from sharedstate.results import Member
from sharedstate.scripts import Script, all_scripts
from sharedstate.specs import ObjectSpec
from sharedstate.throttle.spec import parse_spec

KEYS = Keys("c")
MEMBER = Member(incarnation="i", node="n", pid=1)
SPEC = ObjectSpec(name="inbound_cidr", cls="inbound_cidr")
RATE = parse_spec("30/1")
BUCKET = KEYS.bucket("t")
SERIES = SeriesSpec.make("s", "300,6", "cidr", "cluster")
CALLS: list[Call[Any]] = [
    audit_calls.add(
        KEYS,
        SERIES,
        SERIES.monitors[0],
        0,
        7,
        source="i",
        before=0,
        number=1,
        node="n",
        changes=[b"4", b"\0\1\1a\1"],
    ),
    audit_calls.define(KEYS, [SERIES]),
    audit_calls.lease(KEYS, "s", 300, "j", "i", 1000, 7),
    audit_calls.commit(KEYS, "s", 300, "j", "i", 7, "t"),
    fleet.join(KEYS, MEMBER, 1000, [SPEC]),
    fleet.beat(KEYS, "i", 1000),
    fleet.fence(KEYS, ["i"]),
    fleet.bury(KEYS, "i"),
    fleet.look(KEYS),
    gauge.publish(KEYS, "o", 0, "i", 0, 1, {b"f": 1, b"g": None}),
    gauge.take(KEYS, "o", 0, "i", 0, b"f", 1, 5, 0),
    gauge.reap(KEYS, "o", 0, "i"),
    throttle.define(KEYS, "t", RATE),
    throttle.lease(BUCKET, RATE.wire, "w", b"", 1, 0, 0, 0, 0, 0, 0, 1, 1, 0.95, 1000, 0),
    throttle.look(KEYS, "t"),
    throttle.reset(KEYS, "t"),
    throttle.set_spec(KEYS, "t", RATE),
    throttle.take(BUCKET, RATE.wire, "w", b"", 0, 0, 0, 0, 1),
]
#: KEYS as documented, by the word that names each.
KEY_NAMES = {
    "live": KEYS.live,
    "dying": KEYS.dying,
    "members": KEYS.members,
    "objects": KEYS.objects,
    "registry": KEYS.registry("o", 0),
    "series": KEYS.series,
    "export": KEYS.audit_export("s", 300, "j"),
    "window": KEYS.audit_window("s", 300, 0, 7),
    "part": KEYS.audit_window("s", 300, 0, 7, "n"),
    "sums": KEYS.sums("o", 0),
    "copy": KEYS.copy("o", 0, "i"),
    "bucket": BUCKET,
}
scripts = pytest.mark.parametrize("script", all_scripts(), ids=lambda script: script.name)


def header(script: Script) -> str:
    lines = script.text.splitlines()
    end = next(index for index, line in enumerate(lines) if not line.startswith("--"))
    return "\n".join(lines[:end])


def test_every_script_has_a_builder() -> None:
    assert sorted(call.script.name for call in CALLS if call.script) == [
        script.name for script in all_scripts()
    ]


@scripts
def test_header_says_what_comes_and_goes(script: Script) -> None:
    text = header(script)
    assert re.search(r"^--   Returns  \S", text, re.MULTILINE)
    assert re.search(r"^--   Errors   \S", text, re.MULTILINE)
    assert script.text.startswith("-- "), "the first line says what it is for"
    used = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", script.text[len(text) :])}
    assert used == set(range(1, script.key_count + 1)), "every key is used and every used one documented"


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.script.name)
def test_builder_sends_what_the_header_documents(call: Call[Any]) -> None:
    assert call.script is not None
    text = header(call.script)
    names = re.findall(r"^--   KEYS\[\d+\]  (\w+)", text, re.MULTILINE)
    assert call.args[0] == call.script.key_count == len(names)
    expected = dict(KEY_NAMES)
    if call.script.name == "audit_add":
        expected["registry"] = KEYS.audit_registry("s", 300, 0)
    assert list(call.args[1 : len(names) + 1]) == [expected[name] for name in names]
    sent = len(call.args) - 1 - len(names)
    documented = re.findall(r"^--   ARGV\[(\d+)(\.\.)?\]", text, re.MULTILINE)
    assert [int(number) for number, _ in documented] == list(range(1, len(documented) + 1))
    if documented and documented[-1][1]:
        assert sent >= len(documented)
    else:
        assert sent == len(documented)


@scripts
def test_script_touches_only_its_keys(script: Script) -> None:
    body = script.text[len(header(script)) :]
    calls = re.findall(r"redis\.p?call\(\s*'(\w+)'(?:,\s*([\w\[\]']+))?", body)
    assert len(calls) == len(re.findall(r"redis\.p?call\(", body)), "commands are literal"
    for name, key in calls:
        assert name not in {"KEYS", "SCAN", "FLUSHALL", "FLUSHDB", "EVAL", "RANDOMKEY"}
        assert name == "TIME" or key.startswith("KEYS[")


def test_no_script_source_hides_in_python() -> None:
    package = Path(sharedstate.__file__).parent
    assert [path.name for path in package.rglob("*.py") if "redis.call(" in path.read_text()] == []


def test_script_flush_is_harmless(url: str, cluster: LocalCluster) -> None:
    with sharedstate.connect(url, node="a") as state:
        for turn in range(3):
            state.events.inbound_connect("192.0.2.1")
            cluster.flush_scripts()
            state.flush()
            assert state.shared("inbound_cidr").count("192.0.2.0/24") == turn + 1
        assert state.metrics.failures == 0
        assert state.metrics.rejoins == 0
