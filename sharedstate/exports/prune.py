"""Old export files: compressed after a while, removed after a while longer."""

from __future__ import annotations

import contextlib
import gzip
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sharedstate.errors import InvalidValueError

from .files import ExportFile, export_files, settle

__all__ = ["PruneReport", "prune"]

_JOB = "prune"


@dataclass(slots=True)
class PruneReport:
    """What was done.

    Attributes:
        removed: files removed.
        compressed: files compressed.
        freed: bytes less on the disk.
    """

    removed: int = 0
    compressed: int = 0
    freed: int = 0


def prune(
    folder: Path,
    *,
    now: float,
    keep: float | None,
    compress: float | None,
    chosen: Callable[[str], bool] = lambda _: True,
    advance: Callable[[int], None] = lambda _: None,
) -> PruneReport:
    """Compress and remove export files by the end of their windows. Other files are left alone.

    A compressed file is complete before the plain one goes, so no moment is without the rows; a run that is
    interrupted in between leaves both, of which `export_files` takes the plain one and the next run removes it.

    Args:
        folder: where the files are.
        now: seconds since the epoch.
        keep: seconds after which a file is removed; None for never.
        compress: seconds after which a csv or jsonl file is compressed; None for never.
        chosen: which series are meant.
        advance: called with 1 for each file looked at.
    """
    if not folder.is_dir():
        raise InvalidValueError(f"{str(folder)!r} is not a folder.")
    report = PruneReport()
    # What an interrupted run was compressing.
    for path in folder.glob(f".*~{_JOB}~*.part"):
        path.unlink(missing_ok=True)
    for path, file in list(export_files(folder)):
        advance(1)
        if not chosen(file.series):
            continue
        age = now - (file.start + file.seconds)
        packed = path.with_name(path.name + ".gz")
        if keep is not None and age > keep:
            report.freed += path.stat().st_size
            report.removed += 1
            if not file.gzip:
                packed.unlink(missing_ok=True)
            path.unlink()
        elif compress is not None and age > compress and not file.gzip and file.format != "parquet":
            report.freed += _compress(folder, path, packed, file)
            report.compressed += 1
    settle(folder)
    return report


def _compress(folder: Path, path: Path, packed: Path, file: ExportFile) -> int:
    """Compress one file; returns the bytes saved."""
    before = path.stat().st_size
    part = folder / file.part(_JOB, secrets.token_hex(8))
    try:
        with path.open("rb") as plain, part.open("xb") as raw:
            with gzip.GzipFile("", "wb", 6, raw, mtime=0) as target:
                shutil.copyfileobj(plain, target, 1 << 20)
            raw.flush()
            os.fsync(raw.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    part.replace(packed)
    settle(folder)
    path.unlink()
    return before - packed.stat().st_size
