"""Taking the dead out of the counts: flows that fence an incarnation, subtract its copies and forget it.

Any number of reapers may run, stop and begin again: fencing and subtracting are one step for each item.
"""

from __future__ import annotations

from collections.abc import Iterable

from .call import Flow, only
from .keys import Keys
from .objects import fleet, gauge
from .objects.fleet import Fleet
from .specs import ObjectSpec

__all__ = ["bury_flow", "reap_flow", "reap_overdue"]


def reap_flow(keys: Keys, incarnation: str, objects: Iterable[ObjectSpec]) -> Flow[None]:
    """Fence an incarnation in every shard of every object and take its counts out.

    Costs one pipelined round trip for each 1000 items that a shard holds of it.
    """
    left = {(spec.name, shard): b"0" for spec in objects for shard in range(spec.shards)}
    while left:
        places = list(left)
        outcomes = yield [
            gauge.reap(keys, name, shard, incarnation, left[name, shard]) for name, shard in places
        ]
        for place, outcome in zip(places, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            remaining, cursor = outcome
            if remaining:
                left[place] = cursor
            else:
                del left[place]


def bury_flow(keys: Keys, incarnation: str) -> Flow[None]:
    """Reap an incarnation that is fenced in the fleet, then forget it."""
    now: Fleet = yield from only(fleet.look(keys))
    yield from reap_flow(keys, incarnation, now.objects.values())
    yield from only(fleet.bury(keys, incarnation))


def reap_overdue(keys: Keys) -> Flow[int]:
    """What an observer does about the dead before it shows counts: take out those nobody else has in hand."""
    found = yield from only(fleet.beat(keys, "", 0))
    for incarnation in found.reap:
        yield from bury_flow(keys, incarnation)
    return len(found.reap)
