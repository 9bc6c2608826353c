"""What may be written, and what stands in the tree then."""

from __future__ import annotations

from typing import Any

import pytest

from sharedstate.config.grammar import parse
from sharedstate.config.syntax import Include, Item, Listing, Option, Scalar, Stanza


def plain(item: Any) -> Any:
    """A node as Python values: an option is a pair, a stanza names and body, quoted text marked by ~."""
    match item:
        case Scalar(text=text, quoted=quoted):
            return f"~{text}" if quoted else text
        case Listing(items=items):
            return [plain(one) for one in items]
        case Option(name=name, value=value):
            return (plain(name), plain(value))
        case Stanza(names=names, body=body, braces=braces):
            return (" ".join(plain(name) for name in names), "{" if braces else "[", *map(plain, body))
        case Include(path=path):
            return ("include", plain(path))
    raise AssertionError(item)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("# nothing\n/* at all */", []),
        ("a = b", [("a", "b")]),
        ("a=b c=d", [("a", "b"), ("c", "d")]),
        ("a\n=\nb", [("a", "b")]),
        ('a = "b c"', [("a", "~b c")]),
        ("a = 'b \"c\"'", [("a", '~b "c"')]),
        ("a = don't", [("a", "don't")]),
        ('a = ""', [("a", "~")]),
        ('a = "x\\n\\t\\"\\\\\\d"', [("a", '~x\n\t"\\\\d')]),
        ('a = "one\\\ntwo"', [("a", "~onetwo")]),
        ('a = "one\ntwo # no comment /* nor this */"', [("a", "~one\ntwo # no comment /* nor this */")]),
        ("a = -1.5", [("a", "-1.5")]),
        ("a = 75% b = 30s", [("a", "75%"), ("b", "30s")]),
        ("a = *:4802", [("a", "*:4802")]),
        ("a = digest:///opt/etc/passwd", [("a", "digest:///opt/etc/passwd")]),
        ("a = b# comment\nc = d", [("a", "b"), ("c", "d")]),
        ("a = b/* comment */c = d", [("a", "b"), ("c", "d")]),
        ("a = b /* not /* nested */ c = d", [("a", "b"), ("c", "d")]),
        ("a = <>", [("a", "<>")]),
        ("a = ()", [("a", [])]),
        ('a = ( b "c" d )', [("a", ["b", "~c", "d"])]),
        ('a = ("b","c", d, e )', [("a", ["~b", "~c", "d", "e"])]),
        ("a = ( 10.0.0.1:25,200 )", [("a", ["10.0.0.1:25,200"])]),
        ("a = ( ( b ) [ c = d ] )", [("a", [["b"], ("", "[", ("c", "d"))])]),
        ('a = ( b <x="1"> [ c = d ] e )', [("a", ["b", ("", "[", ("c", "d")), "e"])]),
        ("s { }", [("s", "{")]),
        ("s{a=b}", [("s", "{", ("a", "b"))]),
        ('Type name "third name" { a = b }', [("Type name ~third name", "{", ("a", "b"))]),
        ('Logger g/m m <name="x" y=z> { a = b }', [("Logger g/m m", "{", ("a", "b"))]),
        ("s = { a = b }", [("s", "{", ("a", "b"))]),
        ("d [ a = b c = d ]", [("d", "[", ("a", "b"), ("c", "d"))]),
        ("d = [\na = b\n]", [("d", "[", ("a", "b"))]),
        ("10.0.0.0/24 [ a = b ]", [("10.0.0.0/24", "[", ("a", "b"))]),
        ("s { t u { d [ a = ( b ) ] } }", [("s", "{", ("t u", "{", ("d", "[", ("a", ["b"]))))]),
        ("Listen /tmp/2025 { }", [("Listen /tmp/2025", "{")]),
        (r"Domain /yahoo\.co(m|\.uk)$/ { }", [(r"Domain /yahoo\.co(m|\.uk)$/", "{")]),
        (r"Domain /[a-z]{2}\/x/{ a = b }", [(r"Domain /[a-z]{2}\/x/", "{", ("a", "b"))]),
        ('include "a/b"', [("include", "~a/b")]),
        ("ReadOnly_Include a.conf b = c", [("include", "a.conf"), ("b", "c")]),
        ('s { include "x" a = b }', [("s", "{", ("include", "~x"), ("a", "b"))]),
        ("include = yes", [("include", "yes")]),
        ("a = include", [("a", "include")]),
        ("included { }", [("included", "{")]),
        ("ä = ö", [("ä", "ö")]),
        ("a\u00a0=\u00a0b", [("a", "b")]),
    ],
)
def test_texts_that_parse(text: str, expected: list[Any]) -> None:
    """Each text becomes the tree beside it."""
    assert expected == [plain(item) for item in parse(text, None)]


def test_places_are_of_the_names() -> None:
    """Given nested stanzas, I expect each node to know its line and column."""
    items: tuple[Item, ...] = parse("\n  Type 'n' {\n    a =\n      ( b\n c )\n\t}\n", "f")

    stanza = items[0]
    assert isinstance(stanza, Stanza)
    assert [str(name.place) for name in stanza.names] == ["f:2:3", "f:2:8"]
    option = stanza.body[0]
    assert isinstance(option, Option)
    assert str(option.name.place) == "f:3:5"
    assert isinstance(option.value, Listing)
    assert str(option.value.place) == "f:4:7"
    assert [str(item.place) for item in option.value.items] == ["f:4:9", "f:5:2"]
