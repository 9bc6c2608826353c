"""Whole production files: what concerns shared state is found among all that does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sharedstate.config import (
    Cache,
    Configuration,
    Datasource,
    InboundAudit,
    Limit,
    LimitKind,
    Monitor,
    OutboundAudit,
    Rate,
    Replication,
    Scope,
    Site,
    load,
    loads,
)
from sharedstate.specs import CountBy, ObjectSpec

DATA = Path(__file__).parent / "data"

SESSIONS = Datasource(
    "sessions",
    ("odbc:DSN=sqlserver;UID=user;PWD=pass", "odbc:DSN=sqlserver2;UID=user;PWD=pass"),
    cache_size=5000,
    cache_life=900,
    serialized=True,
)
BLOCKLIST = Datasource(
    "blocklist", ("sqlite:/opt/msys/ecelerity/etc/blocklist.db",), max_rows=-1, no_cache=True
)

V3 = Configuration(
    url="rediss://relay:s3cret@10.80.116.201:7000,10.80.116.202:7000",
    member_timeout=20,
    objects=(
        ObjectSpec(name="inbound_cidr", cls="inbound_cidr"),
        ObjectSpec(name="outbound_cidr", cls="outbound_cidr", max_delay=0.25, max_pending=500),
        ObjectSpec(name="outbound_domains", cls="outbound_domains"),
        ObjectSpec(name="outbound_binding_domains", cls="outbound_binding_domains"),
        ObjectSpec(name="outbound_scopes", cls="outbound_scopes"),
        ObjectSpec(name="outbound_hosts", cls="outbound_domains", count_by=CountBy.HOST),
    ),
    datasources=(SESSIONS, BLOCKLIST),
    caches=(Cache("sessions", SESSIONS),),
    replications=(
        Replication(
            "metrics", ("connect", "reception", "rejection", "audit_series", "gauge_cache"), max_delay=2
        ),
        Replication("shared_named_throttles"),
        Replication("OBTM"),
        Replication("OBTC"),
    ),
    inbound_audit=InboundAudit((Monitor(300, 6), Monitor(1800, 4))),
    outbound_audit=OutboundAudit(
        (Monitor(300, 6),), domains=("aol.com", "yahoo.com", "xn--bcher-kva.example"), threshold=100
    ),
    limits=(
        Limit(LimitKind.SERVER_MAX_CONNECTIONS, Scope(), 30000),
        Limit(LimitKind.MAX_CONNECTIONS, Scope(), 100),
        Limit(LimitKind.MAX_CONNECTIONS, Scope(domain="aol.com"), 61),
        Limit(LimitKind.THROTTLE_MESSAGES, Scope(domain="aol.com"), Rate(3600, 60)),
        Limit(LimitKind.THROTTLE_CONNECTIONS, Scope(domain="aol.com"), Rate(10)),
        Limit(LimitKind.SCOPE_MAX_CONNECTIONS, Scope(domain="hotmail.com"), 50),
        Limit(LimitKind.MAX_CONNECTIONS, Scope(domain=r"/yahoo\.co(m|\.uk)$/"), 30),
        Limit(LimitKind.MAX_CONNECTIONS, Scope(host="edge.omniti.com"), 2),
        Limit(LimitKind.SERVER_MAX_CONNECTIONS, Scope(binding="example"), 900),
        Limit(LimitKind.MAX_CONNECTIONS, Scope(binding="example", domain="gmail.com"), 25),
        Limit(LimitKind.MAX_CONNECTIONS, Scope(binding="example", host="mx1.example.com"), 4),
        Limit(LimitKind.THROTTLE_MESSAGES, Scope(binding_group="marketing"), Rate(100)),
        Limit(LimitKind.SCOPE_MAX_CONNECTIONS, Scope(binding_group="marketing", domain="comcast.net"), 15),
        Limit(
            LimitKind.MAX_CONNECTIONS,
            Scope(binding_group="marketing", binding="marketing-1", domain="comcast.net"),
            -1,
        ),
        Limit(LimitKind.MAX_CONNECTIONS, Scope(binding_group="promo", binding="promo-1"), 12),
    ),
)

ECDB = Datasource(
    "ecdb", ("pgsql:host=192.168.0.50;dbname=ecelerity;user=ecuser;password=admin",), no_cache=True
)
MSSQL = Datasource(
    "mssql",
    ("odbc:DSN=sqlserver;UID=user;PWD=pass", "odbc:DSN=sqlserver2;UID=user2;PWD=pass3"),
    cache_size=200,
    cache_life=360,
)

V4 = Configuration(
    cluster="platform",
    control_group="platform_console",
    logger_group="platform_logs",
    url="redis+sentinel://10.80.116.201:26379/platform",
    node="platform-1",
    objects=(
        ObjectSpec(name="inbound_cidr", cls="inbound_cidr", shards=8),
        ObjectSpec(name="outbound_cidr", cls="outbound_cidr", shards=8),
        ObjectSpec(name="outbound_domains", cls="outbound_domains", shards=8, count_by=CountBy.SITE),
        ObjectSpec(
            name="outbound_domains_tx",
            cls="outbound_domains",
            shards=64,
            binding_group="transactional",
            count_by=CountBy.HOST,
            remember=500,
        ),
        ObjectSpec(name="outbound_binding_domains", cls="outbound_binding_domains", shards=8),
        # Replicated is only what counts by site, or for one binding group.
        ObjectSpec(name="outbound_by_domain", cls="outbound_domains", shards=8),
        ObjectSpec(name="outbound_scopes", cls="outbound_scopes", shards=8),
    ),
    sites=(
        Site(
            "outlook",
            ("outlook.com", "hotmail.com", "live.com", "msn.com"),
            ("*.protection.outlook.com", "*.olc.protection.outlook.com"),
        ),
        Site("google", mx=("*.google.com", "*.googlemail.com")),
    ),
    datasources=(ECDB, MSSQL),
    caches=(Cache("mssql", MSSQL, snapshot=True, max_size=5000),),
    replications=(
        Replication("shared_named_throttles"),
        Replication("eccmgr_metrics", ("delivery", "transfail", "permfail")),
    ),
    inbound_audit=InboundAudit((Monitor(300, 6), Monitor(1800, 4))),
    outbound_audit=OutboundAudit((Monitor(300, 6),), monitor_domains=False),
    limits=(
        Limit(LimitKind.THROTTLE_MESSAGES, Scope(), Rate(100000, 60)),
        Limit(LimitKind.MAX_CONNECTIONS, Scope(domain="gmail.com"), 400),
        Limit(
            LimitKind.THROTTLE_CONNECTIONS, Scope(domain="/(?:^|[.])example[.](?:com|co[.]uk)$/"), Rate(15)
        ),
        Limit(LimitKind.SERVER_MAX_CONNECTIONS, Scope(binding_group="transactional"), 2000),
        Limit(
            LimitKind.MAX_CONNECTIONS,
            Scope(binding_group="transactional", binding="tx-1", domain="gmail.com"),
            100,
        ),
    ),
)


@pytest.mark.parametrize(("name", "expected"), [("production-v3.conf", V3), ("production-v4.conf", V4)])
def test_production_file(name: str, expected: Configuration) -> None:
    """Given a file as it runs in the field, I expect exactly what concerns shared state."""
    assert expected == load(DATA / name)


def test_what_is_skipped_is_known() -> None:
    """What does not concern us is named with its place, stanzas and options apart."""
    found = load(DATA / "production-v3.conf")

    stanzas = [entry.name for entry in found.skipped if entry.stanza]
    options = {entry.name: str(entry.place) for entry in found.skipped if not entry.stanza}
    assert stanzas[:3] == ["Security", "ThreadPool CPU", "ThreadPool swap in"]
    assert r"Domain /google\.(com|es|ru)$/" in stanzas
    assert options["Hostname"] == f"{DATA}/production-v3.conf:6:1"
    assert options["10.80.117.0/24"] == f"{DATA}/topology-v3.conf:1:1"
    assert len(found.files) == 4


def test_limits_know_their_scopes() -> None:
    """A scope prints as an operator says it, and knows what kind it is."""
    scopes = {limit.scope.kind: str(limit.scope) for limit in V3.limits}

    assert scopes["global"] == "global"
    assert scopes["binding::host"] == 'binding "example" :: host "mx1.example.com"'
    assert scopes["binding_group::binding::domain"] == (
        'binding_group "marketing" :: binding "marketing-1" :: domain "comcast.net"'
    )


def test_patterns_of_domains_stay_as_they_are() -> None:
    """Given a pattern for a domain, I expect no error: the original takes more than names there."""
    found = loads('Domain "*.Example.COM" { Cluster_Max_Outbound_Connections = 3 }')

    assert [limit.scope for limit in found.limits] == [Scope(domain="*.example.com")]


def test_a_file_of_20000_lines() -> None:
    """Given a hundred times the production file, I expect every object and every limit of it."""
    block = "".join(
        f'Binding_Group "g{number}" {{\n'
        f'  Binding "b{number}" {{\n'
        "    Bind_Address = 10.0.0.1  # where mail leaves\n"
        '    SMTP_Extensions = ( "ENHANCEDSTATUSCODES" STARTTLS )\n'
        '    Domain "example.com" {\n'
        "      Cluster_Max_Outbound_Connections = 20\n"
        "    }\n"
        "  }\n"
        "}\n"
        for number in range(2300)
    )
    text = f"cluster {{ Replicate inbound_cidr {{ }} }}\n{block}"
    assert text.count("\n") > 20_000

    found = loads(text)

    assert [spec.name for spec in found.objects] == ["inbound_cidr", "outbound_domains"]
    assert len(found.limits) == 2300


@pytest.mark.parametrize(
    ("code", "module"),
    [
        ("import sharedstate.config", "lark"),
        ("import sharedstate.config", "tomllib"),
        ("import sharedstate.config; sharedstate.config.loads('', language='toml')", "lark"),
        ("import sharedstate.config; sharedstate.config.loads('a = b')", "tomllib"),
    ],
)
def test_parsers_are_imported_when_they_are_needed(code: str, module: str) -> None:
    """The console starts without the parsers it does not use."""
    script = f"import sys; {code}; sys.exit({module!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
