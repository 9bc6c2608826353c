"""Exports on a real cluster: every closed window is in one file, however and wherever runs end."""

from __future__ import annotations

import gzip
import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import sharedstate
from sharedstate.errors import InvalidValueError, UnknownNodeError
from sharedstate.exports.files import ExportFile, duckdb
from sharedstate.exports.job import Exporter, ExportReport
from sharedstate.observer import Observer

from ..support import poll
from .runs import BUSY, DONE, FAILED, KILLED, export, rows_of, windows_of

COUNTS = {"192.0.2.1": 3, "192.0.2.200": 4, "198.51.100.9": 5}


def count_before(url: str, windows: int) -> None:
    """Count the same in each of some windows before this one."""
    with sharedstate.connect(url, node="a") as state:
        state.audit.define("spam", "300,6", "cidr", "cluster", shards=2)
        for window in range(1, windows + 1):
            state.audit.adjust_many("spam", COUNTS, window)


@pytest.fixture
def observer(url: str) -> Iterator[Observer]:
    """A fleet that counted in five windows."""
    count_before(url, 5)
    with sharedstate.observe(url) as opened:
        yield opened


def run(observer: Observer, folder: Path, **options: object) -> ExportReport:
    return Exporter(observer.audit, folder, settle=0, **options).export(observer.audit.series())  # type: ignore[arg-type]


def test_each_window_once(observer: Observer, tmp_path: Path) -> None:
    report = run(observer, tmp_path)
    # Between the first count and this, a window may have ended.
    assert 5 <= report.windows <= 7
    assert (report.rows, report.lost, report.busy, report.unsure) == (15, 0, [], [])
    assert len(report.files) == 5, "windows without rows have no file"
    assert sorted(path.name for path in tmp_path.iterdir()) == report.files == sorted(report.files)
    rows = rows_of(tmp_path)
    assert {(row["key"], int(row["count"])) for row in rows} == set(COUNTS.items())
    assert {row["start"] for row in rows} == {str(ExportFile.of(name).start) for name in report.files}  # type: ignore[union-attr]
    assert {(row["seconds"], row["series"], row["node"]) for row in rows} == {("300", "spam", "")}
    again = run(observer, tmp_path)
    assert (again.files, again.rows) == ([], 0)


def test_other_hosts_and_other_exports(observer: Observer, tmp_path: Path) -> None:
    here, there, networks, part = (tmp_path / name for name in ("here", "there", "networks", "part"))
    for folder in (here, there, networks, part):
        folder.mkdir()
    assert len(run(observer, here).files) == 5
    assert run(observer, there).files == []
    assert len(run(observer, networks, mask=24).files) == 5
    assert {(row["key"], row["count"]) for row in rows_of(networks)} == {
        ("192.0.2.0/24", "7"),
        ("198.51.100.0/24", "5"),
    }
    report = run(observer, part, node="A")
    assert report.files[0].endswith("-300s-spam@a.csv")
    assert {row["node"] for row in rows_of(part)} == {"a"}
    assert len(run(observer, there, job="second").files) == 5


