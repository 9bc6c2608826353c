"""The syntax tree of Momentum's language: what stands in a file, not yet what it means.

``name = [ … ]``, ``name [ … ]``, ``name = { … }`` and ``type name { … }`` are all stanzas here: they differ
in brackets only, and the language's two generations use them for the same things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from .model import Place

__all__ = ["Include", "Item", "Listing", "Option", "Scalar", "Stanza", "Value"]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A bare word, or a quoted string with its escapes resolved."""

    text: str
    quoted: bool
    place: Place


@dataclass(frozen=True, slots=True)
class Listing:
    """``( a b … )``; commas between elements are not kept."""

    items: tuple[Value, ...]
    place: Place
    depth: int


@dataclass(frozen=True, slots=True)
class Option:
    """``name = value``."""

    name: Scalar
    value: Scalar | Listing


@dataclass(frozen=True, slots=True)
class Stanza:
    """Names and a body; without names inside a list.

    Attributes:
        names: optional type and names, as written.
        body: what stands between the brackets.
        braces: written with ``{ }`` rather than ``[ ]``.
        place: of the first name, or of the bracket.
        depth: how many levels of brackets it holds, itself included.
    """

    names: tuple[Scalar, ...]
    body: tuple[Item, ...]
    braces: bool
    place: Place
    depth: int


@dataclass(frozen=True, slots=True)
class Include:
    """``include "path"`` or ``readonly_include "path"``; to a reader the two are the same."""

    path: Scalar
    place: Place


Item: TypeAlias = Option | Stanza | Include
Value: TypeAlias = Scalar | Listing | Stanza
