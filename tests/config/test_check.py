"""``config check``: what it says and how it ends."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.text import Text
from sharedstate_cli.context import Environment
from sharedstate_cli.main import cli

EXAMPLES = Path(__file__).parents[2] / "examples" / "config"

SAMPLE = """\
Security { user = ecuser }
Hostname = "a.example.net"
cluster {
  redis_url = "redis://relay:s3cret@h1:7000,h2:7000/0?sentinel_password=hidden&timeout=3"
  log_group = logs
  nodename = n1
  Replicate inbound_cidr { max_delay = 0.5 max_pending = 1 shards = 1 }
  Replicate outbound_domains_tx { class = outbound_domains binding_group = tx count_by = host }
  Replicate mycache { type = cache max_size = 10 }
  Replicate metrics { }
  Topology "10.0.0.0/8" { }
}
Site outlook { domains = outlook.com mx = *.protection.outlook.com }
Datasource mycache { uri = "odbc:DSN=x;PWD=secret" serialized = yes }
Datasource other { uri = "nonsense" no_cache = on max_rows = -1 }
inbound_audit { monitors = ( "300,6" "60,1" ) }
outbound_audit { threshold = 100 }
Cluster_Outbound_Throttle_Messages = "1"
Binding b { Domain aol.com {
  Cluster_Max_Outbound_Connections = -1
  Cluster_Scope_Max_Outbound_Connections = 2000
} }
"""

PLAIN = """\
sample.conf is correct.

Cluster:
  name            ec_cluster
  control group   ec_console
  logger group    logs
  Redis           redis://relay:***@h1:7000,h2:7000/0?sentinel_password=***&timeout=3
  node name       n1
  member timeout  15 s without a heartbeat, then a member is dead
  throttles       strict; without Redis for 0.05 s, this process's share of the rate decides

Shared objects:
  inbound_cidr              cidrtree of open inbound connections by client address; \
published after 0.5 s or 1 change; 1 shard  [sample.conf:7:3]
  outbound_domains_tx       gauge table of open outbound connections by MX host, of binding group 'tx' only, \
class outbound_domains; published after 1 s or 100 changes; 16 shards  [sample.conf:8:3]
  outbound_binding_domains  gauge table of open outbound connections by binding and domain; \
published after 1 s or 100 changes; 16 shards; added by itself, because a cap is counted in it  [sample.conf:21:3]

Sites:
  outlook  domains outlook.com; MX hosts *.protection.outlook.com  [sample.conf:13:1]

Caches (read, but this version does not act on it):
  mycache  replicated; a node that joins sees only pairs written after it joined, at most 10 entries \
replicated; odbc; 1,000 entries for 3600 s; 100 rows a query; one answer serves all nodes  [sample.conf:9:3]
  other    not replicated; no driver; answers not cached; all rows a query  [sample.conf:15:1]

Audit series:
  metrics         what the whole fleet sees: no parameters, so nothing is replicated; \
published after 1 s or 100 changes  [sample.conf:10:3]
  inbound_audit   6 windows of 300 s, 1 window of 60 s  [sample.conf:16:1]
  outbound_audit  no monitors; domains with more than 100 messages  [sample.conf:17:1]

Connection caps:
  binding "b" :: domain "aol.com"  unlimited (cluster_max_outbound_connections)  [sample.conf:20:3]
  binding "b" :: domain "aol.com"  at most 2,000 connections open in the scope as a whole \
(cluster_scope_max_outbound_connections)  [sample.conf:21:3]

Traffic limits:
  global  at most 1 message in 1 s sent (cluster_outbound_throttle_messages)  [sample.conf:18:1]

Skipped 2 stanzas and 1 option that do not concern shared state (--verbose lists them).
"""


@pytest.fixture(autouse=True)
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample.conf").write_text(SAMPLE)


def check(*args: str, tty: bool = False, **environ: str) -> tuple[int, str, str]:
    """Run ``config check``; status, output and messages."""
    out, err = io.StringIO(), io.StringIO()
    environment = Environment(stdout=out, stderr=err, environ=environ, width=100, tty=tty)
    with pytest.raises(SystemExit) as leave:
        cli.main(["config", "check", *args], obj=environment)
    assert isinstance(leave.value.code, int)
    return leave.value.code, out.getvalue(), err.getvalue()


def test_plain() -> None:
    """Object by object, in words, with places; no password."""
    assert check("sample.conf") == (0, PLAIN, "")


def test_verbose_names_what_was_skipped() -> None:
    """Each thing skipped, with its place."""
    status, output, _ = check("-v", "sample.conf")

    assert status == 0
    assert output.endswith(
        """\
Skipped:
  Security             stanza  [sample.conf:1:1]
  Hostname             option  [sample.conf:2:1]
  Topology 10.0.0.0/8  stanza  [sample.conf:11:3]

