"""Questions to exported files agree with a plain model; pruning loses nothing, however it ends."""

from __future__ import annotations

import gzip
import ipaddress
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharedstate.errors import InvalidValueError, MissingExtraError
from sharedstate.exports import prune as pruning
from sharedstate.exports.files import FORMATS, ExportFile, export_files, write_rows
from sharedstate.exports.prune import prune
from sharedstate.exports.query import FileQuery, query
from sharedstate.names import field_text

from .runs import KILLED, forked, rows_of

START = 1767621600  # 2026-01-05 14:00 UTC

keys = st.one_of(
    st.builds("10.1.{}.{}".format, st.integers(0, 2), st.integers(0, 255)),
    st.builds(lambda n: str(ipaddress.IPv4Address(n)), st.integers(0, 2**32 - 1)),
    st.builds("2001:db8:1:{:x}::{:x}".format, st.integers(1, 3), st.integers(1, 700)),
    st.builds(lambda n: field_text(b"6" + n.to_bytes(16)), st.integers(0, 2**128 - 1)),
    st.builds(lambda n: field_text(b"6" + n.to_bytes(16)), st.integers(0, 2**32 - 1)),
)
windows = st.lists(
    st.tuples(
        st.sampled_from(["spam", "virus", "spam-2"]),
        st.integers(0, 3),
        st.dictionaries(keys, st.integers(-5, 1 << 40), max_size=12),
    ),
    max_size=6,
    unique_by=lambda window: window[:2],
)


def put(
    folder: Path, series: str, window: int, rows: dict[str, int], format_: str = "csv", packed: bool = False
) -> Path:
    file = ExportFile(start=START + 300 * window, seconds=300, series=series, format=format_, gzip=packed)
    write_rows(folder / file.name, file, rows.items())
    return folder / file.name


def network(key: str, mask: int | None) -> str:
    if mask is None:
        return key
    address = ipaddress.ip_address(key)
    return str(ipaddress.ip_network((address, min(mask, address.max_prefixlen)), strict=False))


@settings(max_examples=40, deadline=None)
@given(
    written=windows,
    kinds=st.lists(
        st.sampled_from(
            [("csv", False), ("csv", True), ("jsonl", False), ("jsonl", True), ("parquet", False)]
        ),
        min_size=6,
        max_size=6,
    ),
    patterns=st.sampled_from([(), ("spam",), ("spam", "virus"), ("spam.*",)]),
    block=st.sampled_from(
        [None, "10.1.0.0/16", "10.1.2.0/25", "0.0.0.0/0", "2001:db8:1:2::/64", "::/0", "10.1.1.7"]
    ),
    mask=st.sampled_from([None, 0, 8, 24, 32, 64, 128]),
    since=st.integers(0, 4),
    threshold=st.sampled_from([None, 3]),
    limit=st.sampled_from([None, 4]),
)
@pytest.mark.slow
def test_answers_agree_with_a_model(
    tmp_path_factory: pytest.TempPathFactory,
    written: list[tuple[str, int, dict[str, int]]],
    kinds: Sequence[tuple[str, bool]],
    patterns: tuple[str, ...],
    block: str | None,
    mask: int | None,
    since: int,
    threshold: int | None,
    limit: int | None,
) -> None:
    folder = tmp_path_factory.mktemp("files")
    wanted: Counter[str] = Counter()
    for (series, window, rows), (format_, packed) in zip(written, kinds, strict=False):
        put(folder, series, window, rows, format_, packed)
        chosen = not patterns or series in patterns or ("spam.*" in patterns and series.startswith("spam"))
        if not chosen or window < since:
            continue
        for key, count in rows.items():
            address = ipaddress.ip_address(key)
            inside = block is None or (
                (net := ipaddress.ip_network(block)).version == address.version and address in net
            )
            if inside:
                wanted[network(key, mask)] += count
    answer = query(
        folder,
        FileQuery(
            series=patterns,
            block=block,
            since=START + 300 * since,
            mask=mask,
            threshold=threshold,
            limit=limit,
        ),
    )
    found = dict(answer.rows)
    assert len(found) == len(answer.rows)
    assert all(wanted[key] == count for key, count in found.items())
    ranked = sorted(
        (count for count in wanted.values() if threshold is None or count >= threshold), reverse=True
    )
    assert [count for _, count in answer.rows] == ranked[:limit]


def test_more_questions(tmp_path: Path) -> None:
    put(tmp_path, "spam", 0, {"192.0.2.1": 1, "192.0.2.2": 2})
    put(tmp_path, "spam", 1, {"192.0.2.1": 4})
    put(tmp_path, "words", 1, {'it\'s, "quoted"': 8, "1.2.3": 1, "a:b": 2})
    by_window = query(tmp_path, FileQuery(series=("spam",), order="start", mask=24))
    assert by_window.columns == ("start", "key", "count")
    assert by_window.rows == [(START, "192.0.2.0/24", 3), (START + 300, "192.0.2.0/24", 4)]
    apart = query(tmp_path, FileQuery(by_series=True, order="key"))
    assert apart.columns == ("series", "key", "count")
    assert ("words", 'it\'s, "quoted"', 8) in apart.rows
    assert apart.files == 3
    assert query(tmp_path, FileQuery(series=("words",), mask=24)).rows == [
        ('it\'s, "quoted"', 8),
        ("a:b", 2),
        ("1.2.3", 1),
    ]
    assert query(tmp_path, FileQuery(until=START + 300, series=("spam",))).rows == [
        ("192.0.2.2", 2),
        ("192.0.2.1", 1),
    ]
    assert query(tmp_path, FileQuery(node="a")).rows == []


