"""Fleets of mail servers share counts, limits and caches through Redis Cluster.

`connect` joins the fleet as a member, `observe` only reads; `sharedstate.aio` has both for asyncio,
`sharedstate.local` a real cluster on this machine. Names are loaded when first used: a console that only lists must
start at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import State, connect
    from .errors import SharedStateError
    from .objects.throttle import BucketView
    from .observer import Observer, SharedObject, observe
    from .results import FleetInfo, Member, NodeCounts, View
    from .specs import ObjectSpec
    from .throttle.decision import Decision
    from .throttle.engine import ThrottleStats
    from .throttle.spec import ThrottleSpec
    from .throttle.sync import Throttle

__all__ = [
    "BucketView",
    "Decision",
    "FleetInfo",
    "Member",
    "NodeCounts",
    "ObjectSpec",
    "Observer",
    "SharedObject",
    "SharedStateError",
    "State",
    "Throttle",
    "ThrottleSpec",
    "ThrottleStats",
    "View",
    "connect",
    "observe",
]

_HOMES = {
    "ThrottleSpec": "throttle.spec",
    "ThrottleStats": "throttle.engine",
    "Throttle": "throttle.sync",
    "Decision": "throttle.decision",
    "BucketView": "objects.throttle",
    "FleetInfo": "results",
    "Member": "results",
    "NodeCounts": "results",
    "ObjectSpec": "specs",
    "Observer": "observer",
    "SharedObject": "observer",
    "SharedStateError": "errors",
    "State": "client",
    "View": "results",
    "connect": "client",
    "observe": "observer",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{home}", __name__), name)
