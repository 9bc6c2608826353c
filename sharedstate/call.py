"""A `Call`: one command or script, ready to be sent, with all that a runner must know about it.

Builders (in `sharedstate.objects`) make calls and runners (`sharedstate.link`) carry them out; a call does no
I/O. Whether it may be sent a second time after an unanswered first is decided here, where the meaning of the
call is known, and nowhere else.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from .errors import LinkError
from .scripts import Script

__all__ = ["Arg", "Call", "Flow", "Outcome", "command", "each", "key_slot", "only", "run_script"]

T = TypeVar("T")
R = TypeVar("R")

#: What hiredis packs: bytes and str as they are, numbers in decimal.
Arg: TypeAlias = bytes | str | int

#: What a runner gives back for one call: the decoded answer, or the error instead of it.
Outcome: TypeAlias = Any

#: A piece of work that needs answers: yields calls that may run side by side, receives their outcomes in order.
Flow: TypeAlias = Generator[Sequence["Call[Any]"], list[Outcome], R]


def key_slot(key: str) -> int:
    """Hash slot of a key (CRC16 of its hash tag, Redis Cluster specification)."""
    start = key.find("{")
    if start >= 0:
        end = key.find("}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key.encode(), 0) & 16383


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One command or script call.

    Attributes:
        args: the command as sent; for a script, what follows the script in EVALSHA: number of keys, keys, arguments.
        slot: hash slot it belongs to, or None when any primary may answer.
        decode: turns the raw answer (bytes, int, list) into the result.
        resend: True when carrying it out twice has the same effect and answer as once (reads, and scripts that
            recognise a repetition by sequence or operation id).
        script: the script to run, or None for a plain command.
    """

    args: tuple[Arg, ...]
    slot: int | None
    decode: Callable[[Any], T]
    resend: bool
    script: Script | None = None


def command(*args: Arg, key: str | None = None, decode: Callable[[Any], T], resend: bool) -> Call[T]:
    """Build a call of a plain command; `key` tells where it goes."""
    return Call(args, None if key is None else key_slot(key), decode, resend)


def run_script(
    script: Script, keys: Sequence[str], args: Sequence[Arg], *, decode: Callable[[Any], T], resend: bool
) -> Call[T]:
    """Build a call of a script; all `keys` share one hash tag."""
    assert len(keys) == script.key_count, f"{script.name} takes {script.key_count} keys, got {len(keys)}"
    return Call((len(keys), *keys, *args), key_slot(keys[0]), decode, resend, script)


def each(flows: Sequence[Flow[None]]) -> Flow[None]:
    """Flows one after the other. A LinkError of one does not keep the others from running; the last is raised."""
    failure: LinkError | None = None
    for flow in flows:
        try:
            yield from flow
        except LinkError as error:
            failure = error
    if failure is not None:
        raise failure


def only(call: Call[T]) -> Flow[T]:
    """A flow of a single call: its answer, or its error raised."""
    (outcome,) = yield [call]
    if isinstance(outcome, BaseException):
        raise outcome
    result: T = outcome
    return result
