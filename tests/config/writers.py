"""Configurations written in each language, for tests that read them back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sharedstate.config import Configuration, Limit, Rate
from sharedstate.specs import DEFAULT_SHARDS, CountBy, ObjectSpec

_BARE = re.compile(r"[A-Za-z0-9_.:,-]+\Z")


def v3(configuration: Configuration) -> str:
    """The third generation: modules named in full, dictionaries, bare words where they may be."""
    lines = ["Logger cluster/ec_cluster ec_cluster {"]
    lines += [f"  {key} = {_word(value)}" for key, value in _cluster(configuration).items()]
    for options in _replicates(configuration, named="type"):
        lines.append(f"  replicate [ {' '.join(f'{key}={_word(value)}' for key, value in options.items())} ]")
    lines += ["}", "Module datasource/ds_core ds_core {"]
    for source in configuration.datasources:
        lines.append(f"  {_word(source.name)} [")
        lines += [f"    uri = {_quoted(uri)}" for uri in source.uri]
        lines += [f"    {key} = {_word(value)}" for key, value in _datasource(source).items()]
        lines.append("  ]")
    lines.append("}")
    if (inbound := configuration.inbound_audit) is not None:
        lines.append("Validate validate/inbound_audit inbound_audit {")
        lines += [f"  monitor = {_quoted(monitor)}" for monitor in inbound.monitors]
        lines.append("}")
    if (outbound := configuration.outbound_audit) is not None:
        lines.append("Validate validate/outbound_audit outbound_audit {")
        lines += [f"  monitor = {_quoted(monitor)}" for monitor in outbound.monitors]
        lines += [f"  {key} = {_word(value)}" for key, value in _outbound(outbound).items()]
        if outbound.domains:
            lines.append(f"  domainlist = {','.join(outbound.domains)}")
        lines.append("}")
    for site in configuration.sites:
        lines.append(f"Site {site.name} {{")
        lines += [f"  {key} = ( {', '.join(names)} )" for key, names in _site(site).items()]
        lines.append("}")
    lines += [_limit(limit, _word) for limit in configuration.limits]
    return "\n".join(lines)


def v4(configuration: Configuration) -> str:
    """The fourth generation: scopes with quoted names, lists, everything quoted."""
    lines = ["cluster {"]
    lines += [f"\t{key} = {_quoted(value)}" for key, value in _cluster(configuration).items()]
    for options in _replicates(configuration, named="name"):
        name = options.pop("name")
        lines.append(f"\tReplicate {_quoted(name)} {{")
        lines += [f"\t\t{key.title()} = {_quoted(value)}" for key, value in options.items()]
        lines.append("\t}")
    lines.append("}")
    for source in configuration.datasources:
        lines.append(f"Datasource {_quoted(source.name)} {{")
        lines.append(f"\turi = ( {' '.join(map(_quoted, source.uri))} )")
        lines += [f"\t{key} = {_quoted(value)}" for key, value in _datasource(source).items()]
        lines.append("}")
    for noun, audit in (
        ("inbound_audit", configuration.inbound_audit),
        ("outbound_audit", configuration.outbound_audit),
    ):
        if audit is not None:
            lines.append(f"{noun} {{")
            lines.append(f"\tmonitors = ({' '.join(map(_quoted, audit.monitors))})")
            lines += [f"\t{key} = {_quoted(value)}" for key, value in _outbound(audit).items()]
            if domains := getattr(audit, "domains", ()):
                lines.append(f"\tdomainlist = ( {' '.join(map(_quoted, domains))} )")
            lines.append("}")
    for site in configuration.sites:
        lines.append(f"SITE {_quoted(site.name)} {{")
        lines += [f"\t{key} = ( {' '.join(map(_quoted, names))} )" for key, names in _site(site).items()]
        lines.append("}")
    lines += [_limit(limit, _quoted) for limit in configuration.limits]
    return "\n".join(lines)


def toml(configuration: Configuration) -> str:
    """Native TOML."""
    lines = ["[cluster]", *_pairs(_cluster(configuration))]
    for options in _replicates(configuration, named="name"):
        if "parameters" in options:
            options["parameters"] = options["parameters"].split(";")
        lines += ["[[replicate]]", *_pairs(options)]
    for source in configuration.datasources:
        lines += ["[[datasource]]", *_pairs({"name": source.name, "uri": source.uri, **_datasource(source)})]
    for noun, audit in (
        ("inbound_audit", configuration.inbound_audit),
        ("outbound_audit", configuration.outbound_audit),
    ):
        if audit is not None:
            lines += [f"[{noun}]", *_pairs({"monitors": list(map(str, audit.monitors)), **_outbound(audit)})]
            if domains := getattr(audit, "domains", ()):
                lines += _pairs({"domainlist": domains})
    for site in configuration.sites:
        lines += ["[[site]]", *_pairs({"name": site.name, **_site(site)})]
    for limit in configuration.limits:
        value = str(limit.value) if isinstance(limit.value, Rate) else limit.value
        lines += ["[[limit]]", *_pairs({**dict(limit.scope.levels), limit.kind.value: value})]
    return "\n".join(lines)


def _cluster(configuration: Configuration) -> dict[str, Any]:
    values = {
        "cluster_group": configuration.cluster,
        "control_group": configuration.control_group,
        "log_group": configuration.logger_group,
        "redis_url": configuration.url,
        "nodename": configuration.node,
        "member_timeout": configuration.member_timeout,
    }
    return {key: value for key, value in values.items() if value is not None}


def _replicates(configuration: Configuration, *, named: str) -> Iterable[dict[str, Any]]:
    for spec in configuration.objects:
        yield {named: spec.name, **({"class": spec.cls} if spec.name != spec.cls else {}), **_spec(spec)}
    for cache in configuration.caches:
        name = {"replication_name": cache.name} if named == "type" else {"name": cache.name}
        parameters = {"parameters": "snapshot"} if cache.snapshot else {}
        yield {**name, "type": "cache", "max_size": cache.max_size, **parameters, **_sending(cache)}
    for entry in configuration.replications:
        parameters = {"parameters": ";".join(entry.parameters)} if entry.parameters else {}
        yield {named: entry.type, **parameters, **_sending(entry)}


def _spec(spec: ObjectSpec) -> dict[str, Any]:
    values: dict[str, Any] = _sending(spec) | {"remember": spec.remember}
    if spec.shards != DEFAULT_SHARDS:
        values["shards"] = spec.shards
    if spec.binding_group is not None:
        values["binding_group"] = spec.binding_group
    if spec.count_by is not CountBy.DOMAIN:
        values["count_by"] = spec.count_by.value
    return values


def _sending(entry: Any) -> dict[str, Any]:
    return {"max_delay": entry.max_delay, "max_pending": entry.max_pending}


def _datasource(source: Any) -> dict[str, Any]:
    names = ("cache_life", "cache_size", "max_rows", "no_cache", "serialized")
    return {name: getattr(source, name) for name in names}


def _outbound(audit: Any) -> dict[str, Any]:
    return {name: getattr(audit, name) for name in ("monitor_domains", "threshold") if hasattr(audit, name)}


def _site(site: Any) -> dict[str, tuple[str, ...]]:
    return {name: names for name, names in (("domains", site.domains), ("mx", site.mx)) if names}


def _limit(limit: Limit, word: Any) -> str:
    text = f"{limit.kind.value.title()} = {word(limit.value)}"
    for kind, name in reversed(limit.scope.levels):
        text = f"{kind} {_quoted(name)} {{ {text} }}"
    return text


def _word(value: Any) -> str:
    text = _text(value)
    return text if _BARE.match(text) else _quoted(text)


def _quoted(value: Any) -> str:
    escaped = _text(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _pairs(values: Mapping[str, Any]) -> list[str]:
    # JSON's strings, numbers, lists and booleans are TOML's.
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
