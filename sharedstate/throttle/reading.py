"""Flows that look at the fleet's throttles, and change them by hand."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Any

from sharedstate.call import Call, Flow, only
from sharedstate.errors import LinkError, UnknownThrottleError
from sharedstate.keys import THROTTLE_NAME_SHARDS, Keys
from sharedstate.objects import throttle as calls
from sharedstate.objects.throttle import BucketView

from .decision import DecidedBy, Decision
from .spec import ThrottleSpec, check_cost, check_throttle_name, parse_spec

__all__ = ["change_flow", "check_flow", "list_flow", "names_flow", "reset_flow", "view_flow"]

#: Buckets looked at in one go.
_AT_ONCE = 500


def names_flow(keys: Keys) -> Flow[list[str]]:
    """Names of the throttles that were in use lately. One round trip."""
    parts = yield from _all([calls.names(keys, shard) for shard in range(THROTTLE_NAME_SHARDS)])
    return sorted(name for part in parts for name in part)


def list_flow(keys: Keys, match: str | None = None) -> Flow[dict[str, BucketView]]:
    """Throttles by name, all or those that match a pattern. Two round trips, and one more for each further 500.

    Names whose bucket is gone are taken off the list on the way.
    """
    names = yield from names_flow(keys)
    wanted = [name for name in names if match is None or fnmatch.fnmatchcase(name, match)]
    found: dict[str, BucketView] = {}
    gone: list[str] = []
    for first in range(0, len(wanted), _AT_ONCE):
        some = wanted[first : first + _AT_ONCE]
        views = yield from _all([calls.look(keys, name) for name in some])
        for name, view in zip(some, views, strict=True):
            if view is None:
                gone.append(name)
            else:
                found[name] = view
    if gone:
        yield from _all([calls.forget(keys, name) for name in gone])
    return found


def view_flow(keys: Keys, name: str) -> Flow[BucketView]:
    """One throttle as it is now. One round trip.

    Raises:
        UnknownThrottleError: the fleet has none of this name; the message suggests the near one.
    """
    view = yield from only(calls.look(keys, check_throttle_name(name)))
    if view is None:
        raise UnknownThrottleError(name, (yield from names_flow(keys)))
    return view


def change_flow(keys: Keys, name: str, spec: ThrottleSpec, now: int) -> Flow[BucketView]:
    """Give a throttle another spec, or make it with this one. Three round trips."""
    yield from only(calls.set_spec(keys, check_throttle_name(name), spec))
    yield from only(calls.note(keys, name, now))
    return (yield from view_flow(keys, name))


def reset_flow(keys: Keys, name: str) -> Flow[BucketView]:
    """Fill a bucket; what is leased out stays out.

    Raises:
        UnknownThrottleError: as for `view_flow`.
    """
    left = yield from only(calls.reset(keys, check_throttle_name(name)))
    if left is None:
        raise UnknownThrottleError(name, (yield from names_flow(keys)))
    return (yield from view_flow(keys, name))


def check_flow(
    keys: Keys, node: str, name: str, spec: str | ThrottleSpec | None, cost: int, peek: bool, now: int
) -> Flow[Decision]:
    """One check by somebody who does not stay: Redis decides, or an error says why not.

    One round trip; two without a spec, for more than one token, or for the first check of a node.

    All such checks of a node are kept in one record, so a hook that starts a process for each check does not fill
    the bucket's hash with processes that are gone.

    Raises:
        InvalidThrottleError, InvalidValueError: the spec is none, or the bucket never has so many tokens.
        UnknownThrottleError: no spec was given, and the fleet has no such throttle.
        LinkError: Redis did not decide; after an `AmbiguousError` the tokens may be taken.
    """
    if spec is None:
        offered = (yield from view_flow(keys, name)).spec
    else:
        offered = spec if isinstance(spec, ThrottleSpec) else parse_spec(spec)
    check_cost(cost, offered, offered, check_throttle_name(name))
    if spec is not None and cost > 1 and not peek:
        # The spec in force decides how many can be had; asking for more would queue for what never comes.
        _, offered = yield from only(calls.define(keys, name, offered))
        check_cost(cost, offered, offered, name)
    taken = yield from only(
        calls.take(keys.bucket(name), offered.wire, f"{node}#console", b"", 0, 0, 0, 0, 0 if peek else cost)
    )
    if 0 < taken.got == taken.total:
        # The first of this record: the throttle may be new. The decision stands, whatever becomes of the note.
        yield [calls.note(keys, name, now)]
    valid = calls.stored_spec(taken.spec)
    allowed = taken.left >= cost if peek else taken.got >= cost
    if not allowed:
        # A look does not learn the spec in force beforehand.
        check_cost(cost, valid, valid, name)
    wait = 0.0 if allowed else taken.wait / 1e6
    if peek and not allowed:
        # The script tells when the first token is there; the next ones come at most an interval apart.
        wait += (cost - max(taken.left, 1)) * valid.interval
    return Decision(allowed, valid.limit, taken.left, wait, taken.full / 1e6, DecidedBy.REDIS, name)


def _all(wanted: Sequence[Call[Any]]) -> Flow[list[Any]]:
    outcomes = yield wanted
    for outcome in outcomes:
        if isinstance(outcome, LinkError):
            raise outcome
    return outcomes
