"""What ``config check`` understood: a configuration in plain words, and as data.

Passwords stay out of every form: of a server's URL only the user is shown, of a datasource only the driver.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sharedstate.config import LimitKind, OutboundAudit, Rate
from sharedstate.specs import CountBy
from sharedstate.throttle.decision import Policy

from .text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sharedstate.config import (
        Cache,
        Configuration,
        Datasource,
        InboundAudit,
        Limit,
        Place,
        Replication,
    )
    from sharedstate.specs import ObjectSpec

__all__ = ["Part", "Row", "config_csv", "config_json", "config_lines", "config_table", "parts_of"]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was understood.

    Attributes:
        what: its name.
        words: what it means.
        place: where it was written, or None.
    """

    what: str
    words: str
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Things of one kind.

    Attributes:
        key: its name in CSV.
        title: its heading.
        rows: the things.
    """

    key: str
    title: str
    rows: tuple[Row, ...]


_NOT_YET = "read, but this version does not act on it"

_WITHOUT_REDIS = {
    Policy.LOCAL: "this process's share of the rate decides",
    Policy.OPEN: "everything is allowed",
    Policy.CLOSED: "nothing is allowed",
}

_COUNTED = {
    "inbound_cidr": "open inbound connections by client address",
    "outbound_cidr": "open outbound connections by remote address",
    "outbound_domains": "open outbound connections by {by}",
    "outbound_binding_domains": "open outbound connections by binding and domain",
    "outbound_scopes": "open outbound connections by binding, binding group and as a whole, where a cap needs it",
}
_BY = {CountBy.DOMAIN: "domain", CountBy.HOST: "MX host", CountBy.SITE: "site, else by domain"}

_REPLICATED = {
    "shared_named_throttles": "throttles by name, for the whole fleet",
    "OBTM": "outbound message throttles",
    "OBTC": "outbound connection throttles",
    "metrics": "what the whole fleet sees",
    "eccmgr_metrics": "what managers see",
}

_LIMITED = {
    LimitKind.THROTTLE_MESSAGES: "at most {value} sent",
    LimitKind.THROTTLE_CONNECTIONS: "at most {value} opened",
    LimitKind.MAX_CONNECTIONS: "at most {value} open",
    LimitKind.SERVER_MAX_CONNECTIONS: "at most {value} open, all destinations together",
    LimitKind.SCOPE_MAX_CONNECTIONS: "at most {value} open in the scope as a whole",
}


def parts_of(configuration: Configuration, *, verbose: bool = False) -> tuple[Part, ...]:
    """Describe a configuration, part by part; parts that have nothing are left out.

    Args:
        configuration: what was read.
        verbose: name each thing that was skipped, not just how many.
    """
    places = configuration.object_places
    parts = [
        Part("cluster", "Cluster", tuple(_cluster(configuration))),
        Part(
            "object",
            "Shared objects",
            tuple(
                _object(spec, place, added=spec.name in configuration.added)
                for spec, place in zip(configuration.objects, places, strict=True)
            ),
        ),
        Part(
            "site",
            "Sites",
            tuple(Row(site.name, _site(site.domains, site.mx), site.place) for site in configuration.sites),
        ),
        Part("cache", f"Caches ({_NOT_YET})", tuple(_caches(configuration))),
        Part(
            "replicate",
            "Throttles",
            tuple(_replication(entry) for entry in configuration.replications if not _is_metrics(entry)),
        ),
        Part(
            "audit",
            "Audit series",
            (*map(_replication, filter(_is_metrics, configuration.replications)), *_audits(configuration)),
        ),
        Part("cap", "Connection caps", tuple(_limit(one) for one in configuration.limits if one.kind.is_cap)),
        Part(
            "limit",
            "Traffic limits",
            tuple(_limit(one) for one in configuration.limits if one.kind.is_rate),
        ),
    ]
    if verbose:
        skipped = (
            Row(entry.name, "stanza" if entry.stanza else "option", entry.place)
            for entry in configuration.skipped
        )
        parts.append(Part("skipped", "Skipped", tuple(skipped)))
    return tuple(part for part in parts if part.rows)


def config_lines(file: str, configuration: Configuration, *, verbose: bool = False) -> Iterator[str]:
    """Plain text: a heading for each part, an indented line for each thing, then what was left out."""
    yield f"{printable(file)} is correct{_files(configuration)}."
    for part in parts_of(configuration, verbose=verbose):
        yield ""
        yield f"{part.title}:"
        width = max(len(printable(row.what)) for row in part.rows)
        for row in part.rows:
            place = f"  [{printable(str(row.place))}]" if row.place else ""
            yield f"  {printable(row.what):<{width}}  {printable(row.words)}{place}"
    for sentence in _closing(configuration, verbose=verbose):
        yield ""
        yield sentence


def config_table(file: str, configuration: Configuration, *, verbose: bool = False) -> RenderableType:
    """The same for a terminal, as one table in sections."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    pieces: list[RenderableType] = [
        Text(f"{printable(file)} is correct{_files(configuration)}.", style="bold green")
    ]
    for part in parts_of(configuration, verbose=verbose):
        table = Table(
            title=Text(part.title, style="bold"),
            title_justify="left",
            box=box.SIMPLE,
            show_header=False,
            show_edge=False,
            pad_edge=False,
        )
        table.add_column(overflow="fold")
        table.add_column(overflow="fold")
        table.add_column(overflow="fold", style="dim")
        for row in part.rows:
            table.add_row(
                Text(printable(row.what), style="cyan"),
                Text(printable(row.words)),
                Text(printable(str(row.place)) if row.place else ""),
            )
        pieces += [Text(""), table]
    for sentence in _closing(configuration, verbose=verbose):
        pieces += [Text(""), Text(sentence)]
    return Group(*pieces)


