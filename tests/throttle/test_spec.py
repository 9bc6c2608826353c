"""Specs parse, print back, and refuse what makes no sense; what the scripts reckon with is exact."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedstate.errors import InvalidNameError, InvalidThrottleError, InvalidValueError
from sharedstate.throttle.spec import LONGEST, MOST, ThrottleSpec, check_cost, check_throttle_name, parse_spec

SECOND = 10**6


@pytest.mark.parametrize(
    ("text", "limit", "period", "burst", "printed"),
    [
        ("30", 30, SECOND, 30, "30/1"),
        (" 30/1 ", 30, SECOND, 30, "30/1"),
        ("1/60", 1, 60 * SECOND, 1, "1/min"),
        ("1,000/hr", 1000, 3600 * SECOND, 1000, "1000/hr"),
        ("1_000/HOURS", 1000, 3600 * SECOND, 1000, "1000/hr"),
        ("20/30min", 20, 1800 * SECOND, 20, "20/30min"),
        ("60/min,max_burst=1", 60, 60 * SECOND, 1, "60/min,max_burst=1"),
        ("1,000/hr, max_burst = 2,000", 1000, 3600 * SECOND, 2000, "1000/hr,max_burst=2000"),
        ("5/100ms", 5, SECOND // 10, 5, "5/100ms"),
        ("7/s", 7, SECOND, 7, "7/1"),
        ("10/2days", 10, 2 * 86400 * SECOND, 10, "10/2day"),
        ("3000000", 3_000_000, SECOND, 3_000_000, "3000000/1"),
    ],
)
def test_what_specs_mean(text: str, limit: int, period: int, burst: int, printed: str) -> None:
    spec = parse_spec(text)
    assert spec == ThrottleSpec(limit, period, burst)
    assert str(spec) == printed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "write how many"),
        ("0", "its number is zero"),
        ("-1", "write how many"),
        ("30/0", "its period is zero"),
        ("30/", "nothing stands after the slash"),
        ("/1", "write how many"),
        ("nan", "write how many"),
        ("inf/1", "write how many"),
        ("1e9", "write how many"),
        ("1.5/s", "write how many"),
        ("30/fortnight", "'fortnight' is no unit of time"),
        ("30,max_burst=0", "its max_burst is zero"),
        ("10,000,000,000", "is not usable: give 1 to"),
        ("1/400days", "1 ms to 366 days"),
        ("999999937/366day,max_burst=1000000000", "cannot be reckoned exactly"),
        ("30/1" * 100, "is not a throttle"),
        (None, "is not a throttle"),
    ],
)
def test_what_is_no_spec(text: str, why: str) -> None:
    with pytest.raises(InvalidThrottleError, match=why):
        parse_spec(text)


@st.composite
def specs(draw: st.DrawFn) -> ThrottleSpec:
    period = draw(
        st.sampled_from([1, 10, 1000, 60_000, 3_600_000, 86_400_000]) | st.integers(1, LONGEST // 1000)
    )
    spec = None
    while spec is None:
        try:
            spec = ThrottleSpec(draw(st.integers(1, MOST)), period * 1000, draw(st.integers(1, MOST)))
        except InvalidThrottleError:  # one of the few that cannot be reckoned exactly
            continue
    return spec


@given(specs())
def test_specs_print_back(spec: ThrottleSpec) -> None:
    assert parse_spec(str(spec)) == spec


@given(specs())
def test_what_the_scripts_reckon_with_is_the_rate_exactly(spec: ThrottleSpec) -> None:
    refill, cost, tick, burst = map(int, spec.wire.split()[:4])
    assert Fraction(refill, cost * tick) == Fraction(spec.limit, spec.period)
    assert burst == spec.burst
    assert burst * cost + refill < 1 << 53, "whole numbers in a double"


@pytest.mark.parametrize("name", ["", "two words", "line\nfeed", "x" * 1025, "esc\x1b[31m", None, 7])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InvalidNameError, match="is not usable"):
        check_throttle_name(name)


def test_names() -> None:
    assert check_throttle_name("tenant:7/{a}b}é") == "tenant:7/{a}b}é"


@pytest.mark.parametrize("cost", [0, -1, 1.0, True, "1"])
def test_costs_that_are_none(cost: object) -> None:
    with pytest.raises(InvalidValueError, match="a whole number of at least 1"):
        check_cost(cost, parse_spec("30"), parse_spec("30"), "x")


def test_a_cost_beyond_the_bucket() -> None:
    with pytest.raises(InvalidValueError, match=r"never has 31 tokens at once: ask for at most 30"):
        check_cost(31, parse_spec("30"), parse_spec("30"), "x")
