"""Questions about exported files, answered by DuckDB: which networks did most, in which series, since when.

The engine reads csv, jsonl and parquet files as they are, whatever is mixed, in bounded memory, and works out blocks
and networks itself. Where counts are equal, IPv6 networks come in the order of addresses, all else in that of texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharedstate.audit.places import network_text
from sharedstate.errors import InvalidValueError
from sharedstate.names import V4, V6, parse_block

from .files import COLUMNS, column_types, csv_source, duckdb, export_files, quoted

__all__ = ["Answer", "FileQuery", "compile_pattern", "query"]

_READERS: dict[str, Callable[[Sequence[Path]], str]] = {
    "csv": csv_source,
    "jsonl": lambda paths: (
        f"read_json([{', '.join(map(quoted, paths))}], format = 'newline_delimited', columns = {column_types()})"
    ),
    "parquet": lambda paths: f"read_parquet([{', '.join(map(quoted, paths))}])",
}

#: Begins what stands for an IPv6 network inside the engine; no key begins with it.
_SIX = "\x006:"

#: IPv6 in the engine's own words: groups of an address, its 32 hex digits, and these with the bits below a mask zero.
_MACROS = (
    """CREATE TEMP MACRO plain6(a) AS CASE WHEN NOT contains(a, '.') THEN a ELSE regexp_replace(a, '[0-9.]+$', '') ||
       format('{:x}:{:x}',
              string_split(regexp_extract(a, '[0-9.]+$'), '.')[1]::INTEGER * 256
                + string_split(regexp_extract(a, '[0-9.]+$'), '.')[2]::INTEGER,
              string_split(regexp_extract(a, '[0-9.]+$'), '.')[3]::INTEGER * 256
                + string_split(regexp_extract(a, '[0-9.]+$'), '.')[4]::INTEGER) END""",
    """CREATE TEMP MACRO digits6(a) AS
         coalesce(array_to_string([lpad(g, 4, '0') for g in string_split(a, ':') if g <> ''], ''), '')""",
    """CREATE TEMP MACRO hex6(a) AS CASE WHEN contains(plain6(a), '::')
         THEN digits6(split_part(plain6(a), '::', 1))
              || repeat('0', 32 - length(digits6(split_part(plain6(a), '::', 1)))
                              - length(digits6(split_part(plain6(a), '::', 2))))
              || digits6(split_part(plain6(a), '::', 2))
         ELSE digits6(plain6(a)) END""",
    """CREATE TEMP MACRO network6(h, bits) AS rpad(
         substr(h, 1, bits // 4) || CASE WHEN bits % 4 = 0 THEN '' ELSE
           format('{:x}', (('0x' || substr(h, bits // 4 + 1, 1))::INTEGER) & (15 << (4 - bits % 4) & 15)) END,
         32, '0')""",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileQuery:
    """A question.

    Attributes:
        series: regular expressions of whole series names; the union of what they match. Empty for all.
        block: only addresses in this block.
        since: only windows that end after this moment, seconds since the epoch.
        until: only windows that begin before this moment.
        seconds: only windows of this length; needed where a series was exported in several.
        node: only one node's files; None for those of all nodes together.
        mask: add addresses up to networks of this length.
        by_series: a row for each series and key, instead of their union.
        order: ``count`` (largest first), ``key`` or ``start`` (one row for each window).
        limit: at most so many rows, None for all.
        threshold: only rows that count at least so many.
    """

    series: tuple[str, ...] = ()
    block: str | None = None
    since: float | None = None
    until: float | None = None
    seconds: int | None = None
    node: str | None = None
    mask: int | None = None
    by_series: bool = False
    order: str = "count"
    limit: int | None = None
    threshold: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows and what they were found in.

    Attributes:
        columns: names of the columns.
        rows: the rows.
        files: how many files were read.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    files: int


def query(folder: Path, asked: FileQuery, *, memory: str = "512MB") -> Answer:
    """Ask the export files of a folder.

    Args:
        folder: where the files are.
        asked: the question.
        memory: what the engine may use before it writes to a temporary folder.

    Raises:
        InvalidValueError: the question is not acceptable.
        MissingExtraError: DuckDB is not installed.
    """
    _check(asked)
    chosen = _choose(folder, asked)
    columns = _columns(asked)
    if not any(chosen.values()):
        return Answer(columns, [], 0)
    engine = duckdb()
    database = engine.connect(config={"memory_limit": memory})
    try:
        for macro in _MACROS:
            database.execute(macro)
        text, values = _sql(chosen, asked)
        rows = database.execute(text, values).fetchall()
    finally:
        database.close()
    place = columns.index("key")
    rows = [(*row[:place], _network_text(row[place]), *row[place + 1 :]) for row in rows]
    return Answer(columns, rows, sum(map(len, chosen.values())))


def _check(asked: FileQuery) -> None:
    if asked.order not in ("count", "key", "start"):
        raise InvalidValueError(f"order {asked.order!r} is not known: count, key, start.")
    if asked.mask is not None and not 0 <= asked.mask <= 128:
        raise InvalidValueError(f"a mask of {asked.mask} bits is not usable: give 0 to 128.")
    for pattern in asked.series:
        compile_pattern(pattern)
    if asked.block is not None:
        parse_block(asked.block)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression of series names.

    Raises:
        InvalidValueError: it is none.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InvalidValueError(f"{pattern!r} is not a regular expression: {error}.") from error


def _choose(folder: Path, asked: FileQuery) -> dict[str, list[Path]]:
    """The files that can hold an answer, by format. Their names say enough to leave most of them shut."""
    if not folder.is_dir():
        raise InvalidValueError(f"{str(folder)!r} is not a folder.")
    patterns = [compile_pattern(pattern) for pattern in asked.series]
    node = asked.node.lower() if asked.node is not None else None
    found: dict[str, list[Path]] = {kind: [] for kind in _READERS}
    lengths: dict[str, set[int]] = {}
    masks: dict[str, set[int | None]] = {}
    for path, file in export_files(folder):
        if (
            file.node != node
            or (patterns and not any(pattern.fullmatch(file.series) for pattern in patterns))
            or (asked.seconds is not None and file.seconds != asked.seconds)
            or (asked.since is not None and file.start + file.seconds <= asked.since)
            or (asked.until is not None and file.start >= asked.until)
        ):
            continue
        lengths.setdefault(file.series, set()).add(file.seconds)
        masks.setdefault(file.series, set()).add(file.mask)
        found[file.format].append(path)
    for series, known in lengths.items():
        if len(known) > 1:
            raise InvalidValueError(
                f"series {series!r} was exported in windows of {', '.join(map(str, sorted(known)))} s, which count the "
                "same events: choose by --seconds."
            )
        if len(masks[series]) > 1:
            raise InvalidValueError(
                f"series {series!r} was exported with several masks into {str(folder)!r}, which count the same events: "
                "keep them in folders of their own."
            )
    return found


def _columns(asked: FileQuery) -> tuple[str, ...]:
    return (
        *(("start",) if asked.order == "start" else ()),
        *(("series",) if asked.by_series else ()),
        "key",
        "count",
    )


def _sql(chosen: dict[str, list[Path]], asked: FileQuery) -> tuple[str, list[Any]]:
    sources = [
        f"SELECT {', '.join(COLUMNS)} FROM "  # noqa: S608 - paths are quoted, the rest is ours; values are bound
        + _READERS[kind](paths)
        for kind, paths in chosen.items()
        if paths
    ]
    values: list[Any] = []
    where = ["true"]
    address = "split_part(key, '/', 1)"
    parts = (f"split_part({address}, '.', {number})::UBIGINT" for number in range(1, 5))
    four = " | ".join(f"({part} << {24 - 8 * number})" for number, part in enumerate(parts))
    is_four = r"regexp_full_match(key, '\d{1,3}([.]\d{1,3}){3}(/\d+)?')"
    # A text that only looks alike has neither two colons together nor seven in all.
    is_six = (
        r"regexp_full_match(key, '[0-9a-f:.]*:[0-9a-f:.]*(/\d+)?') AND "
        "(contains(key, '::') OR length(key) - length(replace(key, ':', '')) = 7)"
    )
    if asked.block is not None:
        block = parse_block(asked.block)
        first = int.from_bytes(block.network)
        last = first + (1 << (block.width - block.length)) - 1
        if block.family == V4:
            where.append(f"CASE WHEN {is_four} THEN ({four}) BETWEEN ? AND ? ELSE false END")
            values += (first, last)
        else:
            where.append(f"CASE WHEN {is_six} THEN hex6({address}) BETWEEN ? AND ? ELSE false END")
            values += (f"{first:032x}", f"{last:032x}")
    key = "key"
    if asked.mask is not None:
        length = min(asked.mask, 32)
        low = (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF
        net = f"(({four}) & {low})"
        dotted = " || '.' || ".join(f"(({net} >> {shift}) & 255)" for shift in (24, 16, 8, 0))
        key = (
            f"CASE WHEN {is_four} THEN {dotted} || '/{length}' "
            f"WHEN {is_six} THEN '{_SIX}' || network6(hex6({address}), {asked.mask}) || '/{asked.mask}' ELSE key END"
        )
    groups = (
        *(("start",) if asked.order == "start" else ()),
        *(("series",) if asked.by_series else ()),
        f"{key} AS key",
    )
    names = [group.rpartition(" AS ")[2] for group in groups]
    order = {"count": "count DESC, key", "key": "key", "start": "start, count DESC, key"}[asked.order]
    text = (
        f"WITH rows AS ({' UNION ALL '.join(sources)}), "  # noqa: S608 - as above
        f"chosen AS (SELECT {', '.join(groups)}, count FROM rows WHERE {' AND '.join(where)}) "
        f"SELECT {', '.join(names)}, sum(count)::BIGINT AS count FROM chosen GROUP BY {', '.join(names)}"
    )
    if asked.threshold is not None:
        text += " HAVING sum(count) >= ?"
        values.append(asked.threshold)
    text += f" ORDER BY {order}"
    if asked.limit is not None:
        text += " LIMIT ?"
        values.append(asked.limit)
    return text, values


def _network_text(key: str) -> str:
    """A key as everybody writes it; networks of IPv6 leave the engine in hex."""
    if not key.startswith(_SIX):
        return key
    digits, _, mask = key.removeprefix(_SIX).partition("/")
    return network_text(V6 + bytes.fromhex(digits), int(mask))
