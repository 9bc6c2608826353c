"""The files of an export: their names, and how they appear whole or not at all.

A name sorts by time: ``20260105T140000Z-300s-spam.csv`` holds the window of 300 s of series ``spam`` that began at that
moment (UTC), ``…-spam@relay-0-1.csv`` one node's part of it, ``…-spam+24.csv`` its networks of 24 bits. A file is
written under a hidden name that ends in ``~<job>~<token>.part``, brought to the disk, and renamed.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import datetime as dt
import gzip
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sharedstate.errors import MissingExtraError

__all__ = [
    "COLUMNS",
    "FORMATS",
    "ExportFile",
    "PartFile",
    "column_types",
    "csv_source",
    "duckdb",
    "export_files",
    "part_files",
    "quoted",
    "settle",
    "write_rows",
]

FORMATS = ("csv", "jsonl", "parquet")
#: Columns of every file, in order: when the window began (seconds since the epoch) and how long it is, series, node
#: (empty for all together), address, network or text, and its count.
COLUMNS = {
    "start": "BIGINT",
    "seconds": "INTEGER",
    "series": "VARCHAR",
    "node": "VARCHAR",
    "key": "VARCHAR",
    "count": "BIGINT",
}

_STAMP = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(
    r"(?P<stamp>\d{8}T\d{6}Z)-(?P<seconds>\d+)s-(?P<series>[A-Za-z0-9._-]+?)(?:@(?P<node>[A-Za-z0-9._-]+?))?(?:\+(?P<mask>\d+))?"
    r"\.(?P<format>csv|jsonl|parquet)(?P<gzip>\.gz)?\Z"
)
_PART = re.compile(r"\.(?P<name>[^~]+)~(?P<job>[^~]+)~(?P<token>[0-9a-f]{16})\.part(?P<rows>\.rows)?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFile:
    """What a file's name says.

    Attributes:
        start: when its window began, seconds since the epoch.
        seconds: the window's length.
        series: the series.
        node: whose part it is, None for all nodes together.
        mask: length of the networks it has been added up to, None for single addresses and texts.
        format: one of `FORMATS`.
        gzip: whether it is compressed as a whole.
    """

    start: int
    seconds: int
    series: str
    node: str | None = None
    mask: int | None = None
    format: str = "csv"
    gzip: bool = False

    @property
    def name(self) -> str:
        """The file's name."""
        stamp = dt.datetime.fromtimestamp(self.start, dt.UTC).strftime(_STAMP)
        node = f"@{self.node}" if self.node else ""
        mask = "" if self.mask is None else f"+{self.mask}"
        gzip_ = ".gz" if self.gzip else ""
        return f"{stamp}-{self.seconds}s-{self.series}{node}{mask}.{self.format}{gzip_}"

    @property
    def window(self) -> int:
        """The window by its number since the epoch."""
        return self.start // self.seconds

    def part(self, job: str, token: str) -> str:
        """The name it is written under."""
        return f".{self.name}~{job}~{token}.part"

    @classmethod
    def of(cls, name: str) -> ExportFile | None:
        """What a name says, None when it is no export's."""
        match = _NAME.match(name)
        if match is None:
            return None
        try:
            start = dt.datetime.strptime(match["stamp"], _STAMP).replace(tzinfo=dt.UTC)
        except ValueError:
            return None
        return cls(
            start=int(start.timestamp()),
            seconds=int(match["seconds"]),
            series=match["series"],
            node=match["node"],
            mask=None if match["mask"] is None else int(match["mask"]),
            format=match["format"],
            gzip=bool(match["gzip"]),
        )


def export_files(folder: Path) -> Iterator[tuple[Path, ExportFile]]:
    """The files of exports in a folder, oldest first.

    Of a file that is there plain and compressed, because prune was interrupted, it is the plain one.
    """
    names = sorted(path.name for path in folder.iterdir())
    plain = set(names)
    for name in names:
        file = ExportFile.of(name)
        if file is not None and not (file.gzip and name.removesuffix(".gz") in plain):
            yield folder / name, file


