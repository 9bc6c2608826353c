"""The audit commands, typed as an operator types them, on a real cluster."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sharedstate_cli.context import Environment
from sharedstate_cli.main import cli
from sharedstate_cli.views.audit_table import sparkline

import sharedstate

CONFIG = """
[[replicate]]
type = "metrics"
parameters = ["connect", "reception", "rejection", "delivery", "transfail", "permfail"]

[inbound_audit]
monitors = ["86400,2", "172800,1"]

[outbound_audit]
monitors = ["86400,2"]
"""


@pytest.fixture
def fleet(url: str, tmp_path: Path) -> Iterator[tuple[sharedstate.State, sharedstate.State]]:
    """Two nodes with a day's windows, so that no window ends under a test (but the day's own, once)."""
    config = tmp_path / "fleet.toml"
    config.write_text(CONFIG)
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(sharedstate.connect(url, node=node, config=config))
            for node in ("relay-0-1", "relay-0-2")
        )
        for last in range(1, 5):
            for _ in range(last):
                one.events.inbound_connect(f"192.0.2.{last}")
        two.events.inbound_connect("192.0.2.1")
        two.events.inbound_connect("198.51.100.1")
        two.events.inbound_connect("2001:db8::1")
        two.events.rejection("192.0.2.1")
        for seconds in (8.0, 8.4):
            one.events.delivery("AOL.com", seconds)
        one.events.reception("192.0.2.1", "aol.com")
        two.events.transfail("aol.com")
        two.events.permfail("example.org")
        one.flush()
        two.flush()
        yield one, two


def typed(url: str, *words: str, width: int = 80, status: int = 0) -> str:
    """What the command prints on stdout; of a failure what it says on stderr."""
    out, err = io.StringIO(), io.StringIO()
    environment = Environment(stdout=out, stderr=err, environ={}, width=width, tty=False)
    with pytest.raises(SystemExit) as leave:
        cli.main(["--url", url, "--node", "console", *words], obj=environment)
    assert leave.value.code == status, err.getvalue()
    assert bool(err.getvalue()) == bool(status)
    return err.getvalue() if status else out.getvalue()


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_show_ip(url: str, fleet: Any) -> None:
    assert typed(url, "inbound_audit", "show", "ip", "192.0.2.1/24") == (
        "Connections 86400/0: 11\nConnections 86400/1: 0\nConnections 172800/0: 11\n"
        "Receptions 86400/0: 1\nReceptions 86400/1: 0\nReceptions 172800/0: 1\n"
        "Rejections 86400/0: 1\nRejections 86400/1: 0\nRejections 172800/0: 1\n"
    )
    assert typed(url, "cluster", "inbound_audit", "show", "ip", "192.0.2.1", "from", "RELAY-0-2") == (
        "Connections 86400/0: 1\nConnections 86400/1: 0\nConnections 172800/0: 1\n"
        "Receptions 86400/0: 0\nReceptions 86400/1: 0\nReceptions 172800/0: 0\n"
        "Rejections 86400/0: 1\nRejections 86400/1: 0\nRejections 172800/0: 1\n"
    )
    assert typed(url, "inbound_audit", "show", "ip", "::/0", "--series", "connect").startswith(
        "Connections 86400/0: 1\n"
    )
    found = json.loads(
        typed(url, "inbound_audit", "show", "ip", "192.0.2.0/24", "--by-node", "--format", "json")
    )
    assert found["series"][0] == {
        "series": "connect",
        "interval": 86400,
        "windows": [11, 0],
        "total": 11,
        "nodes": {"relay-0-1": 10, "relay-0-2": 1},
    }
    rows = records(typed(url, "inbound_audit", "show", "ip", "192.0.2.0/24", "--format", "csv"))
    assert rows[0] == {
        "series": "connect",
        "key": "192.0.2.0/24",
        "interval": "86400",
        "window": "0",
        "count": "11",
    }


def test_show_ip_as_a_table(url: str, fleet: Any) -> None:
    wide = typed(url, "inbound_audit", "show", "ip", "192.0.2.0/24", "--format", "table", width=120)
    heading, row = wide.splitlines()[2], next(line for line in wide.splitlines() if "Connections" in line)
    assert heading.split() == [
        "Series",
        "Windows",
        "Oldest",
        "to",
        "now",
        "Now",
        "Before",
        "Total",
        "relay-0-1",
        "relay-0-2",
    ]
    assert row.split() == ["Connections", "2", "x", "86400", "s", "█", "11", "0", "11", "10", "1"]
    narrow = typed(url, "inbound_audit", "show", "ip", "192.0.2.0/24", "--format", "table")
    assert "relay-0-1" not in narrow
    assert max(map(len, narrow.splitlines())) <= 80


def test_show_all_and_count(url: str, fleet: Any) -> None:
    rows = records(typed(url, "inbound_audit", "show", "all", "--series", "connect"))
    days = {row["key"]: int(row["count"]) for row in rows if row["interval"] == "86400"}
    assert days == {f"192.0.2.{last}": last + (last == 1) for last in range(1, 5)} | {
        "198.51.100.1": 1,
        "2001:db8::1": 1,
    }
    lines = typed(url, "inbound_audit", "show", "all", "from", "relay-0-2", "--format", "json").splitlines()
    assert {json.loads(line)["key"] for line in lines} == {"192.0.2.1", "198.51.100.1", "2001:db8::1"}
    assert typed(url, "inbound_audit", "count_cidr", "192.0.2.0/30", "connect", "86400,2", "0", "1") == "7\n"
    assert (
        typed(
            url,
            "inbound_audit",
            "count_cidr",
            "0.0.0.0/0",
            "connect",
            "86400,2",
            "0",
            "1",
            "from",
            "relay-0-2",
        )
        == "2\n"
    )


def test_changes_by_hand(url: str, fleet: Any, tmp_path: Path) -> None:
    def count(block: str, monitor: str = "86400,2") -> int:
        return int(typed(url, "inbound_audit", "count_cidr", block, "connect", monitor, "0", "0"))

    assert typed(url, "inbound_audit", "add", "connect", "86400,2", "203.0.113.9", "10") == ""
    assert typed(url, "inbound_audit", "subtract", "connect", "86400,2", "203.0.113.9", "3") == ""
    assert (count("203.0.113.0/24"), count("203.0.113.0/24", "172800,1")) == (7, 0)
    assert typed(url, "inbound_audit", "add", "connect", "86400,2", "203.0.113.9", "-1") == ""
    assert typed(url, "inbound_audit", "delete_ip", "203.0.113.9", "connect", "86400,2") == (
        "203.0.113.9 counted 6 in connect.\n"
    )
    assert count("203.0.113.0/24") == 0
    path = tmp_path / "listed.txt"
    path.write_text("# listed\n203.0.113.1\n203.0.113.2 5\n203.0.113.3,6\n\n203.0.113.1 1\n")
    assert (
        typed(url, "inbound_audit", "load", "connect", str(path))
        == f"4 lines of {path} counted in connect.\n"
    )
    assert (count("203.0.113.0/24"), count("203.0.113.1", "172800,1")) == (13, 2)
    path.write_text("203.0.113.1\n203.0.113.\n")
    said = typed(url, "inbound_audit", "load", "connect", str(path), status=5)
    assert f"{path}:2: '203.0.113.' is not an IP address" in said
    path.write_text("203.0.113.1 some\n")
    assert "a line is an address and a whole number" in typed(
        url, "inbound_audit", "load", "connect", str(path), status=5
    )
    assert count("203.0.113.0/24") == 13, "nothing of a bad file is counted"


def test_outbound(url: str, fleet: Any) -> None:
    assert typed(url, "outbound_audit", "show", "domain", "AOL.com.") == (
        "aol.com 86400/0: r: 1 d: 2 dt: 8.20 t: 1 f: 0\naol.com 86400/1: r: 0 d: 0 dt: 0.00 t: 0 f: 0\n"
    )
    assert typed(url, "outbound_audit", "show", "global").splitlines()[0] == (
        "global 86400/0: r: 1 d: 2 dt: 8.20 t: 1 f: 1"
    )
    assert typed(url, "outbound_audit", "show", "global", "from", "relay-0-2").splitlines()[0] == (
        "global 86400/0: r: 0 d: 0 dt: 0.00 t: 1 f: 1"
    )
    assert typed(url, "outbound_audit", "show", "domains") == "aol.com\nexample.org\n"
    rows = records(typed(url, "outbound_audit", "show", "all", "--format", "csv"))
    assert [(row["domain"], row["window"], row["permfails"]) for row in rows] == [
        ("aol.com", "0", "0"),
        ("aol.com", "1", "0"),
        ("example.org", "0", "1"),
        ("example.org", "1", "0"),
    ]
    assert float(rows[0]["p95_seconds"]) == pytest.approx(8.4, rel=0.05)
    found = json.loads(typed(url, "outbound_audit", "show", "domain", "aol.com", "--format", "json"))
    assert found["windows"][0]["mean_seconds"] == 8.2
    table = typed(url, "outbound_audit", "show", "all", "--format", "table", width=100)
    assert next(line for line in table.splitlines() if "aol.com" in line).split()[-6:] == [
        "1",
        "2",
        "8.20",
        "8.42",
        "1",
        "0",
    ]
    assert typed(url, "outbound_audit", "clear", "domain", "aol.com") == "aol.com is cleared.\n"
    assert "d: 0 dt: 0.00 t: 0" in typed(url, "outbound_audit", "show", "domain", "aol.com")
    assert typed(url, "outbound_audit", "clear", "all") == "5 series are cleared.\n"
    assert typed(url, "outbound_audit", "show", "domains") == ""


def test_top_and_list(url: str, fleet: Any) -> None:
    assert (
        typed(url, "audit", "top", "connect", "--mask", "24", "--limit", "1")
        == f"{11:>12} {'+11':>12}  192.0.2.0/24\n"
    )
    assert [
        line.split()[-1] for line in typed(url, "audit", "top", "connect", "--limit", "2").splitlines()
    ] == [
        "192.0.2.4",
        "192.0.2.3",
    ]
    found = json.loads(
        typed(url, "audit", "top", "connect", "from", "relay-0-2", "--by", "growth", "--format", "json")
    )
    assert found["keys"] == 3
    assert {row["key"] for row in found["top"]} == {"192.0.2.1", "198.51.100.1", "2001:db8::1"}
    assert typed(url, "audit", "top", "delivery", "--format", "csv").splitlines() == [
        "key,count,before,growth",
        "*,2,0,2",
        "aol.com,2,0,2",
    ]
    assert "192.0.2.0/24" in typed(url, "audit", "top", "connect", "--mask", "24", "--format", "table")
    listed = typed(url, "audit", "list").splitlines()
    assert listed[0] == f"{'connect':>30} [cidr_any, 86400,2 172800,1, cluster]"
    assert "delivery_time" in typed(url, "audit", "list", "--format", "table")
    assert records(typed(url, "audit", "list", "--format", "csv"))[0]["type"] == "cidr_any"
    assert json.loads(typed(url, "audit", "list", "--format", "json"))["series"][0]["monitors"] == [
        "86400,2",
        "172800,1",
    ]


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("inbound_audit", "show", "ip", "192.0.2.256"), 5, "is not an IP address"),
        (("inbound_audit", "show", "ip", "192.0.2.1", "from", "relay-0-3"), 4, "did you mean 'relay-0-"),
        (("inbound_audit", "show", "ip", "192.0.2.1", "to", "relay"), 2, "from NODE"),
        (("inbound_audit", "show", "ip", "192.0.2.1", "--series", "conect"), 4, "did you mean 'connect'"),
        (
            ("inbound_audit", "count_cidr", "192.0.2.1", "connect", "300,6", "0", "1"),
            5,
            "no windows of 300 s",
        ),
        (("inbound_audit", "count_cidr", "192.0.2.1", "connect", "86400,2", "0", "2"), 5, "windows 0 to 1"),
        (("audit", "top", "delivery", "--mask", "24"), 5, "no --mask"),
        (("audit", "top", "connect", "--mask", "129"), 5, "give 0 to 128"),
        (("outbound_audit", "show", "domain", "a..b"), 5, "is not a domain name"),
    ],
)
def test_mistakes(url: str, fleet: Any, words: tuple[str, ...], status: int, sentence: str) -> None:
    said = typed(url, *words, status=status)
    assert sentence in said
    assert said.count("\n") == 1


def test_a_fleet_without_series(url: str) -> None:
    with sharedstate.connect(url, node="a"):
        done = CliRunner().invoke(cli, ["--url", url, "audit", "list"])
        assert (done.exit_code, done.stdout) == (0, "")
        assert "no member has defined an audit series yet" in done.stderr
        done = CliRunner().invoke(cli, ["--url", url, "outbound_audit", "show", "global"])
        assert done.exit_code == 4


def test_sparkline() -> None:
    assert sparkline([8, 4, 0, 1]) == "▁ ▄█"
    assert sparkline([8, 4, 0, 1], ascii_only=True) == ". =@"
    assert sparkline([]) == ""
