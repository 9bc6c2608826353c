"""Sums, groups and rates, without a fleet."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedstate_cli.throttles import Pace, choose, pace, report, summarize

from sharedstate.objects.throttle import Holder

from .hands import BUCKETS, bucket

YAHOO = BUCKETS["domain:yahoo.com"]


def later(view, seconds, **changes):
    return replace(view, at=view.at + seconds, **changes)


def names(summaries):
    return [summary.name for summary in summaries]


def test_nodes_are_sums_of_their_processes():
    first, second = report("y", YAHOO).parts
    assert (first.name, first.processes, first.taken, first.held) == ("relay-0-1", 2, 61, 64)
    assert (first.lease_left, first.refused, first.idle) == (2.31, 3, 0.0)
    assert (second.name, second.processes, second.taken, second.held) == ("relay-0-2", 1, 12, 16)


def test_processes_of_one_node():
    found = report("y", YAHOO, node="relay-0-1", by_process=True)
    assert [part.name for part in found.parts] == ["relay-0-1#411#6f1c", "relay-0-1#412#11d0"]
    assert {part.node for part in found.parts} == {"relay-0-1"}
    assert (found.taken, found.refused) == (61, 3)


def test_used_counts_what_is_spent_and_what_is_leased():
    (summary,) = summarize({"y": YAHOO})
    assert (summary.spent, summary.used) == (147, 0.147)
    assert (summary.holders, summary.processes) == (2, 3)
    (ahead,) = summarize({"y": bucket("30/min", -15)})
    assert ahead.used == 1.5


def test_what_top_and_sort_mean():
    found = summarize(BUCKETS)
    assert names(choose(found, sort="name")) == ["domain:yahoo.com", "tenant:7", "tenant:9"]
    assert names(choose(found, sort="used")) == ["tenant:7", "domain:yahoo.com", "tenant:9"]
    assert names(choose(found, sort="refused")) == ["tenant:7", "domain:yahoo.com", "tenant:9"]
    # The most used ones, in the order asked for.
    assert names(choose(found, sort="name", top=2)) == ["domain:yahoo.com", "tenant:7"]
    calm = {"calm": bucket("30", 0), "angry": bucket("30", 30, Holder("a#1#x", refused=5))}
    assert names(choose(summarize(calm), sort="refused", top=1)) == ["angry"]
    assert names(choose(summarize(calm), sort="used", top=1)) == ["calm"]


def test_rates_are_differences_on_the_clock_of_the_bucket():
    before = bucket("30/min", 20, Holder("a#1#x", taken=10, refused=1), Holder("a#2#x", taken=5))
    after = later(
        before, 2.0, holders=(Holder("a#1#x", taken=14, refused=4), Holder("b#3#x", taken=6, refused=2))
    )
    found = report("t", after, before)
    assert {part.name: part.pace for part in found.parts} == {"a": Pace(2.0, 1.5), "b": Pace(3.0, 1.0)}
    assert found.pace == found.summary.pace == Pace(5.0, 2.5)
    (summary,) = summarize({"t": after}, {"t": before})
    assert summary.pace == Pace(5.0, 2.5)


def test_no_rate_without_a_look_before():
    (summary,) = summarize({"t": YAHOO}, {"other": YAHOO})
    assert summary.pace is None
    assert report("t", YAHOO).pace is None
    # A clock that stood still or was put back.
    assert pace((), YAHOO.holders, 0.0) is None
    assert report("t", YAHOO, later(YAHOO, 5.0)).pace is None


def test_a_bucket_made_anew_counts_from_zero():
    assert pace([Holder("a#1#x", taken=100, refused=9)], [Holder("a#1#x", taken=3, refused=9)], 1.0) == Pace(
        3, 0
    )


HOLDERS = st.dictionaries(
    st.sampled_from([f"{node}#{pid}#x" for node in "abc" for pid in range(3)]),
    st.tuples(st.integers(0, 10**9), st.integers(0, 10**6), st.integers(0, 10**6)),
    max_size=9,
).map(
    lambda found: tuple(
        Holder(who, taken=taken, refused=refused, held=held, lease_left=float(held > 0))
        for who, (taken, refused, held) in sorted(found.items())
    )
)


@given(HOLDERS, HOLDERS, st.booleans())
def test_parts_add_up(old, new, by_process):
    before, after = bucket("30", 30, *old), later(bucket("30", 30, *new), 4.0)
    found = report("t", after, before, by_process=by_process)
    assert (found.taken, found.refused) == (after.taken, after.refused)
    assert sum(part.held for part in found.parts) == after.leased
    assert sum(part.processes for part in found.parts) == len(new)
    assert found.pace is not None
    assert found.summary.pace is not None
    assert found.pace == pytest.approx(found.summary.pace)
    assert min(found.pace) >= 0


@given(HOLDERS, HOLDERS)
def test_a_node_s_part_is_its_part_of_the_whole(old, new):
    before, after = bucket("30", 30, *old), later(bucket("30", 30, *new), 4.0)
    whole = {part.name: part for part in report("t", after, before).parts}
    for node, part in whole.items():
        assert report("t", after, before, node=node).parts == (part,)
