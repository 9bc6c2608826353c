"""Calls about token buckets: take, lease, define, set, reset, look, and the list of their names."""

from __future__ import annotations

import enum
import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

from sharedstate.call import Call, command, key_slot, run_script
from sharedstate.errors import InvalidThrottleError, ServerRefusedError
from sharedstate.keys import THROTTLE_NAME_SHARDS, Keys
from sharedstate.scripts import load_script
from sharedstate.throttle.spec import ThrottleSpec, parse_spec

__all__ = [
    "BucketView",
    "Grant",
    "Holder",
    "How",
    "Taken",
    "define",
    "forget",
    "lease",
    "look",
    "names",
    "note",
    "reset",
    "set_spec",
    "stored_spec",
    "take",
    "trim",
]

#: What a record of strict checks that belongs to nobody is called.
POT = "strict"


class How(enum.IntEnum):
    """How `take` takes."""

    ALL = 0
    FORCE = 1
    AHEAD = 2
    SOME = 3
    BACK = 4


class Taken(NamedTuple):
    """Answer of `take`.

    Attributes:
        got: tokens.
        left: tokens in the bucket, negative when some are promised ahead.
        wait: µs until as many as wanted have come back (for `How.AHEAD` that was granted: until they may be used).
        full: µs until the bucket is full.
        total: tokens this process has taken from this bucket.
        born: identity of the bucket.
        spec: spec in force, as stored.
    """

    got: int
    left: int
    wait: int
    full: int
    total: int
    born: bytes
    spec: bytes


class Grant(NamedTuple):
    """Answer of `lease`.

    Attributes:
        status: 1, or -1 when a newer request was answered before.
        tokens: granted now.
        wait: µs until all that is held may be spent.
        again: µs until asking again makes sense, when nothing was granted.
        kept: tokens of the lease before that are still good.
        left: tokens in the bucket, negative when some are promised ahead.
        full: µs until the bucket is full.
        total: tokens this process was ever granted from this bucket.
        born: identity of the bucket.
        spec: spec in force, as stored.
    """

    status: int
    tokens: int
    wait: int
    again: int
    kept: int
    left: int
    full: int
    total: int
    born: bytes
    spec: bytes


@dataclass(frozen=True, slots=True)
class Holder:
    """What one process took from a bucket.

    Attributes:
        who: its name, ``node#pid#…``.
        taken: tokens taken by strict checks, and spent of leases.
        held: tokens leased and not known to be spent.
        lease_left: seconds until the lease is over, 0 without one.
        refused: checks it refused.
        idle: seconds since it asked the last time.
    """

    who: str
    taken: int = 0
    held: int = 0
    lease_left: float = 0.0
    refused: int = 0
    idle: float = 0.0

    @property
    def node(self) -> str:
        """Node name of the process."""
        return self.who.partition("#")[0]


@dataclass(frozen=True, slots=True)
class BucketView:
    """A bucket at one moment.

    Attributes:
        spec: spec in force.
        left: tokens left, negative when some are promised ahead.
        leased: tokens leased out and not known to be spent.
        reset_after: seconds until it is full.
        by_hand: the spec was set by hand and stays.
        at: server time, s.
        holders: who took what, by name.
    """

    spec: ThrottleSpec
    left: int
    leased: int
    reset_after: float
    by_hand: bool
    at: float
    holders: tuple[Holder, ...]

    @property
    def taken(self) -> int:
        """Tokens taken by all that are remembered."""
        return sum(holder.taken for holder in self.holders)

    @property
    def refused(self) -> int:
        """Checks refused by all that are remembered."""
        return sum(holder.refused for holder in self.holders)


def take(
    key: str,
    offered: str,
    who: str,
    born: bytes,
    known: int,
    refused: int,
    debt: int,
    paid: int,
    wanted: int,
    how: int = How.ALL,
    longest: int = 0,
    slot: int | None = None,
) -> Call[Taken]:
    """Ask for tokens now. One round trip; never sent twice, for it would take twice.

    `slot` is the key's, for those who know it.
    """
    script = load_script("throttle_take")
    args = (1, key, offered, who, born, known, refused, debt, paid, wanted, int(how), longest)
    return Call(args, key_slot(key) if slot is None else slot, _taken, False, script)


def lease(
    key: str,
    offered: str,
    who: str,
    born: bytes,
    seq: int,
    known: int,
    held: int,
    back: int,
    refused: int,
    debt: int,
    paid: int,
    wanted: int,
    turn: int,
    epsilon: float,
    ttl: int,
    least: int,
) -> Call[Grant]:
    """Settle the lease before and take another. One round trip; its number makes a repetition harmless."""
    return run_script(
        load_script("throttle_lease"),
        (key,),
        (
            offered,
            who,
            born,
            seq,
            known,
            held,
            back,
            refused,
            debt,
            paid,
            wanted,
            turn,
            repr(epsilon),
            ttl,
            least,
        ),
        decode=_grant,
        resend=True,
    )


