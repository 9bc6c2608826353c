"""A draft to a `Configuration`: what is allowed, what the defaults are, what must fit together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from sharedstate.errors import InvalidValueError
from sharedstate.names import canonical_domain
from sharedstate.specs import CLASS_KINDS, DEFAULT_SHARDS, MAX_SHARDS, CountBy, ObjectSpec, check_name
from sharedstate.throttle.decision import Mode, Policy
from sharedstate.throttle.defaults import Defaults

from .counting import counting_objects
from .draft import Draft, Entry, Section, boolean, fail, integer, number, suggest, text, texts
from .limits import build_limits
from .model import (
    Cache,
    Configuration,
    Datasource,
    InboundAudit,
    Monitor,
    OutboundAudit,
    Place,
    Replication,
    Site,
)
from .options import (
    CACHE,
    METRIC_TYPES,
    METRICS,
    REPLICATE_OPTIONS,
    SITE_OPTIONS,
    SNAPSHOT,
    TYPES,
)

__all__ = ["build"]

_MONITOR = re.compile(r"([0-9]{1,9})\s*,\s*([0-9]{1,9})\Z")
_YEAR = 366 * 86400
_ENTRIES = 10**9

E = TypeVar("E", Mode, Policy)


def build(draft: Draft) -> Configuration:
    """Check a draft and fill in what it leaves out.

    Raises:
        ConfigError: with the place of the value that is wrong.
    """
    cluster = draft.cluster or Section("cluster stanza", Place(None, 1, 1))
    options = cluster.entries
    shards = integer(options["shards"], 1, MAX_SHARDS) if "shards" in options else DEFAULT_SHARDS
    timeout = options.get("member_timeout")
    datasources = _datasources(draft.datasources)
    replicates = _Replicates(shards, datasources)
    for section in draft.replicates:
        replicates.add(section)
    limits = build_limits(draft.limits)
    added = counting_objects(limits, replicates.objects, shards)
    return Configuration(
        cluster=_name(options.get("cluster_group"), "cluster") or "ec_cluster",
        control_group=_name(options.get("control_group"), "control group") or "ec_console",
        logger_group=_name(options.get("log_group"), "logger group"),
        url=_url(options.get("redis_url")),
        node=_name(options.get("nodename"), "node"),
        member_timeout=15.0 if timeout is None else number(timeout, 0.1, 3600, "seconds"),
        throttles=_throttles(options),
        objects=(*replicates.objects, *(spec for spec, _ in added)),
        object_places=(*replicates.object_places, *(place for _, place in added)),
        added=tuple(spec.name for spec, _ in added),
        caches=tuple(replicates.caches),
        replications=tuple(replicates.replications.values()),
        datasources=tuple(datasources.values()),
        sites=_sites(draft.sites),
        inbound_audit=_inbound_audit(draft.inbound_audit),
        outbound_audit=_outbound_audit(draft.outbound_audit),
        limits=limits,
        skipped=tuple(draft.skipped),
        files=tuple(draft.files),
    )


class _Replicates:
    """The replicate stanzas, sorted by what they are."""

    def __init__(self, shards: int, datasources: dict[str, Datasource]) -> None:
        self._shards = shards
        self._datasources = datasources
        self._names: dict[str, Place] = {}
        self.objects: list[ObjectSpec] = []
        self.object_places: list[Place] = []
        self.caches: list[Cache] = []
        self.replications: dict[str, Replication] = {}

    def add(self, section: Section) -> None:
        section.only(tuple(REPLICATE_OPTIONS))
        type_ = _type(section)
        for entry in section.entries.values():
            if type_ not in REPLICATE_OPTIONS[entry.name]:
                allowed = " and ".join(REPLICATE_OPTIONS[entry.name])
                raise fail(entry.place, f"{entry.name} is for {allowed} only, and this is {type_}.")
        if type_ in CLASS_KINDS:
            self._add_object(section, type_)
        elif type_ == CACHE:
            self._add_cache(section)
        else:
            self._add_replication(section, type_)

    def _add_object(self, section: Section, cls: str) -> None:
        entries = section.entries
        _parameters(section, (SNAPSHOT,), cls)  # always on: a member reads the counts where they are
        name, place = section.name, section.name_place or section.place
        if name is None:
            named_by = entries["type"] if "type" in entries else entries["class"]
            name, place = text(named_by), named_by.value_place
        name = name.lower()
        self._claim(name, place)
        group, count_by = entries.get("binding_group"), entries.get("count_by")
        with _located(place):
            spec = ObjectSpec(
                name=name,
                cls=cls,
                shards=integer(entries["shards"], 1, MAX_SHARDS) if "shards" in entries else self._shards,
                max_delay=_max_delay(section),
                max_pending=_max_pending(section),
                binding_group=None if group is None else text(group),
                count_by=CountBy.DOMAIN if count_by is None else _count_by(count_by),
                remember=integer(entries["remember"], 0, 10_000_000) if "remember" in entries else 10_000,
            )
        self.objects.append(spec)
        self.object_places.append(section.place)

    def _add_cache(self, section: Section) -> None:
        named_by = section.entries.get("replication_name")
        if named_by is not None:
            name, place = text(named_by), named_by.value_place
        elif section.name is not None:
            name, place = section.name, section.name_place or section.place
        else:
            raise fail(section.place, 'a cache needs the name of its datasource: add replication_name = "…".')
        datasource = self._datasources.get(name.lower())
        if datasource is None:
            known = [known.name for known in self._datasources.values()]
            hint = suggest(name, known) if known else "none is defined."
            raise fail(place, f"cache {name!r} has no datasource of that name: {hint}")
        self._claim(f"{CACHE} {datasource.name}", place)
        max_size = section.entries.get("max_size")
        self.caches.append(
            Cache(
                name=datasource.name,
                datasource=datasource,
                snapshot=SNAPSHOT in _parameters(section, (SNAPSHOT,), CACHE),
                max_size=-1 if max_size is None else integer(max_size, -1, _ENTRIES),
                max_delay=_max_delay(section),
                max_pending=_max_pending(section),
                place=section.place,
            )
        )

    def _add_replication(self, section: Section, type_: str) -> None:
        metrics = type_ in METRIC_TYPES
        parameters = _parameters(section, (*METRICS, SNAPSHOT) if metrics else (SNAPSHOT,), type_)
        place = section.place
        if metrics and type_ in self.replications:
            # The reference shows one stanza for each use of metrics; a file may well hold several.
            earlier = self.replications[type_]
            parameters = (*earlier.parameters, *parameters)
            place = earlier.place or place
        else:
            self._claim(type_, section.place)
        self.replications[type_] = Replication(
            type=type_,
            parameters=tuple(dict.fromkeys(name for name in parameters if name != SNAPSHOT)),
            max_delay=_max_delay(section),
            max_pending=_max_pending(section),
            place=place,
        )

    def _claim(self, name: str, place: Place) -> None:
        if name in self._names:
            raise fail(place, f"{name} is replicated twice: it was already at {self._names[name]}.")
        self._names[name] = place


def _type(section: Section) -> str:
    """Canonical type of a replicate stanza: its class, else its type, else its name."""
    entry = section.entries.get("class") or section.entries.get("type")
    if entry is not None:
        word, place = text(entry), entry.value_place
    elif section.name is not None:
        word, place = section.name, section.name_place or section.place
    else:
        raise fail(section.place, "a replicate stanza needs a type: add type = inbound_cidr or another.")
    type_ = TYPES.get(word.lower())
    if type_ is not None:
        return type_
    for cls in CLASS_KINDS:
        if word.lower().startswith(f"{cls}_"):
            raise fail(place, f'unknown replicate type {word!r}: to make it a variant, add class = "{cls}".')
    raise fail(place, f"unknown replicate type {word!r}: {suggest(word, TYPES.values())}")


def _parameters(section: Section, allowed: tuple[str, ...], type_: str) -> tuple[str, ...]:
    entry = section.entries.get("parameters")
    if entry is None:
        return ()
    found = texts(entry, separators=";")
    for name, place in found:
        if name.lower() not in allowed:
            raise fail(place, f"{type_} has no parameter {name!r}: {suggest(name, allowed)}")
    return tuple(dict.fromkeys(name.lower() for name, _ in found))


def _max_delay(section: Section) -> float:
    entry = section.entries.get("max_delay")
    return 1.0 if entry is None else number(entry, 0, 3600, "seconds")


def _max_pending(section: Section) -> int:
    entry = section.entries.get("max_pending")
    return 100 if entry is None else integer(entry, 1, 1_000_000)


def _count_by(entry: Entry) -> CountBy:
    word = text(entry)
    try:
        return CountBy(word.lower())
    except ValueError:
        known = [member.value for member in CountBy]
        raise fail(entry.value_place, f"nothing is counted by {word!r}: {suggest(word, known)}") from None


def _name(entry: Entry | None, noun: str) -> str | None:
    if entry is None:
        return None
    with _located(entry.value_place):
        return check_name(text(entry), noun)


def _throttles(options: Mapping[str, Entry]) -> Defaults:
    mode, policy, timeout = (options.get(f"throttle_{name}") for name in ("mode", "policy", "timeout"))
    plain = Defaults()
    return Defaults(
        mode=plain.mode if mode is None else _one_of(Mode, mode),
        policy=plain.policy if policy is None else _one_of(Policy, policy),
        timeout=plain.timeout if timeout is None else number(timeout, 0.001, 60, "seconds"),
    )


def _one_of(kind: type[E], entry: Entry) -> E:
    written = text(entry).lower()
    for value in kind:
        if value.value == written:
            return value
    known = tuple(value.value for value in kind)
    raise fail(entry.value_place, f"{entry.name} cannot be {written!r}: {suggest(written, known)}")


def _url(entry: Entry | None) -> str | None:
    if entry is None:
        return None
    url = text(entry)
    if "://" not in url:
        raise fail(entry.value_place, f"{url!r} is not a server URL: write redis://host:port.")
    return url


def _datasources(sections: Iterable[Section]) -> dict[str, Datasource]:
    found: dict[str, Datasource] = {}
    for section in sections:
        name, entries = section.name or "", section.entries
        place = section.name_place or section.place
        if not name.strip():
            raise fail(section.place, "a datasource needs a name.")
        if name.lower() in found:
            raise fail(
                place, f"datasource {name!r} is defined twice: it was already at {found[name.lower()].place}."
            )
        found[name.lower()] = Datasource(
            name=name,
            uri=tuple(uri for uri, _ in texts(entries["uri"])) if "uri" in entries else (),
            cache_life=integer(entries["cache_life"], 0, _ENTRIES) if "cache_life" in entries else 3600,
            cache_size=integer(entries["cache_size"], 0, _ENTRIES) if "cache_size" in entries else 1000,
            max_rows=integer(entries["max_rows"], -1, _ENTRIES) if "max_rows" in entries else 100,
            no_cache="no_cache" in entries and boolean(entries["no_cache"]),
            serialized="serialized" in entries and boolean(entries["serialized"]),
            place=section.place,
        )
    return found


def _sites(sections: Iterable[Section]) -> tuple[Site, ...]:
    found: dict[str, Site] = {}
    owners: dict[tuple[str, str], str] = {}
    for section in sections:
        section.only(SITE_OPTIONS)
        place = section.name_place or section.place
        with _located(place):
            name = check_name((section.name or "").lower(), "site")
        if name in found:
            raise fail(place, f"site {name!r} is defined twice: it was already at {found[name].place}.")
        members: dict[str, tuple[str, ...]] = {}
        for option in SITE_OPTIONS:
            entry = section.entries.get(option)
            members[option] = (
                () if entry is None else _site_names(entry, name, owners, wildcards=option == "mx")
            )
        if not any(members.values()):
            raise fail(section.place, f"site {name!r} has neither domains nor mx: add one of them.")
        found[name] = Site(name, members["domains"], members["mx"], section.place)
    return tuple(found.values())


def _site_names(
    entry: Entry, site: str, owners: dict[tuple[str, str], str], *, wildcards: bool
) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for written, place in texts(entry, separators=","):
        star = "*." if wildcards and written.startswith("*.") else ""
        if "*" in written.removeprefix(star):
            where = (
                "at the front of an mx name, as in *.example.com" if wildcards else "in mx, not in domains"
            )
            raise fail(place, f"{written!r} has a '*' where none may stand: only {where}.")
        with _located(place):
            name = star + canonical_domain(written.removeprefix(star))
        owner = owners.setdefault((entry.name, name), site)
        if owner != site:
            raise fail(place, f"{name!r} belongs to site {owner!r} already: a name can have one site only.")
        names[name] = None
    return tuple(names)


def _inbound_audit(section: Section | None) -> InboundAudit | None:
    if section is None:
        return None
    return InboundAudit(_monitors(section), section.place)


def _outbound_audit(section: Section | None) -> OutboundAudit | None:
    if section is None:
        return None
    entries = section.entries
    domains: list[str] = []
    for name, place in texts(entries["domainlist"], separators=",") if "domainlist" in entries else ():
        with _located(place):
            domains.append(canonical_domain(name))
    return OutboundAudit(
        monitors=_monitors(section),
        monitor_domains=boolean(entries["monitor_domains"]) if "monitor_domains" in entries else True,
        domains=tuple(dict.fromkeys(domains)),
        threshold=integer(entries["threshold"], 0, _ENTRIES) if "threshold" in entries else 0,
        place=section.place,
    )


def _monitors(section: Section) -> tuple[Monitor, ...]:
    entry = section.entries.get("monitors")
    monitors: dict[Monitor, None] = {}
    for written, place in texts(entry) if entry is not None else ():
        match = _MONITOR.match(written)
        interval, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= interval <= _YEAR or not 1 <= count <= 10_000:
            raise fail(
                place,
                f'a monitor is "seconds,windows", such as "300,6" for six windows of 300 s; '
                f"found {written!r}.",
            )
        monitors[Monitor(interval, count)] = None
    return tuple(monitors)


@contextmanager
def _located(place: Place) -> Iterator[None]:
    """Give an error about a value the place where the value stands."""
    try:
        yield
    except InvalidValueError as error:
        raise fail(place, str(error)) from error
