"""Which caps apply to a connection: all scopes, the precedence, patterns, and what each is counted in."""

from __future__ import annotations

import fnmatch
import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharedstate.config import Limit, LimitKind, Scope, loads
from sharedstate.config.counting import Counted
from sharedstate.errors import ConfigError, InvalidDomainError, InvalidValueError
from sharedstate.objects.store import GaugeStore
from sharedstate.outbound.caps import CapTable
from sharedstate.outbound.scopes import scope_item
from sharedstate.outbound.targets import Targets
from sharedstate.specs import CountBy

MAX, SERVER, SCOPE = (
    LimitKind.MAX_CONNECTIONS,
    LimitKind.SERVER_MAX_CONNECTIONS,
    LimitKind.SCOPE_MAX_CONNECTIONS,
)


def applying(limits: list[Limit], **connection: str | None) -> list[tuple[int, Counted, object]]:
    names = {"host": None, "binding": None, "group": None, **connection}
    found = CapTable(limits).applying(names["domain"] or "", names["host"], names["binding"], names["group"])
    return [(one.cap.limit, one.counted, one.item) for one in found]


PRECEDENCE = [
    Scope(),
    Scope(domain="d.example"),
    Scope(binding="b"),
    Scope(binding="b", domain="d.example"),
    Scope(host="mx.example"),
    Scope(binding="b", host="mx.example"),
]


@pytest.mark.parametrize("chosen", [*itertools.combinations(range(6), 3), (0, 1, 2, 3, 4, 5), (2,)])
def test_max_takes_the_most_specific_scope(chosen: tuple[int, ...]) -> None:
    """binding::host, host, binding::domain, binding, domain, global; by MX host when a host scope gave the number."""
    limits = [Limit(MAX, PRECEDENCE[number], 10 + number) for number in chosen]
    found = applying(limits, domain="D.example", host="MX.example", binding="B")
    best = max(chosen)
    wanted = (Counted.HOST, "mx.example") if best >= 4 else (Counted.DOMAIN, "d.example")
    assert found == [(10 + best, *wanted)]


def test_minus_one_lifts_a_broader_cap() -> None:
    limits = [Limit(MAX, Scope(), 5), Limit(MAX, Scope(domain="d.example"), -1)]
    assert applying(limits, domain="d.example") == []
    assert applying(limits, domain="e.example") == [(5, Counted.DOMAIN, "e.example")]


def test_zero_is_a_cap() -> None:
    assert applying([Limit(MAX, Scope(), 0)], domain="d.example") == [(0, Counted.DOMAIN, "d.example")]


def test_server_and_scope_caps_all_hold_and_the_most_specific_comes_first() -> None:
    limits = [
        Limit(SERVER, Scope(), 1000),
        Limit(SERVER, Scope(binding_group="g"), 500),
        Limit(SERVER, Scope(binding="b"), 100),
        Limit(SCOPE, Scope(domain="d.example"), 50),
        Limit(SCOPE, Scope(binding_group="g", domain="d.example"), 40),
        Limit(SCOPE, Scope(binding="b", domain="d.example"), 30),
        Limit(SCOPE, Scope(host="mx.example"), 20),
        Limit(SCOPE, Scope(binding_group="g", binding="b", host="mx.example"), 10),
    ]
    assert applying(limits, domain="d.example", host="mx.example", binding="b", group="G") == [
        (10, Counted.SCOPE, "binding/b/host/mx.example"),
        (20, Counted.HOST, "mx.example"),
        (30, Counted.BINDING_DOMAIN, ("b", "d.example")),
        (40, Counted.SCOPE, "binding_group/g/domain/d.example"),
        (50, Counted.DOMAIN, "d.example"),
        (100, Counted.SCOPE, "binding/b"),
        (500, Counted.SCOPE, "binding_group/g"),
        (1000, Counted.SCOPE, "all"),
    ]
    assert applying(limits, domain="e.example") == [(1000, Counted.SCOPE, "all")]


def test_of_several_caps_on_one_count_the_smallest_holds() -> None:
    limits = [
        Limit(MAX, Scope(), 5),
        Limit(SCOPE, Scope(domain="d.example"), 3),
        Limit(SERVER, Scope(), 9),
        Limit(SCOPE, Scope(), 7),
    ]
    assert applying(limits, domain="d.example") == [
        (3, Counted.DOMAIN, "d.example"),
        (7, Counted.SCOPE, "all"),
    ]


