"""Where the keys and values of a TOML text stand.

tomllib tells line and column of a syntax error and then forgets them. This walks over a text that tomllib
has already accepted, so it has nothing to check: it only follows headers, keys, strings and brackets, and
mirrors the tables as `Spot`s.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from dataclasses import dataclass, field

from .model import Place

__all__ = ["Spot", "locate"]

_BLANK = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_BLANK_OR_COMMA = re.compile(r"(?:[ \t\n,]+|#[^\n]*)*")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_KEY = re.compile(r'[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
# The closing quotes of a multi-line string may have up to two quotes of the text right before them.
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{1,2})?|\'\'\'.*?\'\'\'(?:\'{1,2})?|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'',
    re.DOTALL,
)
_OTHER = re.compile(r"[^,\]}#\n]*")


@dataclass(slots=True)
class Spot:
    """Places of one value.

    Attributes:
        place: of its key or header; of the value itself in an array.
        value: of the value; of the header for a table with one.
        children: of a table, by key.
        items: of an array.
    """

    place: Place
    value: Place
    children: dict[str, Spot] = field(default_factory=dict)
    items: list[Spot] = field(default_factory=list)


def locate(text: str, file: str | None) -> Spot:
    """Mirror the tables of a text that tomllib accepts."""
    return _Walker(text, file).walk()


class _Walker:
    def __init__(self, text: str, file: str | None) -> None:
        self._text = text
        self._file = file
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._at = 0

    def walk(self) -> Spot:
        start = Place(self._file, 1, 1)
        root = table = Spot(start, start)
        while True:
            self._skip(_BLANK)
            if self._at >= len(self._text):
                return root
            if self._text[self._at] == "[":
                table = self._header(root)
            else:
                self._pair(table)

    def _header(self, root: Spot) -> Spot:
        place = self._place()
        array = self._text.startswith("[[", self._at)
        self._at += 2 if array else 1
        self._skip(_BLANK)
        table = root
        keys = self._keys()
        for index, (key, _) in enumerate(keys):
            child = table.children.setdefault(key, Spot(place, place))
            if array and index == len(keys) - 1:
                child.items.append(Spot(place, place))
            table = child.items[-1] if child.items else child
        self._skip(_BLANK)
        self._at += 2 if array else 1
        return table

    def _pair(self, table: Spot) -> None:
        *tables, (key, place) = self._keys()
        for name, above in tables:
            table = table.children.setdefault(name, Spot(above, above))
        self._skip(_BLANK)
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        table.children[key] = self._value(place)

    def _keys(self) -> list[tuple[str, Place]]:
        keys: list[tuple[str, Place]] = []
        while True:
            place = self._place()
            written = self._skip(_KEY)
            key: str = tomllib.loads(f"key = {written}")["key"] if written[0] in "\"'" else written
            keys.append((key, place))
            if not self._skip(_DOT):
                return keys

    def _value(self, key: Place | None) -> Spot:
        here = self._place()
        spot = Spot(key or here, here)
        opener = self._text[self._at]
        if opener == "[":
            self._at += 1
            while self._more("]"):
                spot.items.append(self._value(None))
        elif opener == "{":
            self._at += 1
            while self._more("}"):
                self._pair(spot)
        else:
            self._skip(_STRING if opener in "\"'" else _OTHER)
        return spot

    def _more(self, closer: str) -> bool:
        self._skip(_BLANK_OR_COMMA)
        if self._text[self._at] != closer:
            return True
        self._at += 1
        return False

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _place(self) -> Place:
        line = bisect_right(self._starts, self._at)
        return Place(self._file, line, self._at - self._starts[line - 1] + 1)
