"""Where connections are counted for each cap on them, and which objects that takes.

A cap is decided on a count that `shared show` shows. So whoever configures caps gets the objects they are counted in,
also when nothing replicates them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

from sharedstate.specs import CountBy, ObjectSpec

from .model import Limit, LimitKind, Place, Scope

__all__ = ["Counted", "counted_in", "counting_objects", "find_object"]


class Counted(enum.Enum):
    """What a cap is counted by; the value is the name of the object that is added for it."""

    DOMAIN = "outbound_domains"
    HOST = "outbound_hosts"
    BINDING_DOMAIN = "outbound_binding_domains"
    SCOPE = "outbound_scopes"


_CLASSES = {Counted.HOST: "outbound_domains"}


def counted_in(kind: LimitKind, scope: Scope) -> Counted:
    """What a cap of this kind is counted by in this scope."""
    inner = scope.kind.rpartition("::")[2]
    if kind is LimitKind.MAX_CONNECTIONS:
        return Counted.HOST if inner == "host" else Counted.DOMAIN
    if kind is LimitKind.SCOPE_MAX_CONNECTIONS:
        if scope.kind == "domain":
            return Counted.DOMAIN
        if scope.kind == "host":
            return Counted.HOST
        if scope.binding is not None and inner == "domain":
            return Counted.BINDING_DOMAIN
    return Counted.SCOPE


def find_object(counted: Counted, objects: Iterable[ObjectSpec]) -> ObjectSpec | None:
    """The first object that counts every connection by this, or None."""
    cls = _CLASSES.get(counted, counted.value)
    by = CountBy.HOST if counted is Counted.HOST else CountBy.DOMAIN
    for spec in objects:
        if (spec.cls, spec.binding_group) == (cls, None) and (
            cls != "outbound_domains" or spec.count_by is by
        ):
            return spec
    return None


def counting_objects(
    limits: Iterable[Limit], objects: Sequence[ObjectSpec], shards: int
) -> list[tuple[ObjectSpec, Place]]:
    """Objects to add so that every cap has its count, each with the place of the first limit that needs it."""
    taken = {spec.name for spec in objects}
    added: dict[Counted, tuple[ObjectSpec, Place]] = {}
    for limit in limits:
        if limit.kind.is_rate or limit.value == -1:
            continue
        counted = counted_in(limit.kind, limit.scope)
        if counted in added or find_object(counted, objects) is not None:
            continue
        name, number = counted.value, 2
        if name in taken and counted is Counted.DOMAIN:
            name = (
                "outbound_by_domain"  # an object of the usual name counts sites, hosts or one binding group
            )
        while name in taken:
            name, number = f"{counted.value}_{number}", number + 1
        taken.add(name)
        spec = ObjectSpec(
            name=name,
            cls=_CLASSES.get(counted, counted.value),
            shards=shards,
            count_by=CountBy.HOST if counted is Counted.HOST else CountBy.DOMAIN,
        )
        added[counted] = spec, limit.place or Place(None, 1, 1)
    return list(added.values())
