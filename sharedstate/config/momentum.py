"""Momentum's language, both generations, to a draft: which stanzas concern shared state, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace

from .draft import Draft, Entry, Section, fail
from .files import Tree
from .model import LimitKind, Place, Scope, Skipped
from .options import CLUSTER_OPTIONS
from .syntax import Item, Listing, Option, Scalar, Stanza

__all__ = ["read"]

_LIMITS = tuple(kind.value for kind in LimitKind)
#: The traffic stanzas, outermost first, as they may nest.
_LEVELS = ("binding_group", "binding", "domain", "host")
#: What v3 writes before ``group/module name { … }``.
_MODULE_TYPES = frozenset({"logger", "module", "validate"})
#: Options that add up when they are repeated; others are replaced by a later one.
_REPEATABLE = frozenset({"uri", "monitors"})
#: v3's name of an option to v4's.
_RENAMED = {"monitor": "monitors"}


def read(text: str, file: str | None) -> Draft:
    """Read a text and what it includes.

    Raises:
        ConfigError: it does not parse, or a stanza that concerns shared state stands where it cannot.
    """
    tree = Tree(file)
    reader = _Reader()
    reader.read(tree.load(text))
    reader.draft.files = tree.files
    return reader.draft


class _Reader:
    def __init__(self) -> None:
        self.draft = Draft()

    def read(self, items: Iterable[Item]) -> None:
        for item in items:
            if isinstance(item, Option):
                if not self._limit(item, Scope(), None):
                    self._skip(item.name.text, item.name.place, stanza=False)
            elif isinstance(item, Stanza):
                self._stanza(item)

    def _stanza(self, stanza: Stanza) -> None:
        match module_of(stanza):
            case "ec_cluster" | "cluster":
                self._cluster(stanza)
            case "ds_core":
                self._ds_core(stanza)
            case "datasource":
                self._datasource(stanza, stanza.names[1:])
            case "inbound_audit":
                self.draft.inbound_audit = _merge(self.draft.inbound_audit, stanza, "inbound_audit stanza")
            case "outbound_audit":
                self.draft.outbound_audit = _merge(self.draft.outbound_audit, stanza, "outbound_audit stanza")
            case "site":
                self._site(stanza)
            case kind if kind in _LEVELS:
                before = len(self.draft.limits)
                self._traffic(stanza, Scope(), None)
                if len(self.draft.limits) == before:
                    self._skip_stanza(stanza)
            case _:
                self._skip_stanza(stanza)

    def _cluster(self, stanza: Stanza) -> None:
        section = self.draft.cluster or Section("cluster stanza", stanza.place)
        self.draft.cluster = section
        for item in stanza.body:
            if isinstance(item, Option):
                self._cluster_option(item, section)
            elif isinstance(item, Stanza):
                first = item.names[0]
                if first.text.lower() == "replicate":
                    self.draft.replicates.append(_owned(item, "replicate stanza"))
                elif difflib.get_close_matches(first.text.lower(), ("replicate",), n=1, cutoff=0.8):
                    raise fail(first.place, f"unknown stanza {first.text!r}: did you mean 'replicate'?")
                else:
                    self._skip_stanza(item)

    def _cluster_option(self, option: Option, section: Section) -> None:
        name = option.name.text.lower()
        if name in CLUSTER_OPTIONS:
            _add(section, option)
        elif name == "replicate":
            raise fail(
                option.name.place, 'replicate is a stanza: write replicate [ type = … ] or Replicate "…" { }.'
            )
        elif near := difflib.get_close_matches(name, CLUSTER_OPTIONS, n=1, cutoff=0.85):
            # The stanza has many options that are none of our business: only what is nearly ours is refused.
            raise fail(option.name.place, f"unknown option {option.name.text!r}: did you mean {near[0]!r}?")
        else:
            self._skip(option.name.text, option.name.place, stanza=False)

    def _ds_core(self, stanza: Stanza) -> None:
        for item in stanza.body:
            if isinstance(item, Stanza):
                self._datasource(item, item.names)
            elif isinstance(item, Option):
                self._skip(item.name.text, item.name.place, stanza=False)

    def _datasource(self, stanza: Stanza, names: tuple[Scalar, ...]) -> None:
        if len(names) != 1:
            raise fail(stanza.place, 'a datasource needs one name, such as Datasource "mycache" { … }.')
        section = Section("datasource", stanza.place, names[0].text, names[0].place)
        _add_options(section, stanza.body)
        self.draft.datasources.append(section)

    def _site(self, stanza: Stanza) -> None:
        if len(stanza.names) != 2:
            raise fail(stanza.place, 'a site needs one name, such as Site "outlook" { … }.')
        self.draft.sites.append(_owned(stanza, "Site stanza"))

    def _traffic(self, stanza: Stanza, outer: Scope, fault: str | None) -> None:
        """Collect the limits of a traffic stanza; `fault` says why none may stand there."""
        kind = stanza.names[0].text.lower()
        scope = outer
        if len(stanza.names) != 2:
            fault = fault or f"this {stanza.names[0].text} stanza needs exactly one name."
        elif outer.levels and _LEVELS.index(kind) <= _LEVELS.index(outer.levels[-1][0]):
            fault = fault or f"a {stanza.names[0].text} stanza cannot stand inside {outer}."
        else:
            scope = replace(outer, **{kind: stanza.names[1].text})
        for item in stanza.body:
            if isinstance(item, Option):
                self._limit(item, scope, fault)
            elif isinstance(item, Stanza) and item.names and item.names[0].text.lower() in _LEVELS:
                self._traffic(item, scope, fault)

    def _limit(self, option: Option, scope: Scope, fault: str | None) -> bool:
        name = option.name.text.lower()
        if not name.startswith("cluster_"):
            return False
        if name in _LIMITS:
            if fault is not None:
                raise fail(option.name.place, f"{option.name.text} cannot apply here: {fault}")
            self.draft.limits.append((scope, _entry(option)))
            return True
        if near := difflib.get_close_matches(name, _LIMITS, n=1, cutoff=0.85):
            raise fail(option.name.place, f"unknown option {option.name.text!r}: did you mean {near[0]!r}?")
        return False

    def _skip_stanza(self, stanza: Stanza) -> None:
        self._skip(" ".join(name.text for name in stanza.names), stanza.place, stanza=stanza.braces)

    def _skip(self, name: str, place: Place, *, stanza: bool) -> None:
        self.draft.skipped.append(Skipped(name, stanza, place))


def module_of(stanza: Stanza) -> str:
    """What a stanza configures, in lower case: its type, or v3's module behind the slash."""
    names = [name.text.lower() for name in stanza.names[:2]]
    if len(names) == 2 and names[0] in _MODULE_TYPES and "/" in names[1]:
        return names[1].rpartition("/")[2]
    return names[0]