def config_csv(configuration: Configuration, *, verbose: bool = False) -> Iterator[tuple[str, ...]]:
    """Records: part, name, words, file, line, column; a heading first."""
    yield ("part", "name", "meaning", "file", "line", "column")
    for part in parts_of(configuration, verbose=verbose):
        for row in part.rows:
            place = row.place
            where = (place.file or "", str(place.line), str(place.column)) if place else ("", "", "")
            yield (part.key, row.what, row.words, *where)


def config_json(file: str, configuration: Configuration) -> dict[str, Any]:
    """Everything, as data; `acted_on` names the parts that this version does something with."""
    audits = (configuration.inbound_audit, configuration.outbound_audit)
    return {
        "file": file,
        "files": list(configuration.files),
        "acted_on": ["cluster", "objects", "sites", "audit", "caps", "throttles", "limits"],
        "cluster": {
            "cluster_group": configuration.cluster,
            "control_group": configuration.control_group,
            "log_group": configuration.logger_group,
            "redis_url": None if configuration.url is None else _without_password(configuration.url),
            "nodename": configuration.node,
            "member_timeout": configuration.member_timeout,
            "throttle_mode": configuration.throttles.mode.value,
            "throttle_policy": configuration.throttles.policy.value,
            "throttle_timeout": configuration.throttles.timeout,
        },
        "objects": [
            {
                "name": spec.name,
                "class": spec.cls,
                "kind": spec.kind.value,
                "shards": spec.shards,
                "max_delay": spec.max_delay,
                "max_pending": spec.max_pending,
                "binding_group": spec.binding_group,
                "count_by": spec.count_by.value,
                "remember": spec.remember,
                "added": spec.name in configuration.added,
                "place": _place(place),
            }
            for spec, place in zip(configuration.objects, configuration.object_places, strict=True)
        ],
        "sites": [
            {
                "name": site.name,
                "domains": list(site.domains),
                "mx": list(site.mx),
                "place": _place(site.place),
            }
            for site in configuration.sites
        ],
        "datasources": [
            {
                "name": source.name,
                "drivers": _drivers(source),
                "cache_life": source.cache_life,
                "cache_size": source.cache_size,
                "max_rows": source.max_rows,
                "no_cache": source.no_cache,
                "serialized": source.serialized,
                "place": _place(source.place),
            }
            for source in configuration.datasources
        ],
        "caches": [
            {
                "name": cache.name,
                "snapshot": cache.snapshot,
                "max_size": cache.max_size,
                "max_delay": cache.max_delay,
                "max_pending": cache.max_pending,
                "place": _place(cache.place),
            }
            for cache in configuration.caches
        ],
        "replications": [
            {
                "type": entry.type,
                "parameters": list(entry.parameters),
                "max_delay": entry.max_delay,
                "max_pending": entry.max_pending,
                "place": _place(entry.place),
            }
            for entry in configuration.replications
        ],
        **{
            name: _audit_json(audit)
            for name, audit in zip(("inbound_audit", "outbound_audit"), audits, strict=True)
        },
        "limits": [
            {
                "limit": limit.kind.value,
                "scope": dict(limit.scope.levels),
                "value": str(limit.value) if isinstance(limit.value, Rate) else limit.value,
                "place": _place(limit.place),
            }
            for limit in configuration.limits
        ],
        "skipped": [
            {"name": entry.name, "what": "stanza" if entry.stanza else "option", "place": _place(entry.place)}
            for entry in configuration.skipped
        ],
    }


