"""Whatever bytes a file holds, reading it ends in a configuration or in a `ConfigError`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharedstate.config import loads
from sharedstate.errors import ConfigError

DATA = Path(__file__).parent / "data"
EXAMPLES = Path(__file__).parents[2] / "examples" / "config"

#: Included files are left out: random paths must not be opened.
SAMPLES = {
    "momentum": [
        (DATA / "production-v3.conf").read_text(encoding="utf-8").replace("include", "exclude"),
        (DATA / "production-v4.conf").read_text(encoding="utf-8").replace("include", "exclude"),
        (EXAMPLES / "v3.conf").read_text(encoding="utf-8"),
    ],
    "toml": [(EXAMPLES / "sharedstate.toml").read_text(encoding="utf-8")],
}
TOKENS = {
    "momentum": [
        *"{}[]()=#\"'\\\n \t,/*<>",
        "/*",
        "*/",
        "-1",
        "1e400",
        "cluster",
        "replicate",
        "type",
        "class",
        "cache",
        "Site",
        "Datasource",
        "Domain",
        "Binding",
        "domains",
        "monitor",
        "shards",
        "max_delay",
        "Cluster_Max_Outbound_Connections",
        "inbound_audit",
        "\ufeff",
        "ß",
        "𐀀",
    ],
    "toml": [
        *"{}[]=#\"'\\\n \t,.",
        "[[",
        "]]",
        '"""',
        "'''",
        "-1",
        "inf",
        "nan",
        "0x10",
        "1979-05-27",
        "true",
        "cluster",
        "replicate",
        "type",
        "class",
        "domains",
        "monitors",
        "shards",
        "max_delay",
        "cluster_max_outbound_connections",
        "limit",
        "site",
        "\\u0000",
        "ß",
        "𐀀",
    ],
}


def survive(text: str | bytes, language: str | None) -> None:
    try:
        loads(text, language=language, file="fuzz")
    except ConfigError as error:
        message = str(error)
        assert message.startswith("fuzz:")
        assert "\n" not in message
        assert message.endswith((".", "?"))
        for internal in ("RSQUARE", "LBRACE", "STRING", "Token", "$END"):
            assert internal not in message


@given(data=st.binary(max_size=200), language=st.sampled_from(["momentum", "toml", None]))
@settings(max_examples=300, deadline=None)
def test_random_bytes(data: bytes, language: str | None) -> None:
    """Given any bytes, in whatever language, I expect nothing but a ConfigError."""
    if b"include" not in data.lower():
        survive(data, language)


@pytest.mark.parametrize("language", ["momentum", "toml"])
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_random_tokens(language: str, data: Any) -> None:
    """Given words and signs of the language in any order, I expect nothing but a ConfigError."""
    words = data.draw(st.lists(st.sampled_from(TOKENS[language]), max_size=40))

    survive(data.draw(st.sampled_from(["", " "])).join(words), language)


@pytest.mark.parametrize("language", ["momentum", "toml"])
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_mutated_files(language: str, data: Any) -> None:
    """Given a real file with pieces cut out, doubled and put in, I expect nothing but a ConfigError."""
    text = data.draw(st.sampled_from(SAMPLES[language]))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        end = min(len(text), at + data.draw(st.integers(0, 12)))
        piece = data.draw(st.sampled_from(TOKENS[language]) | st.just(text[at:end]))
        text = data.draw(st.sampled_from([text[:at] + piece + text[at:], text[:at] + piece + text[end:]]))

    survive(text, language)
