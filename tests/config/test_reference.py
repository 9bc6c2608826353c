"""Every stanza of the reference's section 7.5.1, verbatim, and what it means."""

from __future__ import annotations

import pytest

from sharedstate.config import (
    Cache,
    Configuration,
    Datasource,
    InboundAudit,
    Monitor,
    Replication,
    loads,
)
from sharedstate.specs import ObjectSpec

COUNTS = """\
Logger cluster/ec_cluster ec_cluster {
  # ... other cluster config ...
  replicate [ type = inbound_cidr ]
  replicate [ type = outbound_cidr ]
  replicate [ type = outbound_domains ]
}
"""

INBOUND_METRICS = """\
Logger cluster/ec_cluster cluster {
  # ... other cluster configuration ...
  replicate [ type = "metrics" parameters="connect;reception;rejection" ]
}
"""

INBOUND_AUDIT = """\
Validate validate/inbound_audit inbound_audit
{
        # keep audit data for the last half hour,
        # placed into six windows of 5 min (300s) each
        monitor = "300,6"
}
"""

NAMED_SERIES = """\
Logger cluster/ec_cluster cluster {
  # ... other cluster configuration ...
  replicate [ type = "metrics" parameters="audit_series" ]
}
"""

DATASOURCE = """\
Module datasource/ds_core ds_core {
  mycache [
    uri = "odbc:DSN=sqlserver;UID=user;PWD=pass"
    cache_size = 200
    cache_life = 360
    serialized = true
  ]
}
"""

REPLICATED_CACHE = (
    DATASOURCE
    + """
Logger cluster/ec_cluster cluster {
  # ... other cluster configuration ...
  replicate [
    type = "cache"
    replication_name="mycache" ]
}
"""
)

CACHE_WITH_SNAPSHOT = (
    DATASOURCE
    + """
Logger cluster/ec_cluster cluster {
  # ... other cluster configuration ...
  replicate [ type = "cache" replication_name="mycache" parameters="snapshot" ]
}
"""
)

NAMED_THROTTLES = """\
Logger cluster/ec_cluster cluster {
  # ... other cluster configuration ...
  replicate [ type = "shared_named_throttles" ]
}
"""

OUTBOUND_THROTTLES = """\
Logger cluster/ec_cluster cluster {
  # ... other cluster configuration ...
  replicate [ type = "OBTM" ]   # outbound message throttles
  replicate [ type = "OBTC" ]   # outbound connection throttles
}
"""

GAUGE_CACHES = """\
Logger cluster/ec_cluster cluster {
  # ... other cluster configuration ...
  replicate [ type = "metrics" parameters="gauge_cache" ]
}
"""

MYCACHE = Datasource(
    "mycache",
    ("odbc:DSN=sqlserver;UID=user;PWD=pass",),
    cache_size=200,
    cache_life=360,
    serialized=True,
)

V3 = {
    "7.5.1": (
        COUNTS,
        Configuration(
            objects=tuple(
                ObjectSpec(name=name, cls=name)
                for name in ("inbound_cidr", "outbound_cidr", "outbound_domains")
            )
        ),
    ),
    "7.5.1.4, metrics": (
        INBOUND_METRICS,
        Configuration(replications=(Replication("metrics", ("connect", "reception", "rejection")),)),
    ),
    "7.5.1.4, inbound_audit": (INBOUND_AUDIT, Configuration(inbound_audit=InboundAudit((Monitor(300, 6),)))),
    "7.5.1.5": (NAMED_SERIES, Configuration(replications=(Replication("metrics", ("audit_series",)),))),
    "7.5.1.6, example 7.1": (
        REPLICATED_CACHE,
        Configuration(datasources=(MYCACHE,), caches=(Cache("mycache", MYCACHE),)),
    ),
    "7.5.1.6, snapshot": (
        CACHE_WITH_SNAPSHOT,
        Configuration(datasources=(MYCACHE,), caches=(Cache("mycache", MYCACHE, snapshot=True),)),
    ),
    "7.5.1.7": (NAMED_THROTTLES, Configuration(replications=(Replication("shared_named_throttles"),))),
    "7.5.1.8": (OUTBOUND_THROTTLES, Configuration(replications=(Replication("OBTM"), Replication("OBTC")))),
    "7.5.1.9": (GAUGE_CACHES, Configuration(replications=(Replication("metrics", ("gauge_cache",)),))),
}


@pytest.mark.parametrize(("text", "expected"), V3.values(), ids=V3)
def test_stanza_of_the_reference(text: str, expected: Configuration) -> None:
    """Each of the page's examples says what the page says it says, and nothing of it is skipped."""
    found = loads(text)

    assert expected == found
    assert found.skipped == ()


def test_all_stanzas_together() -> None:
    """Given the page's examples in one file, I expect the metrics stanzas to add up."""
    together = (
        COUNTS
        + INBOUND_METRICS
        + INBOUND_AUDIT
        + NAMED_SERIES
        + CACHE_WITH_SNAPSHOT
        + NAMED_THROTTLES
        + GAUGE_CACHES
    )

    found = loads(together)

    assert [spec.name for spec in found.objects] == ["inbound_cidr", "outbound_cidr", "outbound_domains"]
    assert found.replication("metrics") == Replication(
        "metrics", ("connect", "reception", "rejection", "audit_series", "gauge_cache")
    )
    assert found.replication("OBTM") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            """
            cluster { Replicate "inbound_cidr" {}
                      Replicate "mycache" { type = "cache" parameters = "snapshot" } }
            Datasource "mycache" { uri = ( "sqlite:a" "sqlite:b" ) cache_size = 200 }
            """,
            Configuration(
                objects=(ObjectSpec(name="inbound_cidr", cls="inbound_cidr"),),
                datasources=(Datasource("mycache", ("sqlite:a", "sqlite:b"), cache_size=200),),
                caches=(
                    Cache(
                        "mycache",
                        Datasource("mycache", ("sqlite:a", "sqlite:b"), cache_size=200),
                        snapshot=True,
                    ),
                ),
            ),
        ),
        (
            'inbound_audit { monitors = ( "300,6" "1800,4" ) }',
            Configuration(inbound_audit=InboundAudit((Monitor(300, 6), Monitor(1800, 4)))),
        ),
        (
            "CLUSTER { REPLICATE OBTM { } replicate obtc { } }",
            Configuration(replications=(Replication("OBTM"), Replication("OBTC"))),
        ),
    ],
)
def test_fourth_generation(text: str, expected: Configuration) -> None:
    """The same in the words of the fourth generation."""
    assert expected == loads(text)
