"""Native TOML to a draft.

The language is ours alone, so nothing is skipped: a key nobody knows is an error.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from sharedstate.errors import ConfigError

from .draft import Draft, Entry, Section, fail, suggest, text
from .model import LimitKind, Place, Scope
from .options import (
    CLUSTER_OPTIONS,
    DATASOURCE_OPTIONS,
    INBOUND_AUDIT_OPTIONS,
    OUTBOUND_AUDIT_OPTIONS,
    REPLICATE_OPTIONS,
    SITE_OPTIONS,
)
from .positions import Spot, locate

__all__ = ["read"]

_TABLES = ("cluster", "inbound_audit", "outbound_audit")
_ARRAYS = ("replicate", "datasource", "site", "limit")
_SCOPES = ("binding_group", "binding", "domain", "host")
_LIMITS = tuple(kind.value for kind in LimitKind)
_WHERE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


def read(text: str, file: str | None) -> Draft:
    """Read a TOML text.

    Raises:
        ConfigError: it is not TOML, or has a table or key that is not known.
    """
    try:
        data = tomllib.loads(text)
        spots = locate(text, file)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, file) from error
    except RecursionError as error:
        raise ConfigError("brackets are nested too deeply: split the value.", file) from error
    except ValueError as error:  # Python's bound on the digits of a number
        raise ConfigError(
            "this TOML holds a number of thousands of digits: write a smaller one.", file
        ) from error
    for key in data:
        if key not in (*_TABLES, *_ARRAYS):
            raise fail(
                spots.children[key].place, f"unknown table {key!r}: {suggest(key, (*_TABLES, *_ARRAYS))}"
            )
    draft = Draft(files=[] if file is None else [file])
    draft.cluster = _table(data, spots, "cluster", CLUSTER_OPTIONS)
    draft.inbound_audit = _table(data, spots, "inbound_audit", INBOUND_AUDIT_OPTIONS)
    draft.outbound_audit = _table(data, spots, "outbound_audit", OUTBOUND_AUDIT_OPTIONS)
    draft.replicates = list(_named(data, spots, "replicate", tuple(REPLICATE_OPTIONS)))
    draft.datasources = list(_named(data, spots, "datasource", DATASOURCE_OPTIONS))
    draft.sites = list(_named(data, spots, "site", SITE_OPTIONS))
    for section in _sections(data, spots, "limit", (*_SCOPES, *_LIMITS)):
        scope = Scope(
            **{kind: text_ for kind in _SCOPES if (text_ := _optional_text(section, kind)) is not None}
        )
        limits = [entry for name, entry in section.entries.items() if name not in _SCOPES]
        if not limits:
            raise fail(section.place, f"this [[limit]] limits nothing: add one of {', '.join(_LIMITS)}.")
        draft.limits.extend((scope, entry) for entry in limits)
    return draft


def _table(data: Mapping[str, Any], spots: Spot, key: str, options: tuple[str, ...]) -> Section | None:
    if key not in data:
        return None
    if not isinstance(data[key], dict):
        raise fail(spots.children[key].place, f"{key} is one table: write [{key}].")
    return _section(data[key], spots.children[key], f"[{key}] table", options)


def _sections(data: Mapping[str, Any], spots: Spot, key: str, options: tuple[str, ...]) -> Iterator[Section]:
    if key not in data:
        return
    tables = data[key]
    spot = spots.children[key]
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise fail(spot.place, f"{key} may be given several times: write [[{key}]].")
    for table, place in zip(tables, spot.items, strict=True):
        yield _section(table, place, f"[[{key}]] table", options)


def _named(data: Mapping[str, Any], spots: Spot, key: str, options: tuple[str, ...]) -> Iterator[Section]:
    for section in _sections(data, spots, key, ("name", *options)):
        entry = section.entries.pop("name", None)
        if entry is not None:
            section.name, section.name_place = text(entry), entry.value_place
        yield section


def _section(table: Mapping[str, Any], spot: Spot, noun: str, options: tuple[str, ...]) -> Section:
    section = Section(noun, spot.place)
    for key, value in table.items():
        section.entries[key] = _entry(key, value, spot.children[key])
    section.only(options)
    return section


def _entry(key: str, value: Any, spot: Spot) -> Entry:
    if isinstance(value, list):
        return Entry(key, tuple(value), spot.place, spot.value, tuple(item.value for item in spot.items))
    return Entry(key, value, spot.place, spot.value)


def _optional_text(section: Section, name: str) -> str | None:
    entry = section.entries.get(name)
    return None if entry is None else text(entry)


def _syntax_error(message: str, text: str, file: str | None) -> ConfigError:
    where = _WHERE.search(message)
    sentence = f"this is not TOML: {_WHERE.sub('', message).rstrip('.')}."
    if where is not None and where[1] is not None:
        return ConfigError(sentence, file, int(where[1]), int(where[2]))
    end = Place(file, text.count("\n") + 1, len(text) - text.rfind("\n"))
    return fail(end, sentence)
