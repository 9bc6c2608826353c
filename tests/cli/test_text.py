"""Nothing from outside may drive the operator's terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedstate_cli.views.text import printable

from sharedstate.specs import ObjectSpec

from .hands import HandMadeObject, fleet, member, run

HOSTILE = "ev\x1b[2Jil\x9b31m\u202e.com\x07\r\n"


@given(st.text())
def test_only_printable_characters_remain(text):
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable() or "\\" in text


@given(st.text(), st.text())
def test_two_names_never_look_the_same(one, other):
    assert (printable(one) == printable(other)) == (one == other)


def test_ordinary_names_stay_as_they_are():
    assert printable("mx1.example.com") == "mx1.example.com"
    assert printable("münchen.example") == "münchen.example"
    assert printable("a\\b") == "a\\\\b"


@pytest.mark.parametrize("form", ["table", "plain", "json", "csv"])
@pytest.mark.parametrize(
    "command",
    [
        ("shared", "show", "outbound_domains", "--by-node"),
        ("shared", "show", "outbound_domains", "from", HOSTILE),
        ("shared", "list"),
        ("membership",),
        ("info",),
        ("nodename",),
    ],
)
def test_hostile_names_are_shown_escaped(command, form):
    """Names from mail clients, and even names that only a hostile writer in Redis could make."""
    spec = ObjectSpec(name="outbound_domains", cls="outbound_domains")
    observer = fleet(
        held=[HandMadeObject(spec, {HOSTILE: {HOSTILE: 3, "[bold]x[/bold].com": 2}})],
        live=[member(HOSTILE, version=HOSTILE, address=HOSTILE, groups=(HOSTILE,))],
        node=HOSTILE,
        cluster=HOSTILE,
    )
    status, environment = run(*command, "--format", form, observer=observer, width=300)
    assert status == 0
    for written in (environment.output, environment.messages):
        assert all(line.isprintable() for line in written.split("\n"))
        assert "\u202e" not in written
    if command[1:2] == ("show",):
        assert "[bold]x[/bold].com" in environment.output


def test_hostile_arguments_are_escaped_in_errors():
    for command in (
        ("shared", "show", HOSTILE),
        (HOSTILE,),
        ("shared", "show", "inbound_cidr", "from", HOSTILE),
    ):
        status, environment = run(*command)
        assert status in (2, 4)
        assert environment.output == ""
        assert environment.messages.count("\n") == 1
        assert environment.messages[:-1].isprintable()