def define(
    keys: Keys, name: str, spec: ThrottleSpec, *, configured: bool = False
) -> Call[tuple[bool, ThrottleSpec]]:
    """Make a bucket unless it is there; answers whether that changed anything, and the spec in force. One round trip.

    A `configured` spec replaces another one that was not set by hand.
    """
    return run_script(
        load_script("throttle_define"),
        (keys.bucket(name),),
        (spec.wire, int(configured)),
        decode=lambda reply: (reply[0] == 1, stored_spec(reply[2])),
        resend=True,
    )


def set_spec(keys: Keys, name: str, spec: ThrottleSpec) -> Call[tuple[int, ThrottleSpec]]:
    """Change a bucket's spec; answers (tokens left, spec before). One round trip."""
    return run_script(
        load_script("throttle_set"),
        (keys.bucket(name),),
        (spec.wire,),
        decode=lambda reply: (reply[0], stored_spec(reply[1])),
        resend=True,
    )


def reset(keys: Keys, name: str) -> Call[int | None]:
    """Fill a bucket; answers tokens left, None when there is no such bucket. One round trip."""
    return run_script(
        load_script("throttle_reset"),
        (keys.bucket(name),),
        (),
        decode=lambda reply: None if reply == -1 else int(reply),
        resend=True,
    )


def look(keys: Keys, name: str) -> Call[BucketView | None]:
    """A bucket as it is now, None when there is none. One round trip."""
    return run_script(load_script("throttle_look"), (keys.bucket(name),), (), decode=_look, resend=True)


def note(keys: Keys, name: str, now: int) -> Call[int]:
    """Put a name on the list of throttles in use, with a time (s)."""
    key = _list(keys, name)
    return command("ZADD", key, "GT", now, name, key=key, decode=int, resend=True)


def trim(keys: Keys, name: str, now: int) -> list[Call[int]]:
    """Keep the part of the list that a name is in short: drop names unused for two days, and the list itself later."""
    key = _list(keys, name)
    return [
        command("ZREMRANGEBYSCORE", key, "-inf", now - 2 * 86_400, key=key, decode=int, resend=True),
        command("EXPIRE", key, 3 * 86_400, key=key, decode=int, resend=True),
    ]


def names(keys: Keys, shard: int) -> Call[list[str]]:
    """One part of the list of throttles in use."""
    key = keys.throttle_names(shard)
    return command(
        "ZRANGE", key, 0, -1, key=key, decode=lambda reply: [name.decode() for name in reply], resend=True
    )


def forget(keys: Keys, name: str) -> Call[int]:
    """Take a name off the list."""
    key = _list(keys, name)
    return command("ZREM", key, name, key=key, decode=int, resend=True)


def _list(keys: Keys, name: str) -> str:
    return keys.throttle_names(zlib.crc32(name.encode()) % THROTTLE_NAME_SHARDS)


def stored_spec(wire: bytes) -> ThrottleSpec:
    """The spec of a stored one."""
    text = wire.decode("utf-8", "replace").rpartition(" ")[2]
    try:
        return parse_spec(text)
    except InvalidThrottleError as error:
        raise ServerRefusedError("SPEC", f"a throttle's spec in Redis is not ours: {error}") from error


def _taken(reply: list[Any]) -> Taken:
    return Taken._make(reply)


def _grant(reply: list[Any]) -> Grant:
    return Grant._make(reply)


def _look(reply: list[Any]) -> BucketView | None:
    if not reply:
        return None
    left, leased, full, _, by_hand, spec, now = reply[:7]
    found: dict[str, Holder] = {}
    for name, record in zip(reply[7::2], reply[8::2], strict=True):
        who = name[1:].decode("utf-8", "replace")
        if who == POT:
            continue
        numbers = [int(number) for number in record.split()]
        old = found.get(who, Holder(who, idle=float("inf")))
        idle = min(old.idle, max(now / 1e6 - numbers[-1], 0.0))
        if name[:1] == b"k":
            taken, refused, *_ = numbers
            found[who] = Holder(
                who, old.taken + taken, old.held, old.lease_left, max(old.refused, refused), idle
            )
        else:
            _, _, held, _, _, ends, spent, refused, *_ = numbers
            lasts = max(ends - now, 0) / 1e6 if held else 0.0
            found[who] = Holder(who, old.taken + spent, held, lasts, max(old.refused, refused), idle)
    holders = tuple(found[who] for who in sorted(found))
    return BucketView(stored_spec(spec), left, leased, full / 1e6, by_hand == 1, now / 1e6, holders)
