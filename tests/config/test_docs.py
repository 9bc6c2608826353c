"""What docs/configuration.md shows can be used as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sharedstate.config import LimitKind, loads
from sharedstate.config.grammar import parse
from sharedstate.config.options import CLUSTER_OPTIONS, REPLICATE_OPTIONS, TYPES

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
TOML = [block for language, block in FENCED if language == "toml"]
MOMENTUM = [block for language, block in FENCED if not language and "{" in block and "$ " not in block]


@pytest.mark.parametrize("block", TOML)
def test_toml_blocks(block: str) -> None:
    """Each TOML block is a configuration."""
    loads(block, language="toml")


@pytest.mark.parametrize("block", MOMENTUM)
def test_momentum_blocks(block: str) -> None:
    """Each block in Momentum's language parses."""
    assert parse(block, None)


@pytest.mark.parametrize("name", [*CLUSTER_OPTIONS, *REPLICATE_OPTIONS, *TYPES.values(), *LimitKind])
def test_every_name_is_explained(name: str) -> None:
    """Every option and type that a configuration can hold is on the page."""
    assert f"`{name}`" in PAGE or f"= {name}`" in PAGE
