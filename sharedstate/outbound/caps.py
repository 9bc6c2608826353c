"""Which caps apply to an outbound connection: the configured limits, compiled once.

- ``cluster_max_outbound_connections``: one number, of the most specific scope that matches, in the order binding::host,
  host, binding::domain, binding, domain, global. -1 there lifts what broader scopes say.
- ``cluster_server_max_...`` and ``cluster_scope_max_outbound_connections``: every scope that matches must hold.

A binding is the same whether its stanza stands inside a group or not. An exact name beats a pattern; of several
patterns that match, the first in the configuration counts. Patterns are ``/regular expression/`` (searched for, without
regard to case) and names with ``*`` and ``?``, which have to fit as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from sharedstate.config.counting import Counted, counted_in
from sharedstate.config.model import Limit, LimitKind, Scope
from sharedstate.names import canonical_domain

from .scopes import Names, level_of, scope_item, usable_name

__all__ = ["Cap", "CapTable", "Counting"]

#: The item of an object: a text, or (binding, domain).
Item: TypeAlias = str | tuple[str, str]

#: Scopes of cluster_max_outbound_connections, most specific first.
_PRECEDENCE = ("binding::host", "host", "binding::domain", "binding", "domain", "global")
#: Where a full cap is likeliest, first; taking begins there.
_ORDER = (
    "binding::host",
    "host",
    "binding::domain",
    "binding_group::domain",
    "domain",
    "binding",
    "binding_group",
    "global",
)


@dataclass(frozen=True, slots=True)
class Cap:
    """One cap as it applies to a connection.

    Attributes:
        kind: the option it was configured with.
        scope: the scope it was configured in.
        limit: connections that may be open.
    """

    kind: LimitKind
    scope: Scope
    limit: int

    def __str__(self) -> str:
        return f"{self.kind} {self.limit} ({self.scope})"


@dataclass(frozen=True, slots=True)
class Counting:
    """A cap with the count it is decided on: an item of the object that counts by `counted`."""

    cap: Cap
    counted: Counted
    item: Item


@dataclass(frozen=True, slots=True)
class _Connection:
    """A connection in canonical names."""

    domain: str
    host: str
    binding: str | None
    group: str | None


class CapTable:
    """The caps of a configuration.

    Args:
        limits: those of the configuration; what is no cap is left out.
    """

    def __init__(self, limits: Iterable[Limit]) -> None:
        self._tables: dict[tuple[LimitKind, str, str | None], Names] = {}
        #: What the caps are counted by.
        self.counted: set[Counted] = set()
        for limit in limits:
            if limit.kind.is_rate:
                continue
            scope = limit.scope
            outer = scope.binding if scope.binding is not None else scope.binding_group
            key = (limit.kind, level_of(scope), None if outer is None else outer.lower())
            self._tables.setdefault(key, Names()).add(scope.domain or scope.host or "", limit)
            if isinstance(limit.value, int) and limit.value >= 0:
                self.counted.add(counted_in(limit.kind, scope))

    def __bool__(self) -> bool:
        return bool(self.counted)

    def applying(
        self, domain: str, host: str | None, binding: str | None, group: str | None
    ) -> list[Counting]:
        """The caps on a connection, the most specific first; of several on one count the smallest.

        Args:
            domain: destination domain.
            host: MX host; without one the domain stands for it.
            binding: outbound binding, or None.
            group: its binding group, or None.

        Raises:
            InvalidDomainError: domain or host is none.
            InvalidValueError: the name of binding or group is not usable.
        """
        name = canonical_domain(domain)
        connection = _Connection(
            name,
            name if host is None else canonical_domain(host),
            None if binding is None else usable_name(binding, "binding"),
            None if group is None else usable_name(group, "binding group"),
        )
        found: dict[tuple[Counted, Item], Counting] = {}
        for limit in self._matching(connection):
            assert isinstance(limit.value, int)
            counted = counted_in(limit.kind, limit.scope)
            counting = Counting(
                Cap(limit.kind, limit.scope, limit.value), counted, _item(counted, limit.scope, connection)
            )
            place = (counting.counted, counting.item)
            if place not in found or limit.value < found[place].cap.limit:
                found[place] = counting
        return sorted(found.values(), key=_rank)

    def _matching(self, connection: _Connection) -> Iterable[Limit]:
        for level in _PRECEDENCE:
            limit = self._find(LimitKind.MAX_CONNECTIONS, level, connection)
            if limit is not None:
                if limit.value != -1:
                    yield limit
                break
        for kind in (LimitKind.SERVER_MAX_CONNECTIONS, LimitKind.SCOPE_MAX_CONNECTIONS):
            for level in _ORDER:
                limit = self._find(kind, level, connection)
                if limit is not None and limit.value != -1:
                    yield limit

    def _find(self, kind: LimitKind, level: str, connection: _Connection) -> Limit | None:
        outer_kind, _, inner = level.rpartition("::")
        if level in ("binding", "binding_group"):
            outer_kind, inner = level, ""
        outer = {"binding": connection.binding, "binding_group": connection.group, "": None}[outer_kind]
        if outer_kind and outer is None:
            return None
        table = self._tables.get((kind, level, outer))
        if table is None:
            return None
        return table.find({"domain": connection.domain, "host": connection.host}.get(inner, ""))


def _item(counted: Counted, scope: Scope, connection: _Connection) -> Item:
    if counted is Counted.DOMAIN:
        return connection.domain
    if counted is Counted.HOST:
        return connection.host
    if counted is Counted.BINDING_DOMAIN:
        assert connection.binding is not None
        return connection.binding, connection.domain
    return scope_item(
        binding=None if scope.binding is None else connection.binding,
        group=connection.group if scope.binding is None and scope.binding_group is not None else None,
        domain=None if scope.domain is None else connection.domain,
        host=None if scope.host is None else connection.host,
    )


def _rank(counting: Counting) -> tuple[int, int]:
    level = level_of(counting.cap.scope)
    if counting.cap.kind is LimitKind.MAX_CONNECTIONS:
        # Counted by domain or host alone, wherever the number stands.
        level = "host" if counting.counted is Counted.HOST else "domain"
    return _ORDER.index(level), counting.cap.limit
