"""Calls about member-owned counts: publish, reap, verify, read. See docs/architecture.md for the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from sharedstate.call import Call, command, run_script
from sharedstate.keys import Keys
from sharedstate.scripts import load_script

__all__ = ["PUBLISH_LIMIT", "count", "page", "publish", "reap", "registry", "sequence", "take"]

#: Items one publish may carry: bounds the time the server is busy with it to a few milliseconds.
PUBLISH_LIMIT = 1000
_PAGE = 1000


def publish(
    keys: Keys,
    name: str,
    shard: int,
    incarnation: str,
    believed: int,
    sequence: int,
    values: Mapping[bytes, int | None],
) -> Call[tuple[int, int]]:
    """Set a member's counts; None forgets an item. Answers (1 applied | 0 gap | -1 fenced, last sequence)."""
    # A flood of changes passes here, beside threads that count: no step of Python for each.
    args: list[Any] = [incarnation, believed, sequence, *chain.from_iterable(values.items())]
    if None in values.values():
        args = ["" if arg is None else arg for arg in args]
    # The sequence makes a repetition harmless.
    return run_script(
        load_script("gauge_publish"),
        (keys.registry(name, shard), keys.sums(name, shard), keys.copy(name, shard, incarnation)),
        args,
        decode=_pair,
        resend=True,
    )


def take(
    keys: Keys,
    name: str,
    shard: int,
    incarnation: str,
    believed: int,
    item: bytes,
    n: int,
    cap: int,
    held: int = 0,
) -> Call[tuple[int, int, int, int]]:
    """Count n more of an item if the fleet's sum of it stays within `cap`; of `held`, what is unpublished counts too.

    Answers (1 taken | 0 full | 2 gap | -1 fenced, sum now, last sequence, own count now). One round trip.
    """
    # Twice is two slots: after a lost answer the next publish says what the member has.
    return run_script(
        load_script("gauge_take"),
        (keys.registry(name, shard), keys.sums(name, shard), keys.copy(name, shard, incarnation)),
        (incarnation, believed, item, n, cap, held),
        decode=_four,
        resend=False,
    )


def reap(
    keys: Keys, name: str, shard: int, incarnation: str, cursor: bytes = b"0"
) -> Call[tuple[int, bytes]]:
    """Fence an incarnation in a shard and take a part of its counts out; answers (items left, cursor)."""
    return run_script(
        load_script("gauge_reap"),
        (keys.registry(name, shard), keys.sums(name, shard), keys.copy(name, shard, incarnation)),
        (incarnation, _PAGE, cursor),
        decode=_pair,
        resend=True,
    )


def sequence(keys: Keys, name: str, shard: int, incarnation: str) -> Call[int]:
    """Last sequence a shard has of an incarnation: 0 when it knows none, negative when it is fenced."""
    key = keys.registry(name, shard)
    return command("HGET", key, incarnation, key=key, decode=lambda reply: int(reply or 0), resend=True)


def registry(keys: Keys, name: str, shard: int) -> Call[dict[str, int]]:
    """Every incarnation a shard knows, with its sequence or minus its time of death."""
    key = keys.registry(name, shard)
    return command("HGETALL", key, key=key, decode=_registry, resend=True)


def count(key: str, fields: Sequence[bytes]) -> list[Call[int]]:
    """Counts that add up to those of some fields of a hash, asked for side by side, at most 1000 fields each."""
    if len(fields) == 1:
        return [command("HGET", key, fields[0], key=key, decode=lambda reply: int(reply or 0), resend=True)]
    return [
        command("HMGET", key, *fields[first : first + _PAGE], key=key, decode=_sum, resend=True)
        for first in range(0, len(fields), _PAGE)
    ]


def page(key: str, cursor: bytes = b"0") -> Call[tuple[bytes, dict[bytes, int]]]:
    """One page of a hash of counts: (next cursor, items)."""
    return command("HSCAN", key, cursor, "COUNT", _PAGE, key=key, decode=_page, resend=True)


def _pair(reply: list[Any]) -> tuple[Any, Any]:
    return reply[0], reply[1]


def _four(reply: list[int]) -> tuple[int, int, int, int]:
    status, total, last, own = reply
    return status, total, last, own


def _sum(reply: list[bytes | None]) -> int:
    return sum(int(value) for value in reply if value)


def _page(reply: list[Any]) -> tuple[bytes, dict[bytes, int]]:
    cursor, flat = reply
    return cursor, dict(zip(flat[::2], map(int, flat[1::2]), strict=True))


def _registry(reply: list[bytes]) -> dict[str, int]:
    return {inc.decode(): int(last) for inc, last in zip(reply[::2], reply[1::2], strict=True)}
