"""What a shared object is: its name, class, kind and settings, as one value.

Specs come from the configuration (`sharedstate.config`), are registered once in Redis by the first member
that joins with them, and are read from there by everybody else, the console included.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from .errors import InvalidNameError, InvalidValueError

__all__ = ["CLASS_KINDS", "DEFAULT_SHARDS", "CountBy", "Kind", "ObjectSpec", "check_name"]

DEFAULT_SHARDS = 16
MAX_SHARDS = 1024

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


class Kind(enum.StrEnum):
    """How an object holds its counts, in the words of the console's transcripts."""

    CIDR_TREE = "cidrtree"
    GAUGE_TABLE = "gauge table"


class CountBy(enum.StrEnum):
    """What an outbound connection is counted under in an outbound_domains object."""

    DOMAIN = "domain"
    HOST = "host"
    SITE = "site"


#: The classes whose counts members own, and how each is held.
CLASS_KINDS = {
    "inbound_cidr": Kind.CIDR_TREE,
    "outbound_cidr": Kind.CIDR_TREE,
    "outbound_domains": Kind.GAUGE_TABLE,
    "outbound_binding_domains": Kind.GAUGE_TABLE,
    "outbound_scopes": Kind.GAUGE_TABLE,
}


def check_name(name: str, noun: str) -> str:
    """Return `name` if it can be a node, object or cluster name.

    Raises:
        InvalidNameError: it is empty, too long, or holds other characters than letters, digits, ``. _ -``.
    """
    if not _NAME.match(name):
        raise InvalidNameError(
            f"{noun} name {name!r} is not usable: 1 to 128 letters, digits, '.', '_' or '-', "
            "starting with a letter or digit."
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSpec:
    """One member-owned shared object.

    Attributes:
        name: how the object is asked for, such as ``inbound_cidr`` or ``outbound_cidr_foo``.
        cls: its class, one of `CLASS_KINDS`.
        shards: over how many hash tags its items are spread; fixed once the fleet has it.
        max_delay: seconds a change may wait in a member's buffer before it is published.
        max_pending: changes a member buffers before it publishes without waiting for max_delay.
        binding_group: count only connections of this binding group, or None for all.
        count_by: for outbound_domains, what a connection is counted under.
        remember: how many items with a count of zero one member keeps (they are branch points of the tree).
    """

    name: str
    cls: str
    shards: int = DEFAULT_SHARDS
    max_delay: float = 1.0
    max_pending: int = 100
    binding_group: str | None = None
    count_by: CountBy = CountBy.DOMAIN
    remember: int = 10_000

    def __post_init__(self) -> None:
        check_name(self.name, "object")
        if self.cls not in CLASS_KINDS:
            raise InvalidValueError(
                f"object {self.name!r} has class {self.cls!r}; known: {', '.join(CLASS_KINDS)}."
            )
        if not 1 <= self.shards <= MAX_SHARDS:
            raise InvalidValueError(
                f"object {self.name!r} has {self.shards} shards; allowed: 1 to {MAX_SHARDS}."
            )

    @property
    def kind(self) -> Kind:
        """How the object holds its counts."""
        return CLASS_KINDS[self.cls]
