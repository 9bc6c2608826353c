"""Files that grow, move, shrink and come late."""

import gzip
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from sharedstate.errors import InvalidValueError
from sharedstate.ingest import Begin, Follower, PostfixLog, blocks, follow, stream_blocks
from sharedstate.ingest.source import MAX_LINE_BYTES

from ..support import poll
from .recorder import Recorder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mail.log"


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def read_all(follower: Follower) -> str:
    read = []
    while lines := follower.read():
        read.append(lines)
    return b"".join(read).decode()


def test_growth(path: Path):
    append(path, "one\n")
    follower = Follower(path)
    assert read_all(follower) == "one\n"
    assert read_all(follower) == ""
    append(path, "two\nthree\n")
    assert read_all(follower) == "two\nthree\n"
    follower.close()


def test_a_partial_line_waits_for_its_rest(path: Path):
    append(path, "one\ntw")
    follower = Follower(path)
    assert read_all(follower) == "one\n"
    append(path, "o")
    assert read_all(follower) == ""
    append(path, "\n")
    assert read_all(follower) == "two\n"
    follower.close()


def test_from_the_end(path: Path):
    append(path, "old\n")
    follower = Follower(path, at_end=True)
    append(path, "new\n")
    assert read_all(follower) == "new\n"
    follower.close()


def test_rotation_reads_what_the_writer_still_puts_into_the_old_file(path: Path):
    append(path, "one\n")
    follower = Follower(path)
    assert read_all(follower) == "one\n"
    old = path.rename(path.with_suffix(".log.1"))
    append(old, "two\n")
    assert read_all(follower) == "two\n", "the name is gone, the file is not"
    path.touch()
    append(old, "three\n")
    assert read_all(follower) == "three\n", "the new file is there, but its writer has not come to it yet"
    append(old, "four\n")
    append(path, "five\n")
    assert read_all(follower) == "four\nfive\n"
    append(path, "six\n")
    assert read_all(follower) == "six\n"
    follower.close()


def test_rotation_ends_a_partial_line(path: Path):
    append(path, "cut")
    follower = Follower(path)
    assert read_all(follower) == ""
    path.rename(path.with_suffix(".log.1"))
    append(path, "new\n")
    assert read_all(follower) == "cut\nnew\n"
    follower.close()


def test_several_rotations(path: Path):
    follower = Follower(path)
    read = ""
    for number in range(5):
        append(path, f"{number}\n")
        read += read_all(follower)
        path.rename(path.with_suffix(f".log.{number}"))
    assert read == "0\n1\n2\n3\n4\n"
    follower.close()


def test_truncation(path: Path):
    append(path, "one\ntwo\npart")
    follower = Follower(path)
    assert read_all(follower) == "one\ntwo\n"
    os.truncate(path, 0)
    append(path, "three\n")
    assert read_all(follower) == "three\n"
    follower.close()


def test_truncation_of_a_file_that_has_outgrown_its_old_size_since(path: Path):
    append(path, "one\n")
    follower = Follower(path)
    assert read_all(follower) == "one\n"
    os.truncate(path, 0)
    append(path, "another one\nand more\n")
    assert read_all(follower) == "another one\nand more\n"
    follower.close()


def test_a_file_that_comes_late_is_read_from_its_start(path: Path):
    follower = Follower(path, at_end=True)
    assert read_all(follower) == ""
    append(path, "one\n")
    assert read_all(follower) == "one\n"
    follower.close()


def test_a_large_file_comes_whole(path: Path):
    text = "".join(f"line {number}\n" for number in range(100_000))
    append(path, text)
    follower = Follower(path)
    assert read_all(follower) == text
    follower.close()


def test_a_line_without_end_takes_no_memory(path: Path):
    path.write_bytes(b"x" * (3 * MAX_LINE_BYTES) + b"\nshort\n")
    follower = Follower(path)
    assert read_all(follower) == "short\n"
    assert b"".join(blocks(path)) == b"short\n"
    follower.close()