@dataclass(frozen=True, slots=True)
class PartFile:
    """A file that was not finished.

    Attributes:
        path: where it is.
        file: what it was to become.
        job: the export that wrote it.
        token: its own mark.
        scratch: it is only what a part file was to be made from.
    """

    path: Path
    file: ExportFile
    job: str
    token: str
    scratch: bool


def part_files(folder: Path) -> Iterator[PartFile]:
    """Files that were not finished."""
    for path in sorted(folder.glob(".*.part*")):
        match = _PART.match(path.name)
        file = ExportFile.of(match["name"]) if match else None
        if match is not None and file is not None:
            yield PartFile(path, file, match["job"], match["token"], bool(match["rows"]))


def write_rows(path: Path, file: ExportFile, rows: Iterable[tuple[str, int]]) -> int:
    """Write a window's rows to a new file and bring it to the disk; returns how many.

    Memory does not grow with the rows. Whatever fails leaves no file behind.
    """
    try:
        if file.format == "parquet":
            rows_written = _write_parquet(path, file, rows)
        else:
            with path.open("xb") as raw:
                rows_written = _write_text(raw, file, rows)
                raw.flush()
                os.fsync(raw.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return rows_written


def settle(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_text(raw: IO[bytes], file: ExportFile, rows: Iterable[tuple[str, int]]) -> int:
    with contextlib.ExitStack() as stack:
        # No time and no name inside: the same rows are the same bytes.
        target = stack.enter_context(gzip.GzipFile("", "wb", 6, raw, mtime=0)) if file.gzip else raw
        text = io.TextIOWrapper(target, encoding="utf-8", newline="", write_through=False)
        number = 0
        head = (file.start, file.seconds, file.series, file.node or "")
        if file.format == "csv":
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(COLUMNS)
            for key, count in rows:
                number += 1
                writer.writerow((*head, key, count))
        else:
            common = dict(zip(COLUMNS, head, strict=False))
            for key, count in rows:
                number += 1
                text.write(json.dumps({**common, "key": key, "count": count}, separators=(",", ":")) + "\n")
        text.flush()
        text.detach()
    return number


def _write_parquet(path: Path, file: ExportFile, rows: Iterable[tuple[str, int]]) -> int:
    engine = duckdb()
    plain = path.with_name(path.name + ".rows")
    try:
        with plain.open("xb") as raw:
            number = _write_text(raw, dataclasses.replace(file, format="csv", gzip=False), rows)
        database = engine.connect(config={"memory_limit": "256MB", "threads": 1})
        try:
            database.execute(
                f"COPY (SELECT * FROM {csv_source([plain])}) TO {quoted(path)} (FORMAT parquet, COMPRESSION zstd)"  # noqa: S608 - paths are quoted, the rest is ours
            )
        finally:
            database.close()
        with path.open("rb") as written:
            os.fsync(written.fileno())
    finally:
        plain.unlink(missing_ok=True)
    return number


def column_types() -> str:
    """The columns with their types, as a struct of SQL."""
    return "{" + ", ".join(f"'{name}': '{type_}'" for name, type_ in COLUMNS.items()) + "}"


def csv_source(paths: Sequence[Path]) -> str:
    """Our csv files as a table of SQL; nothing is guessed."""
    return (
        f"read_csv([{', '.join(map(quoted, paths))}], auto_detect = false, header = true, delim = ',', quote = '\"', "
        f"escape = '\"', force_not_null = ['node'], columns = {column_types()})"
    )


def quoted(path: Path) -> str:
    """A path as a text of SQL."""
    return "'" + str(path).replace("'", "''") + "'"


def duckdb() -> Any:
    """The analytical engine. Imported only here: it takes a tenth of a second and 50 MB.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import duckdb as engine
    except ImportError as error:
        raise MissingExtraError(
            "parquet files and queries need the package duckdb, which is not installed: "
            "pip install 'sharedstate[export]'."
        ) from error
    return engine
