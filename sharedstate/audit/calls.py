"""Calls about audit series: define, add, verify, read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sharedstate.call import Call, command, run_script
from sharedstate.keys import Keys
from sharedstate.scripts import load_script

from .series import Monitor, SeriesSpec

__all__ = [
    "add",
    "all_series",
    "commit",
    "define",
    "last_number",
    "lease",
    "page",
    "read",
    "registry",
    "token",
    "unlink",
]

_PAGE = 500
#: Exported windows whose tokens an export remembers: how late a run that was killed may still find out.
_TOKENS = 4000


def define(keys: Keys, specs: Sequence[SeriesSpec]) -> Call[list[SeriesSpec]]:
    """Register series that are not registered yet; answers the spec in force of each. One round trip."""
    args: list[str] = []
    for spec in specs:
        args += (spec.name, spec.to_text())
    return run_script(
        load_script("audit_define"),
        (keys.series,),
        args,
        decode=lambda reply: [SeriesSpec.from_text(text) for text in reply],
        resend=True,
    )


def all_series(keys: Keys) -> Call[dict[str, SeriesSpec]]:
    """Every series of the fleet by name."""
    return command("HGETALL", keys.series, key=keys.series, decode=_specs, resend=True)


def add(
    keys: Keys,
    spec: SeriesSpec,
    monitor: Monitor,
    shard: int,
    window: int,
    *,
    source: str,
    before: int,
    number: int,
    node: str,
    changes: Sequence[bytes],
) -> Call[tuple[int, int, int]]:
    """Apply a batch once; answers (1 applied | 2 too late | 0 gap, last number the server has, server ms)."""
    name, interval = spec.name, monitor.interval
    return run_script(
        load_script("audit_add"),
        (
            keys.audit_registry(name, interval, shard),
            keys.audit_window(name, interval, shard, window),
            keys.audit_window(name, interval, shard, window, node),
        ),
        (source, before, number, spec.ends(monitor, window), spec.idle(monitor), node, *changes),
        decode=lambda reply: (reply[0], reply[1], reply[2]),
        resend=True,  # the number makes a repetition harmless
    )


def last_number(keys: Keys, name: str, interval: int, shard: int, source: str) -> Call[int]:
    """Last number a shard has of a source, 0 when it knows none."""
    key = keys.audit_registry(name, interval, shard)
    return command("HGET", key, source, key=key, decode=_number, resend=True)


def registry(keys: Keys, name: str, interval: int, shard: int) -> Call[set[str]]:
    """Names of the nodes that counted in a shard while any of its windows lasts."""
    key = keys.audit_registry(name, interval, shard)
    return command("HVALS", key, key=key, decode=_nodes, resend=True)


def read(key: str, fields: Sequence[bytes]) -> Call[list[bytes | None]]:
    """Some fields of a window as stored."""
    return command("HMGET", key, *fields, key=key, decode=list, resend=True)


def unlink(key: str) -> Call[int]:
    """Take a window away."""
    return command("UNLINK", key, key=key, decode=int, resend=True)


def lease(
    keys: Keys, name: str, interval: int, job: str, owner: str, ms: int, oldest: int
) -> Call[tuple[bool, int, int]]:
    """Take, renew or (0 ms) give back an export's lease; answers (mine, next window, windows lost)."""
    return run_script(
        load_script("audit_lease"),
        (keys.audit_export(name, interval, job),),
        (owner, ms, oldest),
        decode=lambda reply: (reply[0] == 1, reply[1], reply[2]),
        resend=True,
    )


def commit(keys: Keys, name: str, interval: int, job: str, owner: str, window: int, token: str) -> Call[bool]:
    """Mark a window as exported by a file; answers whether it is this file's."""
    return run_script(
        load_script("audit_commit"),
        (keys.audit_export(name, interval, job),),
        (owner, window, token, _TOKENS),
        decode=lambda reply: bool(reply == 1),
        resend=True,
    )


def token(keys: Keys, name: str, interval: int, job: str, window: int) -> Call[str | None]:
    """Token of the file that a window was exported by; None when it was not, or long ago."""
    key = keys.audit_export(name, interval, job)
    return command(
        "HGET",
        key,
        f"w:{window}",
        key=key,
        decode=lambda reply: None if reply is None else reply.decode(),
        resend=True,
    )


def page(key: str, cursor: bytes = b"0") -> Call[tuple[bytes, dict[bytes, bytes]]]:
    """One page of a window: (next cursor, fields as stored)."""
    return command("HSCAN", key, cursor, "COUNT", _PAGE, key=key, decode=_page, resend=True)


def _specs(reply: list[bytes]) -> dict[str, SeriesSpec]:
    found = [SeriesSpec.from_text(text) for text in reply[1::2]]
    return {spec.name: spec for spec in sorted(found, key=lambda spec: spec.name)}


def _number(reply: bytes | None) -> int:
    return int(reply.split(b" ")[0]) if reply else 0


def _nodes(reply: list[bytes]) -> set[str]:
    return {value.split(b" ", 2)[2].decode() for value in reply}


def _page(reply: list[Any]) -> tuple[bytes, dict[bytes, bytes]]:
    cursor, flat = reply
    return cursor, dict(zip(flat[::2], flat[1::2], strict=True))