def test_a_binding_is_the_same_inside_and_outside_a_group() -> None:
    limits = [
        Limit(MAX, Scope(binding="b"), 5),
        Limit(MAX, Scope(binding_group="g", binding="b"), 6),
    ]
    assert applying(limits, domain="d.example", binding="b") == [(6, Counted.DOMAIN, "d.example")], (
        "of one limit given twice the later one stands"
    )


def test_exact_names_beat_patterns_and_each_domain_counts_by_itself() -> None:
    limits = [
        Limit(MAX, Scope(domain=r"/yahoo\.co(m|\.uk)$/"), 30),
        Limit(MAX, Scope(domain="*.example"), 20),
        Limit(MAX, Scope(domain="/./"), 10),
        Limit(MAX, Scope(domain="yahoo.com"), 5),
    ]
    asked = ["yahoo.com", "YAHOO.co.uk", "mail.yahoo.com", "a.example", "example", "b.test"]
    assert [applying(limits, domain=domain) for domain in asked] == [
        [(5, Counted.DOMAIN, "yahoo.com")],
        [(30, Counted.DOMAIN, "yahoo.co.uk")],
        [(30, Counted.DOMAIN, "mail.yahoo.com")],
        [(20, Counted.DOMAIN, "a.example")],
        [(10, Counted.DOMAIN, "example")],
        [(10, Counted.DOMAIN, "b.test")],
    ]


def test_without_an_mx_host_the_domain_stands_for_it() -> None:
    limits = [Limit(MAX, Scope(host="mx.example"), 2)]
    assert applying(limits, domain="mx.example") == [(2, Counted.HOST, "mx.example")]
    assert applying(limits, domain="d.example") == []


def test_a_slash_in_a_name_is_no_separator() -> None:
    assert scope_item(group="a/domain/b.example") != scope_item(group="a", domain="b.example")
    assert scope_item() == "all"


def test_unusable_names_are_refused() -> None:
    table = CapTable([Limit(MAX, Scope(), 2)])
    with pytest.raises(InvalidDomainError, match="is not a domain name"):
        table.applying("no domain", None, None, None)
    with pytest.raises(InvalidValueError, match="binding name '' is not usable"):
        table.applying("d.example", None, "", None)


def test_a_broken_expression_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"^x.toml:\d+:\d+: the scope's name /a\(/ is not a regular expr"):
        loads('[[limit]]\ndomain = "/a(/"\ncluster_max_outbound_connections = 1\n', file="x.toml")


# -- against a naive reading of the rules ------------------------------------------------------------------------

DOMAINS = st.sampled_from(["a.example", "b.example", "a.test", "mx.example"])
PATTERNS = st.sampled_from(["/example$/", "*.test", "/^a/"])
BINDINGS = st.sampled_from(["b1", "b2"])
GROUPS = st.sampled_from(["g1", "g2"])
NAMES = DOMAINS | PATTERNS
BOUND = st.builds(
    Scope,
    binding_group=st.none() | GROUPS,
    binding=BINDINGS,
    domain=st.none() | NAMES,
) | st.builds(Scope, binding=BINDINGS, host=NAMES)
ANY = st.just(Scope()) | st.builds(Scope, domain=NAMES) | st.builds(Scope, host=NAMES) | BOUND
LIMITS = st.lists(
    st.builds(Limit, st.just(MAX), ANY, st.integers(-1, 9))
    | st.builds(
        Limit,
        st.just(SERVER),
        st.just(Scope()) | st.builds(Scope, binding=BINDINGS) | st.builds(Scope, binding_group=GROUPS),
        st.integers(-1, 9),
    )
    | st.builds(
        Limit,
        st.just(SCOPE),
        ANY | st.builds(Scope, binding_group=GROUPS, domain=st.none() | NAMES),
        st.integers(-1, 9),
    ),
    max_size=10,
    unique_by=lambda limit: (
        limit.kind,
        limit.scope.binding_group if limit.scope.binding is None else None,
        limit.scope.binding,
        limit.scope.domain,
        limit.scope.host,
    ),
)


def fits(pattern: str | None, name: str) -> bool:
    if pattern is None:
        return True
    if pattern.startswith("/"):
        return re.search(pattern[1:-1], name) is not None
    return fnmatch.fnmatchcase(name, pattern)