def test_what_is_no_regular_file(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "."):
        with pytest.raises(InvalidValueError, match="not a regular file"):
            Follower(tmp_path / name)


def test_packed_files(tmp_path: Path):
    packed = tmp_path / "mail.log.2.gz"
    packed.write_bytes(gzip.compress(b"one\ntwo"))
    assert b"".join(blocks(packed)) == b"one\ntwo"
    packed.write_bytes(gzip.compress(os.urandom(5000))[:2000])
    with pytest.raises(InvalidValueError, match="damaged gzip file"):
        list(blocks(packed))


def test_progress_is_told_in_bytes_of_the_file(path: Path):
    append(path, "line\n" * 200_000)
    told: list[int] = []
    assert sum(map(len, blocks(path, progress=told.append))) == 1_000_000
    assert told == sorted(told)
    assert told[-1] == 1_000_000


def test_a_stream_is_read_to_its_end():
    reader, writer = os.pipe()
    os.write(writer, b"one\ntw")
    stream = stream_blocks(reader)
    assert next(stream) == b"one\n"
    os.write(writer, b"o")
    os.close(writer)
    assert b"".join(stream) == b"two"
    os.close(reader)


def test_a_stream_is_left_when_told_so():
    reader, writer = os.pipe()
    stopped = False
    stream = stream_blocks(reader, stopped=lambda: stopped)
    assert next(stream) == b""
    stopped = True
    assert list(stream) == []
    os.close(reader)
    os.close(writer)


class Following:
    """`follow` at work in a thread."""

    def __init__(self, path: Path, begin: Begin) -> None:
        self.events = Recorder()
        self.log = PostfixLog(self.events, catch_up=begin is Begin.SESSIONS)
        self.stop = threading.Event()
        self.polled = 0
        self.thread = threading.Thread(target=self._run, args=(path, begin))
        self.thread.start()
        self.wait(lambda: self.polled)

    def _run(self, path: Path, begin: Begin) -> None:
        follow([path], self.log, begin=begin, stop=self.stop, after_poll=self._count, poll=0.005)

    def _count(self) -> None:
        self.polled += 1

    def wait(self, predicate: Callable[[], object]) -> None:
        poll(predicate, 10.0, what="the follower to get there", interval=0.002)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()


EARLIER = (
    "postfix/smtpd[1]: connect from unknown[192.0.2.1]\n"
    "postfix/smtpd[2]: connect from unknown[192.0.2.2]\n"
    "postfix/smtpd[1]: disconnect from unknown[192.0.2.1]\n"
)
LATER = "postfix/smtpd[2]: NOQUEUE: reject: RCPT from unknown[192.0.2.2]: 554 5.7.1 no\n"


@pytest.mark.parametrize(
    ("begin", "events"),
    [
        (Begin.SESSIONS, [("connect", "192.0.2.2"), ("rejection", "192.0.2.2")]),
        (
            Begin.START,
            [
                ("connect", "192.0.2.1"),
                ("connect", "192.0.2.2"),
                ("disconnect", "192.0.2.1"),
                ("rejection", "192.0.2.2"),
            ],
        ),
        (Begin.END, [("connect", "192.0.2.2"), ("rejection", "192.0.2.2")]),
    ],
)
def test_what_the_file_holds_already(path: Path, begin: Begin, events: list[tuple[str, str]]):
    """At the end, the rejection itself shows that the session is open."""
    append(path, EARLIER)
    with Following(path, begin) as following:
        append(path, LATER)
        following.wait(lambda: len(following.events.told) >= len(events))
        assert following.events.told == events


def test_following_over_a_rotation(path: Path):
    append(path, EARLIER)
    with Following(path, Begin.SESSIONS) as following:
        path.rename(path.with_suffix(".log.1"))
        append(path, "postfix/smtpd[2]: disconnect from unknown[192.0.2.2]\n")
        following.wait(lambda: ("disconnect", "192.0.2.2") in following.events.told)
        assert following.log.open_sessions == []
