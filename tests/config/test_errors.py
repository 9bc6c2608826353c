"""What is wrong, where, and what was expected: every sentence an operator can meet.

The cases stand in data/errors: a title after ``===``, the text, and after ``---`` the error.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sharedstate.config import loads
from sharedstate.errors import ConfigError

_CASE = re.compile(r"^=== (.*)\n((?:.*\n)*?)---\n(.*)\n", re.MULTILINE)
DATA = Path(__file__).parent / "data" / "errors"


def cases(name: str) -> list[object]:
    text = (DATA / f"{name}.txt").read_text(encoding="utf-8")
    found = _CASE.findall(text)
    assert len(found) == text.count("=== ")
    return [pytest.param(case.removesuffix("\n"), expected, id=title) for title, case, expected in found]


def refused(text: str, **options: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loads(text, **options)
    return str(caught.value)


@pytest.mark.parametrize(("text", "expected"), cases("syntax"))
def test_syntax(text: str, expected: str) -> None:
    """A text that does not parse is explained in words, at the place that has to be changed."""
    assert f"x.conf:{expected}" == refused(text, file="x.conf")


@pytest.mark.parametrize(("text", "expected"), cases("cluster"))
def test_cluster_stanza(text: str, expected: str) -> None:
    """Wrong values, and things that do not belong in the cluster stanza."""
    assert expected == refused(text)


@pytest.mark.parametrize(("text", "expected"), cases("other"))
def test_other_stanzas(text: str, expected: str) -> None:
    """Wrong values elsewhere, and things that do not fit together."""
    assert expected == refused(text)


@pytest.mark.parametrize(("text", "expected"), cases("toml"))
def test_toml(text: str, expected: str) -> None:
    """The same for TOML, whose unknown keys are errors everywhere."""
    assert expected == refused(text, language="toml")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a [" * 60 + "]" * 60, "1:28"),
        ("a = " + "(" * 60 + ")" * 60, "1:14"),
        ("a { b = ( [ " * 20 + "] ) }" * 20, "1:37"),
        ("a [" * 20_000 + "]" * 20_000, "1:59848"),
    ],
)
def test_brackets_too_deep(text: str, place: str) -> None:
    """However deep the brackets are, the answer is a sentence."""
    assert f"{place}: brackets are nested more than 50 deep: split the stanza." == refused(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"a = {'[' * 5000}{']' * 5000}", "brackets are nested too deeply: split the value."),
        (
            f"[cluster]\nshards = {'9' * 5000}",
            "this TOML holds a number of thousands of digits: write a smaller one.",
        ),
    ],
)
def test_toml_beyond_measure(text: str, expected: str) -> None:
    """What Python's own parser stumbles over is a sentence, too."""
    assert f"x.toml: {expected}" == refused(text, file="x.toml")


def test_the_error_knows_its_place() -> None:
    """Programs find file, line and column without taking the sentence apart."""
    with pytest.raises(ConfigError) as caught:
        loads("cluster {\n  shards = 0 }", file="a.conf")

    assert (caught.value.file, caught.value.line, caught.value.column) == ("a.conf", 2, 12)


@pytest.mark.parametrize(
    "text",
    [
        "shards = 0 redis_ur = x",
        "Foo { replicat [ type = x ] shards = 0 }",
        "Binding { x = 1 } Domain a { Domain b { } }",
        "Foo { Domain x { Cluster_Max_Outbound_Connections = many } }",
        "ds_core { x = 1 }",
        "cluster { uri = ( a [ b = c ] ) foo { shards = 0 } nodeaddr = 10.0.0.1 cluster_listener = *:4802 }",
        "inbound_audit { monitoring = x } outbound_audit { logs [ a = b ] }",
    ],
)
def test_what_is_not_ours_is_skipped(text: str) -> None:
    """Names of ours in stanzas that are not, and other options in stanzas that are, refuse nothing."""
    loads(text)
