"""Calls about the fleet itself: who is a member, who is dying, which objects exist."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sharedstate.call import Call, run_script
from sharedstate.errors import InvalidValueError, ServerRefusedError
from sharedstate.keys import Keys
from sharedstate.results import Member
from sharedstate.scripts import load_script
from sharedstate.specs import CountBy, ObjectSpec

__all__ = ["Beat", "Fleet", "beat", "bury", "fence", "join", "look"]

#: How long one reaper has an incarnation to itself, ms.
CLAIM_MS = 5_000


@dataclass(frozen=True, slots=True)
class Fleet:
    """The fleet at one moment.

    Attributes:
        members: live members in order of joining.
        dying: incarnations that are fenced and not yet reaped everywhere.
        overdue: live incarnations whose time is over and that nobody has fenced yet.
        objects: registered objects by name.
    """

    members: tuple[Member, ...]
    dying: tuple[str, ...]
    overdue: tuple[str, ...]
    objects: dict[str, ObjectSpec]

    @property
    def leader(self) -> Member | None:
        """Oldest live mail-node member."""
        return next((member for member in self.members if member.role != "Manager"), None)

    def of_node(self, node: str) -> tuple[Member, ...]:
        """Live members of one node, in order of joining; node names are compared case-insensitively."""
        return tuple(member for member in self.members if member.node.lower() == node.lower())

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes that have live members, in order of joining."""
        return tuple(dict.fromkeys(member.node for member in self.members if member.node))


@dataclass(frozen=True, slots=True)
class Beat:
    """The answer to a heartbeat.

    Attributes:
        live: whether the member is live.
        members: how many members are live now, this one and managers included.
        reap: incarnations this member shall reap.
    """

    live: bool
    members: int
    reap: tuple[str, ...]


def join(
    keys: Keys, member: Member, live_ms: int, objects: Iterable[ObjectSpec]
) -> Call[tuple[float, int, list[ObjectSpec]]]:
    """Join; answers the server time, how many members are live and the spec in force of each object. One round trip."""
    record = json.dumps(
        {
            "node": member.node,
            "pid": member.pid,
            "role": member.role,
            "version": member.version,
            "address": member.address,
            "groups": member.groups,
        },
        separators=(",", ":"),
    )
    args: list[str | int] = [member.incarnation, live_ms, record]
    for spec in objects:
        args += [spec.name, _spec_text(spec)]
    # Joining twice as the same incarnation is joining once.
    return run_script(
        load_script("fleet_join"),
        (keys.live, keys.members, keys.objects),
        args,
        decode=lambda reply: (reply[0] / 1000, reply[1], [_spec(text) for text in reply[2:]]),
        resend=True,
    )


def beat(keys: Keys, incarnation: str, live_ms: int) -> Call[Beat]:
    """Heartbeat, or an observer's look for overdue members (empty incarnation). One round trip."""
    return run_script(
        load_script("fleet_beat"),
        (keys.live, keys.dying),
        # A claim shorter than a member's time, so that a reaper that dies does not keep its victim's counts for long.
        (incarnation, live_ms, min(CLAIM_MS, live_ms // 2) if incarnation else CLAIM_MS),
        decode=lambda reply: Beat(reply[0] == 1, reply[1], tuple(item.decode() for item in reply[2:])),
        resend=True,
    )


def fence(keys: Keys, incarnations: Sequence[str]) -> Call[int]:
    """Take members out of the live, to be reaped by the caller. One round trip."""
    return run_script(
        load_script("fleet_fence"),
        (keys.live, keys.dying),
        (CLAIM_MS, *incarnations),
        decode=int,
        resend=True,
    )


def bury(keys: Keys, incarnation: str) -> Call[int]:
    """Forget a reaped incarnation. One round trip."""
    return run_script(
        load_script("fleet_bury"),
        (keys.live, keys.dying, keys.members),
        (incarnation,),
        decode=int,
        resend=True,
    )


def look(keys: Keys) -> Call[Fleet]:
    """The fleet at one moment. One round trip."""
    return run_script(
        load_script("fleet_look"),
        (keys.live, keys.dying, keys.members, keys.objects),
        (),
        decode=_fleet,
        resend=True,
    )


def _fleet(reply: list[Any]) -> Fleet:
    now, live, dying, records, objects = reply
    known = dict(zip(records[::2], records[1::2], strict=True))
    members = [
        _member(incarnation.decode(), known[incarnation], float(until) / 1000)
        for incarnation, until in zip(live[::2], live[1::2], strict=True)
        if incarnation in known
    ]
    members.sort(key=lambda member: (member.joined, member.incarnation))
    specs = [_spec(text) for text in objects[1::2]]
    return Fleet(
        tuple(member for member in members if member.deadline * 1000 >= now),
        tuple(item.decode() for item in dying),
        tuple(member.incarnation for member in members if member.deadline * 1000 < now),
        {spec.name: spec for spec in sorted(specs, key=lambda spec: spec.name)},
    )


def _member(incarnation: str, stored: bytes, deadline: float) -> Member:
    joined, _, record = stored.partition(b" ")
    try:
        told = json.loads(record)
        told["groups"] = tuple(told.get("groups", ()))
        return Member(incarnation=incarnation, joined=int(joined) / 1000, deadline=deadline, **told)
    except (ValueError, TypeError) as error:
        raise ServerRefusedError(
            "RECORD", f"the record of member {incarnation} in Redis is not ours: {error}."
        ) from error


def _spec_text(spec: ObjectSpec) -> str:
    return json.dumps(dataclasses.asdict(spec), separators=(",", ":"))


def _spec(text: bytes) -> ObjectSpec:
    try:
        told = json.loads(text)
        told["count_by"] = CountBy(told["count_by"])
        return ObjectSpec(**told)
    except (ValueError, TypeError, KeyError, InvalidValueError) as error:
        raise ServerRefusedError("SPEC", f"an object's spec in Redis is not ours: {error}.") from error
