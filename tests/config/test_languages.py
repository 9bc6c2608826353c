"""The three ways to write a configuration say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from sharedstate.config.counting import counting_objects
from sharedstate.errors import InvalidThrottleError
from sharedstate.specs import CLASS_KINDS, DEFAULT_SHARDS, CountBy, ObjectSpec
from sharedstate.throttle.spec import ThrottleSpec

from . import writers

EXAMPLES = Path(__file__).parents[2] / "examples" / "config"

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
DOMAINS = st.lists(LABELS, min_size=1, max_size=3).map(".".join).filter(lambda name: "--" not in name)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
#: Words an operator would never write, as long as a text can hold them.
TEXTS = st.text(
    st.characters(blacklist_categories=("Cs", "Cc")) | st.just("\n") | st.sampled_from("\"'\\{}[]()#=/*,"),
    min_size=1,
    max_size=20,
).filter(lambda text: text.strip() == text and text != "")
DELAYS = st.floats(0, 3600).map(lambda delay: round(delay, 3))
PENDING = st.integers(1, 1_000_000)


@st.composite
def objects(draw: Any) -> ObjectSpec:
    cls = draw(st.sampled_from(list(CLASS_KINDS)))
    suffix = draw(st.just("") | LABELS.map("_{}".format))
    grouped = cls in ("outbound_cidr", "outbound_domains")
    return ObjectSpec(
        name=cls + suffix,
        cls=cls,
        shards=draw(st.integers(1, 1024)),
        max_delay=draw(DELAYS),
        max_pending=draw(PENDING),
        binding_group=draw(st.none() | TEXTS) if grouped else None,
        count_by=draw(st.sampled_from(CountBy)) if cls == "outbound_domains" else CountBy.DOMAIN,
        remember=draw(st.integers(0, 10_000_000)),
    )


DATASOURCES = st.builds(
    Datasource,
    name=NAMES,
    uri=st.lists(TEXTS, min_size=1, max_size=3).map(tuple),
    cache_life=st.integers(0, 10**9),
    cache_size=st.integers(0, 10**9),
    max_rows=st.integers(-1, 10**9),
    no_cache=st.booleans(),
    serialized=st.booleans(),
)
MONITORS = st.lists(
    st.builds(Monitor, st.integers(1, 86400), st.integers(1, 100)), unique=True, max_size=3
).map(tuple)
METRICS = st.lists(
    st.sampled_from(["connect", "reception", "rejection", "audit_series", "gauge_cache"]), unique=True
).map(tuple)


def keepable(rate: Rate) -> bool:
    """Whether a bucket can keep it; others are refused."""
    try:
        ThrottleSpec(rate.count, rate.seconds * 10**6, rate.count)
    except InvalidThrottleError:
        return False
    return True


RATES = st.builds(Rate, st.integers(1, 999_999_999), st.integers(1, 366 * 86_400)).filter(keepable)
SCOPES = st.one_of(
    st.builds(Scope),
    st.builds(Scope, domain=DOMAINS),
    st.builds(Scope, domain=st.just(r"/yahoo\.co(m|\.uk)$/")),
)


@st.composite
def limits(draw: Any) -> Limit:
    kind = draw(st.sampled_from(LimitKind))
    if kind.is_rate:
        scope = draw(SCOPES | st.builds(Scope, binding_group=TEXTS, domain=st.none() | DOMAINS))
        return Limit(kind, scope, draw(RATES))
    if kind is LimitKind.SERVER_MAX_CONNECTIONS:
        scope = draw(st.just(Scope()) | st.builds(Scope, binding=TEXTS))
    else:
        bindings = st.builds(
            Scope, binding_group=st.none() | TEXTS, binding=TEXTS, domain=st.none() | DOMAINS
        )
        scope = draw(SCOPES | bindings | st.builds(Scope, host=DOMAINS))
    return Limit(kind, scope, draw(st.integers(-1, 10**9)))


@st.composite
def configurations(draw: Any) -> Configuration:
    sources = draw(st.lists(DATASOURCES, max_size=3, unique_by=lambda source: source.name.lower()))
    caches = [
        Cache(
            source.name,
            source,
            draw(st.booleans()),
            draw(st.integers(-1, 10**9)),
            draw(DELAYS),
            draw(PENDING),
        )
        for source in sources
        if draw(st.booleans())
    ]
    types = draw(
        st.lists(st.sampled_from(["OBTM", "OBTC", "shared_named_throttles", "metrics"]), unique=True)
    )
    site_domains = draw(st.lists(DOMAINS, unique=True, max_size=6))
    sites = [
        Site(f"site{number}", (domain,), (f"*.{domain}", domain) if draw(st.booleans()) else ())
        for number, domain in enumerate(site_domains)
    ]
    shared = draw(st.lists(objects(), max_size=5, unique_by=lambda spec: spec.name))
    bounds = draw(st.lists(limits(), max_size=6, unique_by=lambda limit: (limit.kind, limit.scope)))
    shared += [spec for spec, _ in counting_objects(bounds, shared, DEFAULT_SHARDS)]
    return Configuration(
        cluster=draw(NAMES),
        control_group=draw(NAMES),
        logger_group=draw(st.none() | NAMES),
        url=draw(st.none() | st.just("redis://u:p%40ss@h1:7000,h2:7001/0?timeout=3#x")),
        node=draw(st.none() | NAMES),
        member_timeout=draw(st.floats(0.1, 3600).map(lambda timeout: round(timeout, 3))),
        objects=tuple(shared),
        sites=tuple(sites),
        datasources=tuple(sources),
        caches=tuple(caches),
        replications=tuple(
            Replication(name, draw(METRICS) if name == "metrics" else (), draw(DELAYS), draw(PENDING))
            for name in types
        ),
        inbound_audit=draw(st.none() | st.builds(InboundAudit, MONITORS)),
        outbound_audit=draw(
            st.none()
            | st.builds(
                OutboundAudit,
                MONITORS,
                st.booleans(),
                st.lists(DOMAINS, unique=True, max_size=3).map(tuple),
                st.integers(0, 10**9),
            )
        ),
        limits=tuple(bounds),
    )


@pytest.mark.parametrize("write", [writers.v3, writers.v4, writers.toml])
@given(configuration=configurations())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(write: Any, configuration: Configuration) -> None:
    """Given any configuration, when it is written in a language and read, I expect the same configuration."""
    assert configuration == loads(write(configuration))


def test_the_examples_say_the_same() -> None:
    """The three examples that are shipped differ in language only."""
    v3, v4, native = (load(EXAMPLES / name) for name in ("v3.conf", "v4/ecelerity.conf", "sharedstate.toml"))

    assert v3 == v4 == native
    assert [spec.name for spec in v3.objects] == [
        "inbound_cidr",
        "outbound_cidr",
        "outbound_domains",
        "outbound_binding_domains",
        "outbound_cidr_bulk",
        "outbound_by_domain",
        "outbound_scopes",
    ]


def test_places_do_not_make_a_difference() -> None:
    """Given the same stanza on another line, I expect an equal configuration with another place."""
    first = loads("cluster { Replicate inbound_cidr {} }", file="a.conf")
    second = loads("\n\ncluster { Replicate inbound_cidr {} }", file="b.conf")

    assert first == second
    assert str(first.place_of("inbound_cidr")) == "a.conf:1:11"
    assert str(second.place_of("inbound_cidr")) == "b.conf:3:11"
    assert second.place_of("outbound_cidr") is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.toml", "# nothing"),
        ("x.conf", "[cluster]\ncluster_group = 'a'"),
        ("x", "\n# a comment\n\n  [[replicate]]\ntype = 'inbound_cidr'"),
        ("X.TOML", ""),
    ],
)
def test_toml_is_recognised(name: str, text: str, tmp_path: Path) -> None:
    """By the name's ending, or by a table header that comes first."""
    path = tmp_path / name
    path.write_text(text)

    load(path)


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    """An empty file, whatever its language, says what no file says."""
    path = tmp_path / "empty.conf"
    path.write_bytes(b"")

    assert Configuration() == load(path)
    assert Configuration() == loads("", language="toml")
    assert (path.as_posix(),) == load(path).files


def test_language_must_be_known() -> None:
    """Only two languages can be asked for."""
    with pytest.raises(ValueError, match="language 'yaml' is not known"):
        loads("", language="yaml")