@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_formats(observer: Observer, tmp_path: Path, format_: str, packed: bool) -> None:
    if format_ == "parquet" and packed:
        with pytest.raises(InvalidValueError, match="compressed inside"):
            run(observer, tmp_path, format=format_, gzip=True)
        return
    report = run(observer, tmp_path, format=format_, gzip=packed)
    path = tmp_path / report.files[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == report.files
    if format_ == "parquet":
        rows = duckdb().execute(f"SELECT key, count FROM read_parquet('{path}')").fetchall()
    elif format_ == "jsonl":
        lines = (gzip.decompress(path.read_bytes()) if packed else path.read_bytes()).splitlines()
        rows = [(row["key"], row["count"]) for row in map(json.loads, lines)]
    else:
        rows = [
            (row["key"], int(row["count"]))
            for row in rows_of(tmp_path)
            if row["start"] == str(ExportFile.of(path.name).start)
        ]  # type: ignore[union-attr]
    assert sorted(rows) == sorted(COUNTS.items())


def test_windows_that_no_run_came_to(url: str, tmp_path: Path) -> None:
    with sharedstate.connect(url, node="a") as state:
        state.audit.define("spam", "1,3", "cidr", "cluster")
        # As if the last run had been an hour ago.
        key = state._keys.audit_export("spam", 1, "default")
        now = int(state.audit._core.clock.now())
        from sharedstate.call import command

        state._link.execute([command("HSET", key, "next", now - 3600, key=key, decode=int, resend=True)])
        report = run(state, tmp_path)
        assert 3500 <= report.lost <= 3600
        assert run(state, tmp_path).lost == 0


def test_a_run_that_hangs_is_taken_over(observer: Observer, tmp_path: Path) -> None:
    """It finds out before it marks a window, and leaves nothing behind."""
    slow, quick = tmp_path / "slow", tmp_path / "quick"
    slow.mkdir()
    quick.mkdir()
    other: list[ExportReport] = []

    def hang(_: int) -> None:
        if not other:
            poll(lambda: not (report := run(observer, quick)).busy and not other.append(report))  # type: ignore[func-returns-value]

    exporter = Exporter(observer.audit, slow, settle=0, lease=0.05, advance=hang)
    report = exporter.export(observer.audit.series())
    assert len(other[0].files) == 5
    assert report.files == []
    assert list(slow.iterdir()) == []


def test_while_another_run_is_at_it(observer: Observer, tmp_path: Path) -> None:
    inner: list[ExportReport] = []
    exporter = Exporter(
        observer.audit, tmp_path, settle=0, advance=lambda _: inner.append(run(observer, tmp_path))
    )
    assert len(exporter.export(observer.audit.series()).files) == 5
    assert all(report.busy == ["spam 300"] and not report.files for report in inner)


def test_a_disk_that_is_full(observer: Observer, url: str, tmp_path: Path) -> None:
    assert export(url, tmp_path, settle=0, file_limit=40) == FAILED
    assert list(tmp_path.iterdir()) == []
    assert export(url, tmp_path, settle=0) == DONE
    assert len(rows_of(tmp_path)) == 15


@pytest.mark.slow
def test_killed_at_every_step(url: str, tmp_path: Path) -> None:
    """A run dies one step later than the last, another host goes on; the union has each window once."""
    count_before(url, 2)
    folders = (tmp_path / "one", tmp_path / "two")
    for folder in folders:
        folder.mkdir()
    step = 0
    while True:
        step += 1
        job = f"to-{step}"
        ended = export(url, folders[0], settle=0, lease=0.03, job=job, die_at=step)
        poll(lambda job=job: export(url, folders[1], settle=0, job=job) == DONE)  # type: ignore[misc]
        assert export(url, folders[0], settle=0, job=job) == DONE
        found = windows_of(*folders)
        assert len(found) == 2, step
        assert set(found.values()) == {1}, step
        assert len(rows_of(folders[0])) + len(rows_of(folders[1])) == 6
        for folder in folders:
            for path in folder.iterdir():
                assert not path.name.startswith("."), (step, path.name)
                path.unlink()
        if ended != KILLED:
            break
    assert step > 20


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_at_200_random_points_while_windows_end(url: str, tmp_path: Path) -> None:
    """Two hosts, one-second windows that end meanwhile, events all the time: every event is in one file, once."""
    folders = (tmp_path / "one", tmp_path / "two")
    for folder in folders:
        folder.mkdir()
    chance, ending = random.Random(7), threading.Event()
    added = 0
    with sharedstate.connect(url, node="a") as state:
        state.audit.define("spam", "1,600", "cidr", "cluster", max_delay=0.1)

        def add() -> None:
            nonlocal added
            mine = random.Random(8)
            while not ending.wait(0.01):
                state.audit.add("spam", f"10.0.{mine.randrange(4)}.{mine.randrange(256)}")
                added += 1

        worker = threading.Thread(target=add, daemon=True)
        worker.start()
        killed = runs = 0
        while killed < 200:
            status = export(
                url, folders[runs % 2], settle=1.0, lease=0.02, die_at=1 + int(chance.expovariate(1 / 25))
            )
            assert status in (DONE, BUSY, KILLED)
            killed += status == KILLED
            runs += 1
        ending.set()
        worker.join()
        state.flush()
        assert state.audit.metrics.late == state.audit.metrics.dropped == 0
        last = state.audit._core.clock.now()
        poll(lambda: state.audit._core.clock.now() > last + 2.2, what="the last window is closed")
    for folder in folders * 2:
        poll(lambda folder=folder: export(url, folder, settle=1.0) == DONE)  # type: ignore[misc]
    assert set(windows_of(*folders).values()) == {1}
    assert sum(int(row["count"]) for folder in folders for row in rows_of(folder)) == added
    assert not [path for folder in folders for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_two_hosts_at_once(url: str, tmp_path: Path) -> None:
    folders = (tmp_path / "one", tmp_path / "two")
    with sharedstate.connect(url, node="a") as state:
        state.audit.define("spam", "2,600", "cidr", "cluster")
        for window in range(2, 60):
            state.audit.adjust_many("spam", COUNTS, window)

        def host(folder: Path) -> None:
            folder.mkdir()
            with sharedstate.observe(url) as observer:
                for _ in range(10):
                    run(observer, folder)

        hosts = [threading.Thread(target=host, args=(folder,)) for folder in folders]
        for one in hosts:
            one.start()
        for one in hosts:
            one.join()
        run(state, folders[0])
    assert set(windows_of(*folders).values()) == {1}
    assert sum(windows_of(*folders).values()) == 58


def test_what_is_refused(observer: Observer, tmp_path: Path) -> None:
    for options, sentence in (
        ({"format": "xml"}, "known|known:"),
        ({"mask": 129}, "0 to 128"),
        ({"job": "a b"}, "job name"),
    ):
        with pytest.raises(InvalidValueError, match=sentence):
            run(observer, tmp_path, **options)
    with pytest.raises(InvalidValueError, match="make it first"):
        run(observer, tmp_path / "nowhere")
    with pytest.raises(UnknownNodeError):
        run(observer, tmp_path, node="b")


def test_names_say_what_is_in_the_file() -> None:
    file = ExportFile(
        start=1767621600, seconds=300, series="spam-2.x", node="relay-0-1", mask=24, format="csv", gzip=True
    )
    assert file.name == "20260105T140000Z-300s-spam-2.x@relay-0-1+24.csv.gz"
    assert ExportFile.of(file.name) == file
    for name in ("spam.csv", "20260105T140000Z-300s-spam.txt", ".x", "20261305T140000Z-300s-spam.csv"):
        assert ExportFile.of(name) is None