def _cluster(configuration: Configuration) -> Iterator[Row]:
    yield Row("name", configuration.cluster)
    yield Row("control group", configuration.control_group)
    if configuration.logger_group is not None:
        yield Row("logger group", configuration.logger_group)
    url = configuration.url
    yield Row("Redis", "not configured here" if url is None else _without_password(url))
    yield Row("node name", configuration.node or "found out by each node")
    yield Row(
        "member timeout", f"{configuration.member_timeout:g} s without a heartbeat, then a member is dead"
    )
    throttles = configuration.throttles
    yield Row(
        "throttles",
        f"{throttles.mode.value}; without Redis for {throttles.timeout:g} s, {_WITHOUT_REDIS[throttles.policy]}",
    )


def _object(spec: ObjectSpec, place: Place, *, added: bool) -> Row:
    words = _COUNTED[spec.cls].format(by=_BY[spec.count_by])
    if spec.binding_group is not None:
        words += f", of binding group {spec.binding_group!r} only"
    if spec.name != spec.cls:
        words += f", class {spec.cls}"
    words = f"{spec.kind} of {words}; {_published(spec)}; {_many(spec.shards, 'shard')}"
    if added:
        words += "; added by itself, because a cap is counted in it"
    return Row(spec.name, words, place)


def _published(entry: ObjectSpec | Cache | Replication) -> str:
    return f"published after {entry.max_delay:g} s or {_many(entry.max_pending, 'change')}"


def _site(domains: Iterable[str], mx: Iterable[str]) -> str:
    words = []
    if domains:
        words.append(f"domains {', '.join(domains)}")
    if mx:
        words.append(f"MX hosts {', '.join(mx)}")
    return "; ".join(words)


def _caches(configuration: Configuration) -> Iterator[Row]:
    for cache in configuration.caches:
        source = cache.datasource
        joining = "every pair" if cache.snapshot else "only pairs written after it joined"
        size = "" if cache.max_size < 0 else f", at most {_many(cache.max_size, 'entry')} replicated"
        words = f"replicated; a node that joins sees {joining}{size}; {_datasource(source)}"
        yield Row(cache.name, words, cache.place)
    replicated = {cache.name for cache in configuration.caches}
    for source in configuration.datasources:
        if source.name not in replicated:
            yield Row(source.name, f"not replicated; {_datasource(source)}", source.place)