def naive(
    limits: list[Limit], domain: str, host: str | None, binding: str | None, group: str | None
) -> dict[object, int]:
    """Every count with its cap, by going through all limits."""
    mx = host or domain
    matching = [
        limit
        for limit in limits
        if (limit.scope.binding is None or limit.scope.binding == binding)
        and (limit.scope.binding is not None or limit.scope.binding_group in (None, group))
        and fits(limit.scope.domain, domain)
        and fits(limit.scope.host, mx)
    ]
    found: dict[object, int] = {}

    def note(count: object, value: int | object) -> None:
        assert isinstance(value, int)
        if value >= 0:
            found[count] = min(value, found.get(count, value))

    def exact_first(chosen: list[Limit]) -> Limit:
        return next(
            (one for one in chosen if (one.scope.domain or one.scope.host) in (domain, mx)), chosen[0]
        )

    def kind_of(scope: Scope) -> tuple[bool, bool, bool, bool]:
        return (
            scope.binding is None and scope.binding_group is not None,
            scope.binding is not None,
            scope.domain is not None,
            scope.host is not None,
        )

    order = [(1, 0, 1), (0, 0, 1), (1, 1, 0), (1, 0, 0), (0, 1, 0), (0, 0, 0)]
    for wanted in order:
        chosen = [
            one for one in matching if one.kind is MAX and kind_of(one.scope)[1:] == tuple(map(bool, wanted))
        ]
        if chosen:
            count = ("host", mx) if wanted[2] else ("domain", domain)
            note(count, exact_first(chosen).value)
            break
    for kind in (SERVER, SCOPE):
        for shape in itertools.product((False, True), repeat=4):
            chosen = [one for one in matching if one.kind is kind and kind_of(one.scope) == shape]
            if not chosen:
                continue
            in_group, bound, of_domain, of_host = shape
            value = exact_first(chosen).value
            if not in_group and not bound and of_domain:
                note(("domain", domain), value)
            elif not in_group and not bound and of_host:
                note(("host", mx), value)
            else:
                note(
                    (
                        group if in_group else None,
                        binding if bound else None,
                        of_domain and domain,
                        of_host and mx,
                    ),
                    value,
                )
    return found


@settings(max_examples=500, deadline=None)
@given(
    limits=LIMITS,
    domain=DOMAINS,
    host=st.none() | DOMAINS,
    binding=st.none() | BINDINGS,
    group=st.none() | GROUPS,
)
def test_the_table_agrees_with_a_naive_reading(
    limits: list[Limit], domain: str, host: str | None, binding: str | None, group: str | None
) -> None:
    found: dict[object, int] = {}
    for one in CapTable(limits).applying(domain, host, binding, group):
        scope = one.cap.scope
        if one.counted is Counted.DOMAIN:
            count: object = ("domain", one.item)
        elif one.counted is Counted.HOST:
            count = ("host", one.item)
        else:
            count = (
                group if scope.binding is None and scope.binding_group is not None else None,
                binding if scope.binding is not None else None,
                scope.domain is not None and domain,
                scope.host is not None and (host or domain),
            )
        assert count not in found, "each count is there once"
        found[count] = one.cap.limit
    assert found == naive(limits, domain, host, binding, group)


# -- where they are counted --------------------------------------------------------------------------------------


def test_missing_objects_are_added_and_existing_ones_used() -> None:
    text = """
[[replicate]]
name = "hosts"
class = "outbound_domains"
count_by = "host"

[[replicate]]
name = "outbound_domains"
class = "outbound_domains"
count_by = "site"

[[limit]]
cluster_max_outbound_connections = 20

[[limit]]
host = "mx.example"
cluster_max_outbound_connections = 2

[[limit]]
cluster_server_max_outbound_connections = 900

[[limit]]
binding = "b"
domain = "d.example"
cluster_scope_max_outbound_connections = -1
"""
    configuration = loads(text, language="toml")
    assert [(spec.name, spec.cls, spec.count_by) for spec in configuration.objects] == [
        ("hosts", "outbound_domains", CountBy.HOST),
        ("outbound_domains", "outbound_domains", CountBy.SITE),
        ("outbound_by_domain", "outbound_domains", CountBy.DOMAIN),
        ("outbound_scopes", "outbound_scopes", CountBy.DOMAIN),
    ]
    assert configuration.added == ("outbound_by_domain", "outbound_scopes")
    assert str(configuration.place_of("outbound_scopes")) == "20:1"
    stores = [GaugeStore(spec, lambda: None) for spec in configuration.objects]
    targets = Targets(stores, (), configuration.limits)
    plan = targets.plan((None, "d.example", "mx.example", None, None))
    assert [(one.store.spec.name, one.key, one.cap.limit) for one in plan.capped] == [
        ("hosts", "mx.example", 2),
        ("outbound_scopes", "all", 900),
    ]
    assert sorted((store.spec.name, key) for store, key in plan.counted) == [
        ("outbound_by_domain", "d.example"),
        ("outbound_domains", "d.example"),
    ]
    everything = targets.find((None, "d.example", "mx.example", None, None))
    assert len(everything) == 4, "an event counts where a slot does"
