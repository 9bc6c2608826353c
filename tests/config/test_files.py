"""Reading files: encodings, line ends, and what is no text at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from sharedstate.config import load, loads
from sharedstate.errors import ConfigError

TEXT = 'cluster {\n  Replicate "inbound_cidr" { max_delay = soon }\n}\n'


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value).removeprefix(f"{path.parent}/")


@pytest.mark.parametrize("suffix", ["conf", "toml"])
def test_paths_that_cannot_be_read(tmp_path: Path, suffix: str) -> None:
    """A missing file and a directory are one sentence each."""
    (tmp_path / f"folder.{suffix}").mkdir()

    assert refused(tmp_path / f"x.{suffix}") == f"x.{suffix}: this cannot be read: no such file or directory."
    assert refused(tmp_path / f"folder.{suffix}") == f"folder.{suffix}: this cannot be read: is a directory."
    with pytest.raises(ConfigError, match="embedded null byte"):
        load("a\0b")


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (TEXT.encode(), "2:42"),
        (b"\xef\xbb\xbf" + TEXT.encode(), "2:42"),
        (TEXT.replace("\n", "\r\n").encode(), "2:42"),
        (TEXT.replace("\n", "\r").encode(), "2:42"),
        (b"\xef\xbb\xbf" + TEXT.replace("\n", "").encode(), "1:51"),
    ],
)
def test_marks_and_line_ends_do_not_move_places(tmp_path: Path, data: bytes, place: str) -> None:
    """A byte order mark and other systems' line ends are read, and lines and columns stay right."""
    (tmp_path / "a").write_bytes(data)

    assert refused(tmp_path / "a").startswith(f"a:{place}: max_delay must be a number of seconds")


@pytest.mark.parametrize("name", ["a", "a.toml"])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"x = 1\n# caf\xe9\n", ":2:6: byte 0xe9 is not UTF-8 text: save the file as UTF-8."),
        (b"\xef\xbb\xbf\xff", ":1:1: byte 0xff is not UTF-8 text: save the file as UTF-8."),
        ("x = 1".encode("utf-16"), ":1:1: this is UTF-16 text: save it as UTF-8."),
        (b"x = 1\n\0", ":2:1: this is not a text file: it holds a NUL byte."),
    ],
)
def test_what_is_not_text(tmp_path: Path, name: str, data: bytes, expected: str) -> None:
    """Bytes that are no UTF-8 text are named with their place."""
    (tmp_path / name).write_bytes(data)

    assert refused(tmp_path / name) == name + expected


def test_a_nul_byte_in_an_included_file(tmp_path: Path) -> None:
    """An included file is held to the same."""
    (tmp_path / "a").write_text("include b")
    (tmp_path / "b").write_bytes(b"x = \0")

    assert refused(tmp_path / "a").endswith("b:1:5: this is not a text file: it holds a NUL byte.")


def test_text_with_half_a_character() -> None:
    """A lone surrogate, as a name from the file system may hold, is no text either."""
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        loads("a = \udce9")