Skipped 2 stanzas and 1 option that do not concern shared state.
"""
    )


def test_table() -> None:
    """On a terminal the same words stand in a table that fits it."""
    status, output, _ = check("sample.conf", tty=True, NO_COLOR="1")

    assert status == 0
    shown = Text.from_ansi(output).plain
    assert max(map(len, shown.splitlines())) <= 100
    words = " ".join(shown.split())
    for line in ("sample.conf is correct.", "Shared objects", "Sites", "Skipped 2 stanzas and 1 option"):
        assert line in words
    assert "s3cret" not in output
    assert "sample.conf:21:3" in output


def test_json() -> None:
    """As data: everything, with places, and what this version acts on."""
    status, output, _ = check("--format", "json", "sample.conf")
    found = json.loads(output)

    assert status == 0
    assert found["acted_on"] == ["cluster", "objects", "sites", "audit", "caps", "throttles", "limits"]
    assert found["cluster"]["redis_url"] == (
        "redis://relay:***@h1:7000,h2:7000/0?sentinel_password=***&timeout=3"
    )
    assert found["objects"][0] == {
        "name": "inbound_cidr",
        "class": "inbound_cidr",
        "kind": "cidrtree",
        "shards": 1,
        "max_delay": 0.5,
        "max_pending": 1,
        "binding_group": None,
        "count_by": "domain",
        "remember": 10000,
        "added": False,
        "place": {"file": "sample.conf", "line": 7, "column": 3},
    }
    assert found["datasources"][0]["drivers"] == ["odbc"]
    assert found["outbound_audit"] == {
        "monitors": [],
        "monitor_domains": True,
        "domainlist": [],
        "threshold": 100,
        "place": {"file": "sample.conf", "line": 17, "column": 1},
    }
    assert [(limit["scope"], limit["value"]) for limit in found["limits"]] == [
        ({}, "1"),
        ({"binding": "b", "domain": "aol.com"}, -1),
        ({"binding": "b", "domain": "aol.com"}, 2000),
    ]
    assert found["skipped"][2] == {
        "name": "Topology 10.0.0.0/8",
        "what": "stanza",
        "place": {"file": "sample.conf", "line": 11, "column": 3},
    }
    assert "secret" not in output
    assert "s3cret" not in output


def test_csv() -> None:
    """As records, one for each thing."""
    status, output, _ = check("--format", "csv", "sample.conf")
    records = list(csv.DictReader(io.StringIO(output)))

    assert status == 0
    assert [record["name"] for record in records if record["part"] == "object"] == [
        "inbound_cidr",
        "outbound_domains_tx",
        "outbound_binding_domains",
    ]
    assert [record for record in records if record["part"] == "cap"][-1] == {
        "part": "cap",
        "name": 'binding "b" :: domain "aol.com"',
        "meaning": (
            "at most 2,000 connections open in the scope as a whole (cluster_scope_max_outbound_connections)"
        ),
        "file": "sample.conf",
        "line": "21",
        "column": "3",
    }


@pytest.mark.parametrize("form", ["plain", "table", "json", "csv"])
@pytest.mark.parametrize("name", ["v3.conf", "v4/ecelerity.conf", "sharedstate.toml"])
def test_every_example_in_every_form(name: str, form: str) -> None:
    """The examples are correct, and each form names all five objects."""
    status, output, messages = check("--format", form, str(EXAMPLES / name))

    assert (status, messages) == (0, "")
    assert "outbound_cidr_bulk" in output


def test_an_error_is_one_line() -> None:
    """Place first, then the sentence; status 3."""
    Path("bad.conf").write_text('cluster {\n  Replicate inbound_cidr { max_delay = "soon" }\n}\n')

    assert check("bad.conf") == (
        3,
        "",
        (
            "sharedstate-cli: bad.conf:2:40: "
            "max_delay must be a number of seconds from 0 to 3600; found 'soon'.\n"
        ),
    )
    assert check("gone.conf") == (
        3,
        "",
        "sharedstate-cli: gone.conf: this cannot be read: no such file or directory.\n",
    )


def test_which_file() -> None:
    """Without an argument the configured file is read; without that either, the question is asked back."""
    assert check(SHAREDSTATE_CONFIG="sample.conf") == (0, PLAIN, "")
    status, _, messages = check()
    assert status == 2
    assert "SHAREDSTATE_CONFIG" in messages


def test_nothing_to_count_is_said() -> None:
    """A file without shared objects is correct, and probably not what was meant."""
    Path("empty.conf").write_text("Hostname = a")

    assert "No shared object is configured: nothing will be counted." in check("empty.conf")[1]


def test_text_from_the_file_cannot_drive_the_terminal() -> None:
    """Escape sequences in names are shown, not sent."""
    Path("evil.conf").write_text(
        '"\x1b]0;owned\x07" { } Binding "\x1b[31m" { cluster_max_outbound_connections = 1 }'
    )

    for form in ("plain", "table", "csv", "json"):
        status, output, _ = check("-v", "--format", form, "evil.conf")
        assert status == 0
        assert "\x1b]" not in output
        assert "\x1b[31m" not in output


def test_the_console_starts_without_the_parser() -> None:
    """Help for the command loads no grammar."""
    script = (
        "import sys\n"
        "from sharedstate_cli.main import cli\n"
        "try: cli.main(['config', 'check', '--help'])\n"
        "except SystemExit: sys.exit('lark' in sys.modules)\n"
    )

    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0