def _datasource(source: Datasource) -> str:
    drivers = ", ".join(_drivers(source)) or "no uri"
    kept = (
        "answers not cached"
        if source.no_cache
        else f"{_many(source.cache_size, 'entry')} for {source.cache_life} s"
    )
    rows = "all rows" if source.max_rows < 0 else _many(source.max_rows, "row")
    return f"{drivers}; {kept}; {rows} a query{'; one answer serves all nodes' if source.serialized else ''}"


def _drivers(source: Datasource) -> list[str]:
    return [uri.partition(":")[0] if ":" in uri else "no driver" for uri in source.uri]


def _replication(entry: Replication) -> Row:
    words = _REPLICATED[entry.type]
    if _is_metrics(entry):
        words += f": {', '.join(entry.parameters) or 'no parameters, so nothing is replicated'}"
    return Row(entry.type, f"{words}; {_published(entry)}", entry.place)


def _is_metrics(entry: Replication) -> bool:
    return entry.type.endswith("metrics")


def _audits(configuration: Configuration) -> Iterator[Row]:
    inbound, outbound = configuration.inbound_audit, configuration.outbound_audit
    if inbound is not None:
        yield Row("inbound_audit", _monitors(inbound), inbound.place)
    if outbound is not None:
        if outbound.domains:
            words = f"domains {', '.join(outbound.domains)}"
        elif outbound.monitor_domains:
            words = f"domains with more than {_many(outbound.threshold, 'message')}"
        else:
            words = "totals only"
        yield Row("outbound_audit", f"{_monitors(outbound)}; {words}", outbound.place)


def _monitors(audit: InboundAudit | OutboundAudit) -> str:
    series = (f"{_many(monitor.count, 'window')} of {monitor.interval} s" for monitor in audit.monitors)
    return ", ".join(series) or "no monitors"


def _limit(limit: Limit) -> Row:
    if isinstance(limit.value, Rate):
        noun = "message" if limit.kind is LimitKind.THROTTLE_MESSAGES else "connection"
        value = f"{_many(limit.value.count, noun)} in {limit.value.seconds} s"
        words = _LIMITED[limit.kind].format(value=value)
    elif limit.value < 0:
        words = "unlimited"
    else:
        words = _LIMITED[limit.kind].format(value=_many(limit.value, "connection"))
    return Row(str(limit.scope), f"{words} ({limit.kind})", limit.place)


def _closing(configuration: Configuration, *, verbose: bool) -> Iterator[str]:
    if not configuration.objects:
        yield "No shared object is configured: nothing will be counted."
    stanzas = sum(entry.stanza for entry in configuration.skipped)
    options = len(configuration.skipped) - stanzas
    counted = [_many(number, noun) for number, noun in ((stanzas, "stanza"), (options, "option")) if number]
    if counted:
        more = "" if verbose else " (--verbose lists them)"
        yield f"Skipped {' and '.join(counted)} that do not concern shared state{more}."


def _files(configuration: Configuration) -> str:
    included = len(configuration.files) - 1
    return f", with {_many(included, 'included file')}" if included > 0 else ""


def _many(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun[:-1]}ies" if noun.endswith("y") else f"{number:,} {noun}s"


def _without_password(url: str) -> str:
    url = re.sub(r"://([^:/?#]*):.*@", r"://\1:***@", url)
    return re.sub(r"(?i)([?&]\w*password=)[^&]*", r"\1***", url)


def _place(place: Place | None) -> dict[str, Any] | None:
    return None if place is None else {"file": place.file, "line": place.line, "column": place.column}


def _audit_json(audit: InboundAudit | OutboundAudit | None) -> dict[str, Any] | None:
    if audit is None:
        return None
    found: dict[str, Any] = {"monitors": [str(monitor) for monitor in audit.monitors]}
    if isinstance(audit, OutboundAudit):
        found["monitor_domains"] = audit.monitor_domains
        found["domainlist"] = list(audit.domains)
        found["threshold"] = audit.threshold
    return {**found, "place": _place(audit.place)}
