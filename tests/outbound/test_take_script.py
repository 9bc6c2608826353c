"""gauge_take on a real server: taken, full, gap, fenced; and the model of it that other tests rely on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from sharedstate.call import Call, command
from sharedstate.keys import Keys
from sharedstate.link.sync import Link
from sharedstate.link.url import parse_url
from sharedstate.objects import gauge
from tests.exactness.model import ModelShard

KEYS = Keys("take")


@pytest.fixture
def link(url: str) -> Iterator[Link]:
    opened = Link.open(parse_url(url))
    yield opened
    opened.close()


def ask(link: Link, call: Call[Any]) -> Any:
    (outcome,) = link.execute([call])
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def take(
    link: Link, member: str, believed: int, cap: int, n: int = 1, item: bytes = b"i", held: int = 0
) -> Any:
    return ask(link, gauge.take(KEYS, "o", 0, member, believed, item, n, cap, held))


def publish(link: Link, member: str, believed: int, sequence: int, value: int | None) -> Any:
    return ask(link, gauge.publish(KEYS, "o", 0, member, believed, sequence, {b"i": value}))


def test_a_take_counts_for_the_member_and_the_fleet_until_the_cap(link: Link) -> None:
    assert take(link, "m", 0, 3) == (1, 1, 0, 1)
    assert take(link, "n", 0, 3, n=2) == (1, 3, 0, 2)
    assert take(link, "m", 0, 3) == (0, 3, 0, 1)
    assert take(link, "m", 0, 4, n=2) == (0, 3, 0, 1), "all of n or nothing"
    assert take(link, "m", 0, 0, item=b"other") == (0, 0, 0, 0)


def test_what_a_member_has_not_published_yet_counts_too(link: Link) -> None:
    assert publish(link, "m", 0, 1, 2) == (1, 1)
    assert take(link, "m", 1, 5, held=5) == (0, 2, 1, 2)
    assert take(link, "m", 1, 5, held=4) == (1, 3, 1, 3)
    assert take(link, "m", 1, 5, held=1) == (1, 4, 1, 4), "what it gave back and has not published is none"


def test_a_take_leaves_the_sequence_and_needs_the_right_one(link: Link) -> None:
    assert publish(link, "m", 0, 7, 2) == (1, 7)
    assert take(link, "m", 0, 9) == (2, 2, 7, 2)
    assert take(link, "m", 8, 9) == (2, 2, 7, 2)
    assert take(link, "m", 7, 9) == (1, 3, 7, 3)
    assert publish(link, "m", 7, 8, 3) == (1, 8)


def test_a_take_that_arrives_after_the_next_publish_is_refused(link: Link) -> None:
    """Why a lost answer costs nothing: the member publishes what it has, and the late take is a gap."""
    late = gauge.take(KEYS, "o", 0, "m", 0, b"i", 1, 5)
    assert publish(link, "m", 0, 1, 0) == (1, 1)
    assert ask(link, late) == (2, 0, 1, 0)
    assert ask(link, *gauge.count(KEYS.sums("o", 0), [b"i"])) == 0


def test_a_publish_takes_back_a_slot_that_was_taken_unseen(link: Link) -> None:
    assert take(link, "m", 0, 5)[0] == 1
    assert publish(link, "m", 0, 1, None) == (1, 1)
    assert ask(link, *gauge.count(KEYS.sums("o", 0), [b"i"])) == 0


def test_a_fenced_member_takes_nothing(link: Link) -> None:
    assert take(link, "m", 0, 5)[0] == 1
    assert ask(link, gauge.reap(KEYS, "o", 0, "m"))[0] == 0
    assert take(link, "m", 0, 5) == (-1, 0, 0, 0)
    assert take(link, "n", 0, 1) == (1, 1, 0, 1), "its slot came back"


def test_who_only_took_is_known_to_the_audit(link: Link) -> None:
    take(link, "m", 0, 5)
    assert ask(link, gauge.registry(KEYS, "o", 0)) == {"m": 0}
    assert publish(link, "m", 0, 1, 1) == (1, 1)


@pytest.mark.parametrize("seed", range(3))
def test_the_script_agrees_with_the_model(link: Link, seed: int) -> None:
    chance = random.Random(seed)
    model, members = ModelShard(), ["m1", "m2", "m3"]
    fields = [b"f1", b"f2", b"f3"]
    for _ in range(300):
        member, item = chance.choice(members), chance.choice(fields)
        last = max(model.registry.get(member, 0), 0)
        believed = chance.choice((last, last, last, last + 1, max(last - 1, 0)))
        if chance.random() < 0.02:
            ask(link, gauge.reap(KEYS, "o", 0, member))
            model.reap(member)
        elif chance.random() < 0.7:
            n, cap = chance.randrange(1, 4), chance.choice((0, 3, 8, 1 << 40))
            held = chance.randrange(4)
            found = ask(link, gauge.take(KEYS, "o", 0, member, believed, item, n, cap, held))
            assert list(found) == model.take(member, believed, item, n, cap, held)
        else:
            values = {item: chance.choice((None, 0, 1, 1 << 40))}
            found = ask(link, gauge.publish(KEYS, "o", 0, member, believed, believed + 1, values))
            assert list(found) == model.publish(member, believed, believed + 1, values)
        key = KEYS.sums("o", 0)
        sums = ask(link, command("HGETALL", key, key=key, decode=_counts, resend=True))
        assert sums == model.sums
        model.check()


def _counts(flat: list[bytes]) -> dict[bytes, int]:
    return dict(zip(flat[::2], map(int, flat[1::2]), strict=True))