def test_what_a_query_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "spam", 0, {"192.0.2.1": 1})
    for asked, sentence in (
        (FileQuery(series=("(",)), "not a regular expression"),
        (FileQuery(block="192.0.2.0/33"), "prefix length"),
        (FileQuery(mask=129), "0 to 128"),
        (FileQuery(order="size"), "count, key, start"),
    ):
        with pytest.raises(InvalidValueError, match=sentence):
            query(tmp_path, asked)
    with pytest.raises(InvalidValueError, match="not a folder"):
        query(tmp_path / "nowhere", FileQuery())
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(MissingExtraError, match=r"sharedstate\[export\]"):
        query(tmp_path, FileQuery())
    monkeypatch.undo()
    hour = ExportFile(start=START, seconds=3600, series="spam")
    write_rows(tmp_path / hour.name, hour, [("192.0.2.1", 1)])
    with pytest.raises(InvalidValueError, match="choose by --seconds"):
        query(tmp_path, FileQuery())
    assert query(tmp_path, FileQuery(seconds=3600)).rows == [("192.0.2.1", 1)]
    masked = ExportFile(start=START, seconds=300, series="spam", mask=24)
    write_rows(tmp_path / masked.name, masked, [("192.0.2.0/24", 1)])
    with pytest.raises(InvalidValueError, match="folders of their own"):
        query(tmp_path, FileQuery(seconds=300))


def test_prune(tmp_path: Path) -> None:
    day = 86_400
    for age in range(5):
        put(tmp_path, "spam", -288 * age, {"192.0.2.1": age + 1})
    put(tmp_path, "virus", -288 * 4, {"192.0.2.1": 9})
    (tmp_path / "notes.txt").write_text("mine")
    report = prune(
        tmp_path, now=START + 300, keep=3.5 * day, compress=1.5 * day, chosen=lambda name: name == "spam"
    )
    assert (report.removed, report.compressed) == (1, 2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name.partition("-300s-")[2] for name in names if "300s" in name] == [
        "virus.csv",
        "spam.csv.gz",
        "spam.csv.gz",
        "spam.csv",
        "spam.csv",
    ]
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert sorted(int(row["count"]) for row in rows_of(tmp_path)) == [1, 2, 3, 4, 9]
    assert prune(tmp_path, now=START + 300, keep=None, compress=1.5 * day).compressed == 1
    assert prune(tmp_path, now=START + 30 * day, keep=day, compress=None).removed == 5
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_prune_killed_at_every_step(tmp_path: Path) -> None:
    """Rows are there exactly once at every moment, and the next run tidies up."""
    rows = {f"192.0.2.{last}": last for last in range(1, 50)}

    def doomed(folder: Path, at: int) -> int:
        steps = 0

        def stepped(function: Any) -> Any:
            def wrapped(*args: Any, **keywords: Any) -> Any:
                nonlocal steps
                steps += 1
                if steps >= at:
                    os._exit(KILLED)
                return function(*args, **keywords)

            return wrapped

        os.fsync = stepped(os.fsync)  # type: ignore[assignment]
        pruning.settle = stepped(pruning.settle)  # type: ignore[attr-defined]
        Path.replace = stepped(Path.replace)  # type: ignore[method-assign]
        Path.unlink = stepped(Path.unlink)  # type: ignore[method-assign]
        prune(folder, now=START + 86_400, keep=None, compress=10)
        return 0

    at = 0
    while True:
        at += 1
        folder = tmp_path / str(at)
        folder.mkdir()
        path = put(folder, "spam", 0, rows)
        status = forked(lambda folder=folder, at=at: doomed(folder, at))  # type: ignore[misc]
        assert len(rows_of(folder)) == len(rows)
        assert query(folder, FileQuery(mask=0)).rows == [("0.0.0.0/0", sum(rows.values()))]
        prune(folder, now=START + 86_400, keep=None, compress=10)
        assert [one.name for one in folder.iterdir()] == [path.name + ".gz"]
        assert gzip.decompress((folder / (path.name + ".gz")).read_bytes()).startswith(
            b"start,seconds,series"
        )
        if status != KILLED:
            break
    assert at > 4
    assert len(list(export_files(tmp_path / "1"))) == 1


@pytest.mark.parametrize("format_", FORMATS)
def test_a_failure_leaves_no_file(tmp_path: Path, format_: str) -> None:
    def rows() -> Any:
        yield "192.0.2.1", 1
        raise OSError(28, "No space left on device")

    file = ExportFile(start=START, seconds=300, series="spam", format=format_)
    with pytest.raises(OSError, match="No space"):
        write_rows(tmp_path / file.name, file, rows())
    assert list(tmp_path.iterdir()) == []
