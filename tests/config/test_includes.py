"""include and readonly_include."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sharedstate.config import Configuration, load, loads
from sharedstate.errors import ConfigError

OBJECT = "replicate [ type = inbound_cidr ]"


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(configuration: Configuration) -> list[str]:
    return [spec.name for spec in configuration.objects]


def test_a_file_is_put_where_it_is_included(tmp_path: Path) -> None:
    """Given an include inside a stanza, I expect the file's options to belong to the stanza."""
    write(tmp_path, main="cluster { include 'part' }", part=f"{OBJECT}\nmember_timeout = 7")

    found = load(tmp_path / "main")

    assert names(found) == ["inbound_cidr"]
    assert found.member_timeout == 7
    assert str(found.place_of("inbound_cidr")) == f"{tmp_path}/part:1:1"
    assert found.files == (f"{tmp_path}/main", f"{tmp_path}/part")


def test_beside_the_including_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a file of that name in both places, I expect the one beside the including file."""
    write(tmp_path, main="include 'sub/a'", sub__a="include 'b'", sub__b="cluster { nodename = beside }")
    write(tmp_path, b="cluster { nodename = cwd }", sub__c="include 'only_in_cwd'")
    write(tmp_path, only_in_cwd="cluster { nodename = cwd }")
    monkeypatch.chdir(tmp_path)

    assert load("main").node == "beside"
    assert load("sub/c").node == "cwd"


def test_absolute_paths_and_text_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given text that came from no file, I expect its includes to start from the working directory."""
    write(tmp_path, part="cluster { nodename = n }")
    monkeypatch.chdir(tmp_path)

    assert loads(f'include "{tmp_path}/part"').node == "n"
    assert loads("include part").node == "n"
    assert loads("include part").files == ("part",)


def test_a_directory_is_read_in_alphabetical_order(tmp_path: Path) -> None:
    """Given a directory, I expect its files in order of their names; hidden ones and folders stay out."""
    write(tmp_path, main='readonly_include "conf.d"')
    folder = tmp_path / "conf.d"
    folder.mkdir()
    for name, node in (("b", "second"), ("a", "first"), ("c", "third")):
        (folder / name).write_text(f"cluster {{ nodename = {node} }}")
    (folder / ".hidden").write_text("not { read")
    (folder / "folder").mkdir()
    (folder / "folder" / "x").write_text("not { read")

    found = load(tmp_path / "main")

    assert found.node == "third"
    assert [Path(file).name for file in found.files] == ["main", "a", "b", "c"]


def test_a_file_may_be_included_twice(tmp_path: Path) -> None:
    """Twice is not a cycle."""
    write(tmp_path, main="A { include part } B { include part }", part="x = 1")

    assert len(load(tmp_path / "main").files) == 3


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value).replace(f"{path.parent}/", "")


def test_a_cycle_is_named_at_the_include_that_closes_it(tmp_path: Path) -> None:
    """Given a includes b includes a, I expect the place in b."""
    write(tmp_path, a="\n  include b", b="x = 1\ninclude 'a'")

    assert (
        refused(tmp_path / "a")
        == "b:2:1: 'a' includes itself, directly or through others: remove this include."
    )


def test_a_cycle_through_a_link_is_found(tmp_path: Path) -> None:
    """A link is the file it points to."""
    write(tmp_path, a="include link")
    (tmp_path / "link").symlink_to("a")

    assert "includes itself" in refused(tmp_path / "a")


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    """Both places are named, at the path in the include."""
    write(tmp_path, a="\ninclude 'gone.conf'")

    assert refused(tmp_path / "a") == (
        "a:2:9: no such file or directory to include: looked for 'gone.conf' and 'gone.conf'."
    )


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    """A name longer than any file's is not there."""
    write(tmp_path, a=f"include {'x' * 5000}")

    assert refused(tmp_path / "a").startswith("a:1:9: no such file or directory to include: looked for")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to root")
def test_an_unreadable_file(tmp_path: Path) -> None:
    """A file that may not be read is the fault of the include's line."""
    write(tmp_path, a="include b", b="")
    (tmp_path / "b").chmod(0)

    assert refused(tmp_path / "a") == "a:1:1: 'b' cannot be read: permission denied."


def test_a_broken_link_in_a_directory_is_skipped_and_one_included_is_not(tmp_path: Path) -> None:
    """A directory gives its files; a name that was asked for must be there."""
    write(tmp_path, a="include d", d__x="nodename = 1", b="include broken")
    (tmp_path / "d" / "broken").symlink_to("nowhere")
    (tmp_path / "broken").symlink_to("nowhere")

    assert len(load(tmp_path / "a").files) == 2
    assert "no such file or directory to include" in refused(tmp_path / "b")


def test_an_error_in_an_included_file_is_there(tmp_path: Path) -> None:
    """Given a syntax error in an included file, I expect that file's place."""
    write(tmp_path, a="include b", b="x = 1\ny =")

    assert refused(tmp_path / "a").startswith("b:2:3: expected a value after 'y ='")


def test_brackets_must_close_in_their_own_file(tmp_path: Path) -> None:
    """A stanza can't begin in one file and end in another."""
    write(tmp_path, a="include b\n}", b="x {")

    assert refused(tmp_path / "a").startswith("a:2:1: this '}' closes nothing")


@pytest.mark.parametrize("copies", [1, 2])
def test_files_that_multiply_are_stopped(tmp_path: Path, copies: int) -> None:
    """Given files that include the next one, once or twice, and so on, I expect an end before memory's."""
    for level in range(30):
        (tmp_path / f"f{level}").write_text(f"include f{level + 1}\n" * copies)
    (tmp_path / "f30").write_text("")

    assert "include each only once" in refused(tmp_path / "f0")
