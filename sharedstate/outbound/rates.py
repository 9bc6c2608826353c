"""OBTM and OBTC: the configured rates of outbound messages and connections, each a throttle of the whole fleet.

Every scope that matches has a bucket of its own, and all of them must allow: global, binding_group, domain, and a
domain inside a group or binding. A scope with a pattern of domains has a bucket for each domain that fits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sharedstate.config.model import Limit, LimitKind, Rate
from sharedstate.names import canonical_domain
from sharedstate.throttle.spec import ThrottleSpec

from .scopes import Names, level_of, scope_item, usable_name

__all__ = ["RateRule", "RateTable"]

#: What the original calls the two replications, in front of the buckets' names.
_PREFIX = {LimitKind.THROTTLE_MESSAGES: "OBTM", LimitKind.THROTTLE_CONNECTIONS: "OBTC"}
#: Most specific first: it is asked first, for it refuses most.
_LEVELS = ("binding::domain", "binding_group::domain", "domain", "binding_group", "global")
#: Questions whose throttles are kept ready; beyond it the cache starts anew.
_CACHE = 65_536

_Question = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class RateRule:
    """A configured rate as it applies to one message or connection.

    Attributes:
        throttle: name of its bucket, such as ``OBTM:domain/aol.com``.
        spec: the configured rate.
        limit: where it was configured.
    """

    throttle: str
    spec: ThrottleSpec
    limit: Limit


class RateTable:
    """The rates of one kind.

    Args:
        limits: those of the configuration; those of other kinds are left out.
        kind: messages or connections.
    """

    def __init__(self, limits: Iterable[Limit], kind: LimitKind) -> None:
        self._prefix = _PREFIX[kind]
        self._tables: dict[tuple[str, str | None], Names] = {}
        self._ready: dict[_Question, tuple[RateRule, ...]] = {}
        for limit in limits:
            if limit.kind is kind:
                scope = limit.scope
                outer = scope.binding if scope.binding is not None else scope.binding_group
                key = (level_of(scope), None if outer is None else outer.lower())
                self._tables.setdefault(key, Names()).add(scope.domain or "", limit)

    def __bool__(self) -> bool:
        return bool(self._tables)

    def applying(self, domain: str, binding: str | None, group: str | None) -> tuple[RateRule, ...]:
        """The rates that all have to allow, the most specific first.

        Raises:
            InvalidDomainError: the domain is none.
            InvalidValueError: the name of binding or group is not usable.
        """
        question = (domain, binding, group)
        found = self._ready.get(question)
        if found is None:
            if len(self._ready) >= _CACHE:
                self._ready = {}
            found = self._ready[question] = tuple(self._find(*question))
        return found

    def _find(self, domain: str, binding: str | None, group: str | None) -> Iterable[RateRule]:
        name = canonical_domain(domain)
        outers = {
            "binding": None if binding is None else usable_name(binding, "binding"),
            "binding_group": None if group is None else usable_name(group, "binding group"),
        }
        for level in _LEVELS:
            outer_kind, _, inner = level.rpartition("::")
            if level == "binding_group":
                outer_kind, inner = level, ""
            outer = outers[outer_kind] if outer_kind else None
            if outer_kind and outer is None:
                continue
            table = self._tables.get((level, outer))
            limit = table.find(name if inner == "domain" else "") if table is not None else None
            if limit is not None:
                yield self._rule(limit, name, outer_kind, outer)

    def _rule(self, limit: Limit, domain: str, outer_kind: str, outer: str | None) -> RateRule:
        assert isinstance(limit.value, Rate)
        item = scope_item(
            binding=outer if outer_kind == "binding" else None,
            group=outer if outer_kind == "binding_group" else None,
            domain=domain if limit.scope.domain is not None else None,
        )
        # The configuration refuses rates that a bucket cannot keep, so this one can be kept.
        spec = ThrottleSpec(limit.value.count, limit.value.seconds * 10**6, limit.value.count)
        # A throttle's name has no blanks, a binding's may have.
        return RateRule(f"{self._prefix}:{item.replace(' ', '%20')}", spec, limit)
