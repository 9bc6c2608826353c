"""Export runs in processes of their own, which can die at any step."""

from __future__ import annotations

import csv
import gzip
import os
import resource
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sharedstate
from sharedstate.exports import files, job
from sharedstate.exports.files import export_files

#: Exit statuses of a child.
DONE, BUSY, FAILED, KILLED = 0, 1, 2, 9


def forked(work: Callable[[], int]) -> int:
    """Run in a child that ends without any cleanup; its exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # threads of the parent: the child uses none of theirs
        pid = os.fork()
    if pid == 0:
        status = 70
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def export(
    url: str, folder: Path, *, die_at: int | None = None, file_limit: int | None = None, **options: Any
) -> int:
    """One run on a host whose files are in `folder`.

    Args:
        url: the cluster.
        folder: where the files go.
        die_at: end without cleanup at this step: before or after a question to Redis, a page, a sync, a rename.
        file_limit: no file may be larger, in bytes: writing fails as on a full disk.
        options: of the Exporter.
    """

    def work() -> int:
        if file_limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1
            if die_at is not None and steps >= die_at:
                os._exit(KILLED)

        def stepped(function: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*args: Any, **keywords: Any) -> Any:
                step()
                answer = function(*args, **keywords)
                step()
                return answer

            return wrapped

        os.fsync = stepped(os.fsync)  # type: ignore[assignment]
        files.settle = job.settle = stepped(files.settle)  # type: ignore[attr-defined]
        Path.replace = stepped(Path.replace)  # type: ignore[method-assign]
        Path.unlink = stepped(Path.unlink)  # type: ignore[method-assign]
        with sharedstate.observe(url) as observer:
            exporter = job.Exporter(observer.audit, folder, advance=lambda _: step(), **options)
            exporter._run = stepped(exporter._run)
            try:
                report = exporter.export(observer.audit.series())
            except OSError:
                return FAILED
            return BUSY if report.busy else DONE

    return forked(work)


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Every row of the csv files in a folder."""
    rows: list[dict[str, str]] = []
    for path, file in export_files(folder):
        content = gzip.decompress(path.read_bytes()) if file.gzip else path.read_bytes()
        rows += csv.DictReader(content.decode().splitlines())
    return rows


def windows_of(*folders: Path) -> Counter[tuple[str, str, str]]:
    """How often each window of each series is in some files of some folders."""
    return Counter(
        (file.series, str(file.seconds), str(file.start))
        for folder in folders
        for _, file in export_files(folder)
    )