def _owned(stanza: Stanza, noun: str) -> Section:
    """A stanza that is ours alone: one name at most, options only."""
    if len(stanza.names) > 2:
        raise fail(
            stanza.names[2].place, f"a {noun} has one name at most; found {stanza.names[2].text!r} after it."
        )
    name = stanza.names[1] if len(stanza.names) == 2 else None
    section = Section(noun, stanza.place, name.text if name else None, name.place if name else None)
    for item in stanza.body:
        if isinstance(item, Stanza):
            raise fail(item.place, f"a {noun} holds options only: write {item.names[0].text} = value.")
    _add_options(section, stanza.body)
    return section


def _merge(section: Section | None, stanza: Stanza, noun: str) -> Section:
    section = section or Section(noun, stanza.place)
    _add_options(section, stanza.body)
    return section


def _add_options(section: Section, body: Iterable[Item]) -> None:
    for item in body:
        if isinstance(item, Option):
            _add(section, item)


def _add(section: Section, option: Option) -> None:
    entry = _entry(option)
    earlier = section.entries.get(entry.name)
    if earlier is not None and entry.name in _REPEATABLE:
        both = (*earlier.elements, *entry.elements)
        entry = replace(
            entry, value=tuple(value for value, _ in both), items=tuple(place for _, place in both)
        )
    section.entries[entry.name] = entry


def _entry(option: Option) -> Entry:
    name = option.name.text.lower()
    name = _RENAMED.get(name, name)
    value = option.value
    if isinstance(value, Listing):
        items = tuple(item.text if isinstance(item, Scalar) else () for item in value.items)
        return Entry(name, items, option.name.place, value.place, tuple(item.place for item in value.items))
    return Entry(name, value.text, option.name.place, value.place)
