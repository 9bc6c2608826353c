"""Files of a configuration: reading them, and putting included ones where they are included."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sharedstate.errors import ConfigError

from .syntax import Include, Item, Stanza

if TYPE_CHECKING:
    from .model import Place

__all__ = ["Tree", "decode", "read_text"]

#: Files read for one configuration. A directory of thousands is plausible, files that include each other
#: twice over at every level are not.
MAX_FILES = 10_000

#: Files that include files that include files.
MAX_CHAIN = 20


def read_text(path: str | os.PathLike[str], named_at: Place | None = None) -> str:
    r"""Text of a file, line ends as ``\\n``, without a byte order mark.

    Args:
        path: the file.
        named_at: the include that named it; what cannot be opened is that line's fault.

    Raises:
        ConfigError: it does not exist, is a directory, may not be read, or is not UTF-8 text.
    """
    shown = os.fspath(path)
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        what = "this" if named_at is None else repr(shown)
        raise _at(named_at, shown, f"{what} cannot be read: {_reason(error)}.") from error
    return decode(data, shown)


def decode(data: bytes, shown: str | None) -> str:
    """Decode a configuration's bytes.

    Raises:
        ConfigError: they are not UTF-8 text; names line and column of the first byte that is not.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError("this is UTF-16 text: save it as UTF-8.", shown, 1, 1)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The exception's object is what was decoded, the byte order mark already taken off.
        before = error.object[: error.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise ConfigError(
            f"byte 0x{error.object[error.start]:02x} is not UTF-8 text: save the file as UTF-8.",
            shown,
            line,
            column,
        ) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if (end := text.find("\0")) >= 0:
        line, column = text.count("\n", 0, end) + 1, end - text.rfind("\n", 0, end)
        raise ConfigError("this is not a text file: it holds a NUL byte.", shown, line, column)
    return text


class Tree:
    """The syntax tree of a configuration with its includes in place.

    Args:
        file: path of the main file as given, or None for text that came from no file.

    Attributes:
        files: the files read so far, in order, as errors name them.
    """

    def __init__(self, file: str | None) -> None:
        self.file = file
        self.files: list[str] = [] if file is None else [file]

    def load(self, text: str) -> tuple[Item, ...]:
        """Parse the main text and whatever it includes.

        Raises:
            ConfigError: a text does not parse, or an include cannot be followed.
        """
        return self._parse(text, self.file, () if self.file is None else (os.path.realpath(self.file),))

    def _parse(self, text: str, file: str | None, chain: tuple[str, ...]) -> tuple[Item, ...]:
        from .grammar import parse  # deferred: lark

        return self._expand(parse(text, file), file, chain)

    def _expand(self, items: Iterable[Item], file: str | None, chain: tuple[str, ...]) -> tuple[Item, ...]:
        expanded: list[Item] = []
        for item in items:
            if isinstance(item, Include):
                expanded.extend(self._include(item, file, chain))
            elif isinstance(item, Stanza):
                body = self._expand(item.body, file, chain)
                expanded.append(Stanza(item.names, body, item.braces, item.place, item.depth))
            else:
                # Dictionaries inside lists are left alone: no option of ours has one.
                expanded.append(item)
        return tuple(expanded)

    def _include(self, include: Include, file: str | None, chain: tuple[str, ...]) -> tuple[Item, ...]:
        path = self._find(include, file)
        if not path.is_dir():
            return self._include_file(path, include, chain)
        try:
            # Sub-directories stay out, as in the original; so do editors' and packages' hidden files.
            members = sorted(
                (member for member in path.iterdir() if member.is_file() and not member.name.startswith(".")),
                key=lambda member: member.name,
            )
        except OSError as error:
            raise _at(include.place, str(path), f"{str(path)!r} cannot be read: {_reason(error)}.") from error
        items: list[Item] = []
        for member in members:
            items.extend(self._include_file(member, include, chain))
        return tuple(items)

    def _include_file(self, path: Path, include: Include, chain: tuple[str, ...]) -> tuple[Item, ...]:
        real = os.path.realpath(path)
        if real in chain:
            raise _at(
                include.place,
                str(path),
                f"{str(path)!r} includes itself, directly or through others: remove this include.",
            )
        if len(self.files) >= MAX_FILES or len(chain) >= MAX_CHAIN:
            raise _at(
                include.place,
                str(path),
                f"more than {MAX_FILES} files are included, or more than {MAX_CHAIN} inside one another: "
                "include each only once.",
            )
        text = read_text(path, include.place)
        self.files.append(str(path))
        return self._parse(text, str(path), (*chain, real))

    def _find(self, include: Include, file: str | None) -> Path:
        named = include.path.text
        beside = Path(file).parent if file is not None else Path()
        # An absolute path swallows what stands left of it.
        candidates = dict.fromkeys((beside / named, Path(named)))
        for candidate in candidates:
            try:
                if candidate.exists():
                    return candidate
            except (OSError, ValueError):  # not ours to look into, or no path at all: reported below
                continue
        looked = " and ".join(repr(str(candidate)) for candidate in candidates)
        raise _at(include.path.place, file, f"no such file or directory to include: looked for {looked}.")


def _at(place: Place | None, file: str | None, sentence: str) -> ConfigError:
    if place is None:
        return ConfigError(sentence, file)
    return ConfigError(sentence, place.file, place.line, place.column)


def _reason(error: Exception) -> str:
    reason = (getattr(error, "strerror", None) or str(error)).strip().rstrip(".")
    return reason[:1].lower() + reason[1:]
