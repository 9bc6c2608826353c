"""Which run exports which window: each closed window once, by whoever has the lease, however a run ends.

For each window, in this order:

1. its rows are written to a hidden part file with a random token, and brought to the disk;
2. one script marks the window as exported by this token, if the run still has the lease and it is the next window;
3. the part file is renamed.

A run that ends before 2 leaves a part file whose token Redis does not know: the window is exported again, the file is
deleted. One that ends after 2 leaves a file whose token Redis knows: the next run in that folder renames it.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sharedstate.audit import calls
from sharedstate.audit.places import network_field, network_text
from sharedstate.audit.reading import WindowReader
from sharedstate.audit.series import Monitor, SeriesSpec
from sharedstate.audit.store import LATE
from sharedstate.call import only
from sharedstate.clock import awake_clock
from sharedstate.errors import InvalidValueError, LinkError
from sharedstate.specs import check_name

from .files import FORMATS, ExportFile, part_files, settle, write_rows

if TYPE_CHECKING:
    from sharedstate.audit.faces import AuditReader

__all__ = ["ExportReport", "Exporter"]

#: A window must be readable for so long after a run begins with it, seconds.
_MARGIN = 30.0


@dataclass(slots=True)
class ExportReport:
    """What a run did.

    Attributes:
        windows: windows exported, those without any row included.
        rows: rows written.
        files: the files that appeared, by name, those of a former run included.
        lost: windows that were over before any run came to them.
        busy: ``series seconds`` that another run was at.
        unsure: part files of which nobody knows any more whether their windows were exported.
    """

    windows: int = 0
    rows: int = 0
    files: list[str] = field(default_factory=list)
    lost: int = 0
    busy: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)


class _LeaseLostError(Exception):
    """Another run has taken over."""


class _WindowOverError(Exception):
    """A window ended for good while it was read."""


class Exporter:
    """One run of an export. Blocking; not for several threads.

    Args:
        audit: an observer's or member's audit series.
        folder: where the files go; it must exist.
        format: ``csv``, ``jsonl`` or ``parquet``.
        gzip: compress csv and jsonl files.
        node: one node's part, None for all nodes together.
        mask: add addresses up to networks of this length.
        job: name of the export: each exports every window once. By default one for each node and mask.
        settle: seconds a window must be closed before it is exported: what was counted in it is published by then.
        lease: seconds without a sign of life after which another run may take over.
        advance: called with the number of rows that were read.

    Raises:
        InvalidValueError: an argument is not acceptable.
    """

    def __init__(
        self,
        audit: AuditReader,
        folder: Path,
        *,
        format: str = "csv",  # noqa: A002 - the option's name
        gzip: bool = False,
        node: str | None = None,
        mask: int | None = None,
        job: str | None = None,
        settle: float = LATE,
        lease: float = 60.0,
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        if format not in FORMATS:
            raise InvalidValueError(f"format {format!r} is not known: {', '.join(FORMATS)}.")
        if gzip and format == "parquet":
            raise InvalidValueError("parquet files are compressed inside: leave --gzip out.")
        if mask is not None and not 0 <= mask <= 128:
            raise InvalidValueError(f"a mask of {mask} bits is not usable: give 0 to 128.")
        if not folder.is_dir():
            raise InvalidValueError(f"{str(folder)!r} is not a folder: make it first.")
        self._audit = audit
        self._core = audit._core
        self._keys = audit._core.keys
        self._run = audit._run
        self._folder = folder
        self._format = format
        self._gzip = gzip
        self._node = node.lower() if node is not None else None
        self._mask = mask
        parts = ["default"]
        if node is not None:
            parts.append(f"node.{node.lower()}")
        if mask is not None:
            parts.append(f"mask.{mask}")
        self._job = check_name(job or ".".join(parts), "job")
        self._settle = settle
        self._lease_ms = round(lease * 1000)
        self._advance = advance
        self._owner = secrets.token_hex(8)
        self._renewed = 0.0
        self.report = ExportReport()

    def export(self, specs: Sequence[SeriesSpec]) -> ExportReport:
        """Export every closed window of some series that no run has exported yet.

        Raises:
            LinkError: Redis did not answer; what was exported stays, the next run goes on from there.
            OSError: a file could not be written; the same.
        """
        for spec in specs:
            if self._mask is not None and not spec.type.is_cidr:
                raise InvalidValueError(
                    f"series {spec.name!r} has type {spec.type}: its keys have no --mask."
                )
        for spec in specs:
            if self._node is not None:
                self._run(
                    self._core.reader(spec.name, 0, self._node, None)
                )  # a name nobody knows is a mistake
            for monitor in spec.monitors:
                self._export_series(spec, monitor)
        return self.report

    def _export_series(self, spec: SeriesSpec, monitor: Monitor) -> None:
        self._run(self._core.know_time())
        window = self._lease(spec, monitor)
        if window is None:
            self._recover(spec, monitor, leased=False)
            self.report.busy.append(f"{spec.name} {monitor.interval}")
            return
        try:
            self._recover(spec, monitor, leased=True)
            while window <= self._newest(monitor):
                with contextlib.suppress(_WindowOverError):  # the lease counts it as lost
                    self._export_window(spec, monitor, window)
                window = self._lease(spec, monitor)
                if window is None:
                    raise _LeaseLostError
        except _LeaseLostError:
            self.report.busy.append(f"{spec.name} {monitor.interval}")
            return
        except (LinkError, OSError):
            self._give_back(spec, monitor)
            raise
        self._give_back(spec, monitor)

    def _newest(self, monitor: Monitor) -> int:
        return int((self._core.clock.now() - self._settle) // monitor.interval) - 1

    def _oldest(self, monitor: Monitor) -> int:
        return int((self._core.clock.now() - _MARGIN) // monitor.interval) - monitor.count

    def _lease(self, spec: SeriesSpec, monitor: Monitor) -> int | None:
        """Take or renew the lease; the next window, None when another run is at it."""
        self._renewed = awake_clock()
        mine, window, lost = self._run(
            only(
                calls.lease(
                    self._keys,
                    spec.name,
                    monitor.interval,
                    self._job,
                    self._owner,
                    self._lease_ms,
                    self._oldest(monitor),
                )
            )
        )
        self.report.lost += lost
        return window if mine else None

    def _give_back(self, spec: SeriesSpec, monitor: Monitor) -> None:
        try:
            self._run(
                only(calls.lease(self._keys, spec.name, monitor.interval, self._job, self._owner, 0, 0))
            )
        except LinkError:
            return  # it ends by itself

    def _export_window(self, spec: SeriesSpec, monitor: Monitor, window: int) -> None:
        file = ExportFile(
            start=window * monitor.interval,
            seconds=monitor.interval,
            series=spec.name,
            node=self._node,
            mask=self._mask,
            format=self._format,
            gzip=self._gzip,
        )
        token = secrets.token_hex(8)
        part = self._folder / file.part(self._job, token)
        rows = self._rows(spec, monitor, window)
        first = next(rows, None)
        written = 0
        if first is not None:
            written = write_rows(part, file, itertools.chain([first], rows))
            settle(self._folder)
        if self._core.clock.now() * 1000 >= spec.ends(monitor, window):
            part.unlink(missing_ok=True)
            raise _WindowOverError
        mine = self._run(
            only(
                calls.commit(
                    self._keys,
                    spec.name,
                    monitor.interval,
                    self._job,
                    self._owner,
                    window,
                    token if first is not None else "",
                )
            )
        )
        if not mine:
            part.unlink(missing_ok=True)
            raise _LeaseLostError
        if first is not None:
            self._finish(part, file)
        self.report.windows += 1
        self.report.rows += written

    def _finish(self, part: Path, file: ExportFile) -> None:
        part.replace(self._folder / file.name)
        settle(self._folder)
        self.report.files.append(file.name)

    def _renew(self, spec: SeriesSpec, monitor: Monitor, window: int) -> None:
        if awake_clock() < self._renewed + self._lease_ms / 3000:
            return
        found = self._lease(spec, monitor)
        if found is None:
            raise _LeaseLostError
        if found != window:
            raise _WindowOverError

    def _rows(self, spec: SeriesSpec, monitor: Monitor, window: int) -> Iterator[tuple[str, int]]:
        reader = WindowReader(self._keys, spec, monitor, window, self._node)
        networks: Counter[bytes] = Counter()
        text, mask = spec.text, self._mask
        while not reader.done:
            self._renew(spec, monitor, window)
            page = self._run(reader.next())
            self._advance(len(page))
            if mask is None:
                for field_, count in page:
                    yield text(field_), count
            else:
                for field_, count in page:
                    networks[network_field(field_, mask)] += count
        if mask is not None:
            for field_, count in networks.items():
                yield network_text(field_, mask), count

    def _recover(self, spec: SeriesSpec, monitor: Monitor, *, leased: bool) -> None:
        """Finish or remove what runs that were killed left in the folder."""
        for part in part_files(self._folder):
            file = part.file
            if (file.series, file.seconds, part.job) != (spec.name, monitor.interval, self._job):
                continue
            token = None
            if not part.scratch:
                token = self._run(
                    only(calls.token(self._keys, spec.name, monitor.interval, self._job, file.window))
                )
            if token == part.token:
                self._finish(part.path, file)
            elif not leased:
                continue  # the other run may be writing it
            elif token is None and not part.scratch and file.window < self._oldest(monitor) - monitor.count:
                self.report.unsure.append(part.path.name)
            else:
                part.path.unlink(missing_ok=True)
