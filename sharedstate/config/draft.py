"""What both languages are read into before anything is checked: sections of named values with their places.

A reader (`momentum`, `native`) knows where things stand in its language and nothing of what is allowed;
`build` knows what is allowed and nothing of brackets. The value readers here turn one entry into one Python
value or raise an error at the value's place.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from sharedstate.errors import ConfigError

if TYPE_CHECKING:
    from .model import Place, Scope, Skipped

__all__ = [
    "Draft",
    "Entry",
    "Raw",
    "Section",
    "boolean",
    "fail",
    "integer",
    "number",
    "suggest",
    "text",
    "texts",
]

#: Text as Momentum's language has it, or what TOML makes of a value; other TOML types arrive as they are.
Raw: TypeAlias = object

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}\Z")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})\Z")
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "enabled", "1"), True),
    **dict.fromkeys(("false", "no", "off", "disabled", "0"), False),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One option.

    Attributes:
        name: in lower case.
        value: a text, number or boolean, or a tuple of such.
        place: of the name.
        value_place: of the value.
        items: places of the elements, when the value is a tuple.
    """

    name: str
    value: Raw
    place: Place
    value_place: Place
    items: tuple[Place, ...] = ()

    @property
    def elements(self) -> tuple[tuple[Raw, Place], ...]:
        """The values with their places; a single value is one element."""
        if isinstance(self.value, tuple):
            return tuple(zip(self.value, self.items, strict=True))
        return ((self.value, self.value_place),)


@dataclass(slots=True)
class Section:
    """The entries of one stanza or table, last one winning.

    Attributes:
        noun: what errors call it, such as ``replicate stanza``.
        place: where it begins.
        name: its name, where the language puts one outside of the entries.
        name_place: where that name stands.
        entries: by name.
    """

    noun: str
    place: Place
    name: str | None = None
    name_place: Place | None = None
    entries: dict[str, Entry] = field(default_factory=dict)

    def only(self, allowed: Collection[str]) -> None:
        """Refuse entries that are not in `allowed`, suggesting the nearest that is."""
        for entry in self.entries.values():
            if entry.name not in allowed:
                raise fail(
                    entry.place, f"a {self.noun} has no option {entry.name!r}: {suggest(entry.name, allowed)}"
                )


@dataclass(slots=True)
class Draft:
    """A configuration as written.

    Attributes:
        cluster: options of the cluster stanzas, merged.
        replicates: the replicate stanzas, in order.
        datasources: the datasources, in order.
        sites: the sites, in order.
        inbound_audit: options of the inbound_audit stanza.
        outbound_audit: options of the outbound_audit stanza.
        limits: limits with their scopes, in order.
        skipped: what does not concern shared state.
        files: the files read.
    """

    cluster: Section | None = None
    replicates: list[Section] = field(default_factory=list)
    datasources: list[Section] = field(default_factory=list)
    sites: list[Section] = field(default_factory=list)
    inbound_audit: Section | None = None
    outbound_audit: Section | None = None
    limits: list[tuple[Scope, Entry]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def fail(place: Place, sentence: str) -> ConfigError:
    """An error at a place, to be raised."""
    return ConfigError(sentence, place.file, place.line, place.column)


def suggest(word: str, known: Collection[str]) -> str:
    """End of a sentence: the near name, or all of them."""
    lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    if near:
        return f"did you mean {lower[near[0]]!r}?"
    return f"known: {', '.join(known)}."


def text(entry: Entry) -> str:
    """A text that is not empty."""
    value = entry.value
    if not isinstance(value, str):
        raise fail(entry.value_place, f"{entry.name} must be one text; found {_shown(value)}.")
    if not value.strip() or "\0" in value:
        raise fail(
            entry.value_place, f"{entry.name} must be a text that is not empty; found {_shown(value)}."
        )
    return value


def texts(entry: Entry, *, separators: str = "") -> list[tuple[str, Place]]:
    """One text or several, each with its place.

    Args:
        entry: the option.
        separators: characters that also separate texts inside one string.
    """
    found: list[tuple[str, Place]] = []
    for value, place in entry.elements:
        if not isinstance(value, str):
            raise fail(place, f"{entry.name} must be texts; found {_shown(value)}.")
        parts = re.split(f"[{re.escape(separators)}]", value) if separators else [value]
        stripped = [part.strip() for part in parts]
        if not any(stripped):
            raise fail(place, f"{entry.name} has an empty text: leave it out.")
        found.extend((part, place) for part in stripped if part)
    return found


def integer(entry: Entry, least: int, most: int) -> int:
    """A whole number from `least` to `most`."""
    value = entry.value
    if isinstance(value, str) and _INTEGER.match(value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise fail(
            entry.value_place,
            f"{entry.name} must be a whole number from {least} to {most}; found {_shown(entry.value)}.",
        )
    return value


def number(entry: Entry, least: float, most: float, unit: str) -> float:
    """A number from `least` to `most`, fractions allowed."""
    value = entry.value
    if isinstance(value, str) and _NUMBER.match(value.strip()):
        value = float(value)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not least <= value <= most
    ):
        raise fail(
            entry.value_place,
            f"{entry.name} must be a number of {unit} from {least:g} to {most:g}; "
            f"found {_shown(entry.value)}.",
        )
    return float(value)


def boolean(entry: Entry) -> bool:
    """True or false, in the words mail servers use."""
    value = entry.value
    if isinstance(value, str):
        value = _BOOLEANS.get(value.strip().lower())
    if not isinstance(value, bool):
        raise fail(entry.value_place, f"{entry.name} must be true or false; found {_shown(entry.value)}.")
    return value


def _shown(value: Raw) -> str:
    if isinstance(value, tuple):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, bool):
        return str(value).lower()
    shown = repr(value) if isinstance(value, str) else str(value)
    return shown if len(shown) <= 60 else f"{shown[:59]}…"
