"""Durations: quantiles within 1 % of a value that was counted, mergeable, with an exact mean."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedstate.audit.packed import entries, pack_changes
from sharedstate.audit.sketch import Durations, bucket_of

durations = st.lists(st.floats(1e-6, 1e7), min_size=1, max_size=100)


def sketch(values: list[float]) -> Durations:
    buckets: Counter[bytes] = Counter()
    micros = 0
    for value in values:
        bucket, part = bucket_of(value)
        buckets[bucket] += 1
        micros += part
    return Durations.of(buckets, micros)


@given(values=durations, share=st.floats(0, 1))
def test_quantiles_are_within_one_percent(values: list[float], share: float) -> None:
    wanted = sorted(values)[max(math.ceil(share * len(values)), 1) - 1]
    assert sketch(values).quantile(share) == pytest.approx(wanted, rel=0.010001)


@given(left=durations, right=durations)
def test_two_add_up_to_one(left: list[float], right: list[float]) -> None:
    together, apart = sketch(left + right), sketch(left) + sketch(right)
    assert together.buckets == apart.buckets
    assert together.count == apart.count == len(left) + len(right)
    assert apart.mean == pytest.approx(sum(left + right) / len(left + right), abs=1e-6)


def test_the_ends_are_clamped() -> None:
    assert sketch([0.0, 1e300]).count == 2
    assert sketch([]).mean == sketch([]).quantile(0.5) == 0.0


@given(
    st.integers(1, 12).flatmap(
        lambda size: st.tuples(
            st.just(size),
            st.dictionaries(
                st.binary(min_size=size, max_size=size), st.integers(-(1 << 53), 1 << 53), min_size=1
            ),
        )
    )
)
def test_packing_loses_nothing(packed: tuple[int, dict[bytes, int]]) -> None:
    size, changes = packed
    text = pack_changes(changes, size)
    assert text[:2] == bytes((0, size))
    # A node is the same without its first two bytes.
    assert dict(entries(text[2:], size)) == changes
