"""The scopes that limits stand in: which one a connection falls in, and what a scope is called as an item."""

from __future__ import annotations

import fnmatch
import re

from sharedstate.config.limits import is_expression
from sharedstate.config.model import Limit, Scope
from sharedstate.errors import InvalidValueError

__all__ = ["Names", "level_of", "scope_item", "usable_name"]


class Names:
    """Limits by the name of a domain or host."""

    def __init__(self) -> None:
        self._exact: dict[str, Limit] = {}
        self._patterns: list[tuple[re.Pattern[str], Limit]] = []

    def add(self, name: str, limit: Limit) -> None:
        """Add the limit of a name, a ``/regular expression/`` or a pattern with ``*`` and ``?``."""
        if is_expression(name):
            self._patterns.append((re.compile(name[1:-1], re.IGNORECASE), limit))
        elif "*" in name or "?" in name:
            self._patterns.append((re.compile(fnmatch.translate(name), re.IGNORECASE), limit))
        else:
            self._exact[name] = limit

    def find(self, name: str) -> Limit | None:
        """The limit of a name: its own, else that of the first pattern that fits."""
        limit = self._exact.get(name)
        if limit is None:
            limit = next((limit for pattern, limit in self._patterns if pattern.search(name)), None)
        return limit


def level_of(scope: Scope) -> str:
    """The scope's kind; a group around a binding says nothing."""
    kind = scope.kind
    return kind.removeprefix("binding_group::") if scope.binding is not None else kind


def scope_item(
    *,
    binding: str | None = None,
    group: str | None = None,
    domain: str | None = None,
    host: str | None = None,
) -> str:
    """Item of an outbound_scopes object: ``all``, ``binding/NAME``, ``binding_group/NAME/domain/DOMAIN`` and so on."""
    parts: list[str] = []
    for kind, name in (("binding_group", group), ("binding", binding), ("domain", domain), ("host", host)):
        if name is not None:
            # A name may hold a slash; as it is, two scopes could be one item.
            parts += [kind, name.lower().replace("%", "%25").replace("/", "%2f")]
    return "/".join(parts) or "all"


def usable_name(name: str, noun: str) -> str:
    """The name of a binding or group, compared without regard to case; raises InvalidValueError."""
    if not isinstance(name, str) or not name or not name.isprintable() or len(name) > 255:
        raise InvalidValueError(f"{noun} name {name!r} is not usable: give 1 to 255 printable characters.")
    return name.lower()
