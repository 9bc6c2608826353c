"""Text that is safe to show on a terminal."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    r"""Return `text` with everything that could drive a terminal shown as an escape, such as ``\x1b``.

    Names come from mail clients. Control characters, bidirectional overrides, invisible and unassigned
    characters are replaced; a backslash is doubled, so that what is shown can be read in one way only.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
