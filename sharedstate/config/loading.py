"""From a path or a text to a `Configuration`: which language it is in, and who reads it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from .build import build
from .files import decode, read_text

if TYPE_CHECKING:
    from .draft import Draft
    from .model import Configuration

__all__ = ["load", "loads"]

_LANGUAGES = ("momentum", "toml")
# TOML of ours begins with a table; nothing in Momentum's language begins with a bracket.
_TABLE_FIRST = re.compile(r"(?:[ \t\n]|#[^\n]*(?:\n|\Z))*\[")


def load(path: str | os.PathLike[str]) -> Configuration:
    """Read a configuration file, with whatever it includes.

    The language is TOML when the name ends in ``.toml`` or the file begins with a table header, else
    Momentum's.

    Args:
        path: the file; errors and places name it as given.

    Raises:
        ConfigError: it cannot be read, does not parse, or says something that cannot be.
    """
    text = read_text(path)
    file = os.fspath(path)
    return _build(text, file, None)


def loads(text: str | bytes, *, language: str | None = None, file: str | None = None) -> Configuration:
    """Read a configuration from a text.

    Args:
        text: the text; bytes are UTF-8.
        language: ``momentum`` or ``toml``; None to tell as `load` does.
        file: what errors and places call it; relative includes are looked for beside it, then in the
            working directory.

    Raises:
        ConfigError: as `load`.
        ValueError: `language` is neither.
    """
    if language is not None and language not in _LANGUAGES:
        raise ValueError(f"language {language!r} is not known: give one of {', '.join(_LANGUAGES)}.")
    decoded = decode(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"), file)
    return _build(decoded, file, language)


def _build(text: str, file: str | None, language: str | None) -> Configuration:
    return build(_read(text, file, language))


def _read(text: str, file: str | None, language: str | None) -> Draft:
    # Each reader is imported when it is needed: lark and tomllib cost what nobody pays who does not use them.
    if language is None:
        named = file is not None and file.lower().endswith(".toml")
        language = "toml" if named or _TABLE_FIRST.match(text) else "momentum"
    if language == "toml":
        from . import native

        return native.read(text, file)
    from . import momentum

    return momentum.read(text, file)
