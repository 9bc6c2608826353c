"""Cluster-wide traffic limits: which scopes each may stand in, and what its value may be."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sharedstate.errors import InvalidDomainError, InvalidThrottleError
from sharedstate.names import canonical_domain
from sharedstate.throttle.spec import ThrottleSpec

from .draft import Entry, fail, integer
from .model import Limit, LimitKind, Rate, Scope

__all__ = ["build_limits", "is_expression"]

_RATE = re.compile(r"([0-9]{1,9})(?:\s*/\s*([0-9]{1,9}))?\Z")
_MOST = 10**9

_THROTTLE_SCOPES = (
    "global",
    "domain",
    "binding_group",
    "binding::domain",
    "binding_group::domain",
    "binding_group::binding::domain",
)
_BINDING_SCOPES = ("binding", "binding_group::binding")

#: Where each limit may stand. A binding is the same binding whether or not its stanza stands inside a group.
_SCOPES = {
    LimitKind.THROTTLE_MESSAGES: _THROTTLE_SCOPES,
    LimitKind.THROTTLE_CONNECTIONS: _THROTTLE_SCOPES,
    LimitKind.MAX_CONNECTIONS: (
        "global",
        "domain",
        "host",
        *(f"{binding}{inner}" for binding in _BINDING_SCOPES for inner in ("", "::domain", "::host")),
    ),
    LimitKind.SERVER_MAX_CONNECTIONS: ("global", "binding_group", *_BINDING_SCOPES),
    LimitKind.SCOPE_MAX_CONNECTIONS: (
        "global",
        "domain",
        "host",
        "binding_group",
        "binding_group::domain",
        *(f"{binding}{inner}" for binding in _BINDING_SCOPES for inner in ("", "::domain", "::host")),
    ),
}


def build_limits(drafts: Iterable[tuple[Scope, Entry]]) -> tuple[Limit, ...]:
    """Check limits; of several of one kind in one scope the last one stands, as in the original.

    Raises:
        ConfigError: a limit stands in a scope it does not have, or its value is not acceptable.
    """
    found: dict[tuple[LimitKind, Scope], Limit] = {}
    for written, entry in drafts:
        kind = LimitKind(entry.name)
        scope = Scope(written.binding_group, written.binding, _domain(written.domain), _domain(written.host))
        for name in (scope.domain, scope.host):
            _check_pattern(name, entry)
        if scope.kind not in _SCOPES[kind]:
            raise fail(
                entry.place,
                f"{kind} has no meaning in the scope {scope.kind}; it may stand in "
                f"{', '.join(_SCOPES[kind])}.",
            )
        found[kind, scope] = Limit(
            kind, scope, _rate(entry) if kind.is_rate else integer(entry, -1, _MOST), entry.place
        )
    return tuple(found.values())


def _rate(entry: Entry) -> Rate:
    match = _RATE.match(str(entry.value).strip()) if isinstance(entry.value, (str, int)) else None
    count, seconds = (int(match[1]), int(match[2] or 1)) if match else (0, 0)
    if not count or not seconds:
        raise fail(
            entry.value_place,
            f'{entry.name} is a rate, "N" for N a second or "N/S" for N in S seconds, both from 1; '
            f"found {str(entry.value)[:60]!r}.",
        )
    rate = Rate(count, seconds)
    try:
        ThrottleSpec(count, seconds * 10**6, count)
    except InvalidThrottleError as error:
        raise fail(entry.value_place, f"{entry.name} {rate}: {error}") from None
    return rate


def _check_pattern(name: str | None, entry: Entry) -> None:
    if name is not None and is_expression(name):
        try:
            re.compile(name[1:-1])
        except re.error as error:
            raise fail(
                entry.place, f"the scope's name {name} is not a regular expression: {error}."
            ) from error


def is_expression(name: str) -> bool:
    """Whether a domain or host is given as ``/regular expression/``."""
    return len(name) > 2 and name.startswith("/") and name.endswith("/")


def _domain(written: str | None) -> str | None:
    """Canonical where it is a name; a regular expression as written, any other pattern in lower case."""
    if written is None or is_expression(written):
        return written
    try:
        return canonical_domain(written)
    except InvalidDomainError:
        return written.lower()
