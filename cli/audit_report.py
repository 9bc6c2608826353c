"""What the audit commands show, as data, before a view makes text of it."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sharedstate.audit.places import network_field, network_text
from sharedstate.audit.reading import Question
from sharedstate.audit.series import EVERYTHING, Monitor, SeriesSpec, SeriesType
from sharedstate.errors import InvalidValueError, UnknownSeriesError
from sharedstate.names import address_field

if TYPE_CHECKING:
    from sharedstate.audit.faces import AuditReader

__all__ = [
    "INBOUND_TITLES",
    "OUTBOUND_SERIES",
    "AllRow",
    "DomainRow",
    "Top",
    "WindowRow",
    "all_rows",
    "domain_names",
    "domain_rows",
    "inbound_rows",
    "outbound_series",
    "top_networks",
]

#: The reference's words for the built-in series.
INBOUND_TITLES = {"connect": "Connections", "reception": "Receptions", "rejection": "Rejections"}
OUTBOUND_SERIES = ("domain_reception", "delivery", "delivery_time", "transfail", "permfail")


@dataclass(slots=True)
class WindowRow:
    """One series and monitor, asked about one address or block.

    Attributes:
        series: its name.
        title: what the console calls it.
        monitor: its windows.
        counts: count of each window, the current one first.
        nodes: of each node its count in all windows; empty unless asked for.
    """

    series: str
    title: str
    monitor: Monitor
    counts: list[int]
    nodes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DomainRow:
    """A domain in one window.

    Attributes:
        domain: the domain, or ``global``.
        interval: seconds of the window.
        window: its number, 0 is the current one.
        receptions: messages accepted for it.
        deliveries: messages delivered.
        seconds: mean delivery time.
        slow: the time that 95 % of deliveries did not exceed.
        transfails: deliveries that failed for now.
        permfails: deliveries that failed for good.
    """

    domain: str
    interval: int
    window: int
    receptions: int
    deliveries: int
    seconds: float
    slow: float
    transfails: int
    permfails: int


@dataclass(frozen=True, slots=True)
class AllRow:
    """One key in one window of a series."""

    series: str
    key: str
    interval: int
    window: int
    count: int


@dataclass(frozen=True, slots=True)
class Top:
    """A network, address or text in the ranking.

    Attributes:
        key: the network.
        count: its count in the windows asked for.
        before: its count in as many windows before these.
    """

    key: str
    count: int
    before: int

    @property
    def growth(self) -> int:
        """By how much it grew."""
        return self.count - self.before


def inbound_rows(
    audit: AuditReader, key: str, *, node: str | None, series: str | None, by_node: bool
) -> list[WindowRow]:
    """Every series of addresses that can hold `key`, window by window. Two round trips, with nodes three.

    Raises:
        InvalidAddressError: the key is no address or block.
        UnknownSeriesError: no series of addresses has the name asked for.
    """
    known = {spec.name: spec for spec in audit.series() if spec.type.is_cidr}
    if series is not None:
        if series not in known:
            raise UnknownSeriesError(series, known)
        known = {series: known[series]}
    family = SeriesType.CIDR_IPV6 if ":" in key and "." not in key else SeriesType.CIDR
    specs = [spec for spec in known.values() if spec.type in (family, SeriesType.CIDR_ANY) or series]
    rows = [
        WindowRow(spec.name, INBOUND_TITLES.get(spec.name, spec.name), monitor, [])
        for spec in sorted(specs, key=_inbound_order)
        for monitor in spec.monitors
    ]
    if not rows:
        return rows
    nodes = {row.series: audit.nodes(row.series) for row in rows} if by_node else {}
    questions = [_whole(row, key, node) for row in rows]
    questions += [_whole(row, key, one) for row in rows for one in nodes.get(row.series, ())]
    found = iter(audit.windows_many(questions))
    for row in rows:
        row.counts = next(found)
    for row in rows:
        for one in nodes.get(row.series, ()):
            row.nodes[one] = sum(next(found))
    return rows


def _inbound_order(spec: SeriesSpec) -> tuple[int, str]:
    built_in = list(INBOUND_TITLES)
    return (built_in.index(spec.name) if spec.name in built_in else len(built_in), spec.name)


def _whole(row: WindowRow, key: str, node: str | None) -> Question:
    return Question(row.series, key, 0, row.monitor.count - 1, node, row.monitor)


def all_rows(audit: AuditReader, specs: list[SeriesSpec], node: str | None) -> Iterator[AllRow]:
    """Everything that some series hold, in no order, a page at a time."""
    for spec in specs:
        for monitor in spec.monitors:
            for window in range(monitor.count):
                for page in audit.pages(spec.name, window, node, monitor):
                    for key, count in page.items():
                        yield AllRow(spec.name, key, monitor.interval, window, count)


def domain_names(audit: AuditReader, node: str | None) -> list[str]:
    """Domains that some outbound series holds, by name; reads them all."""
    found: set[str] = set()
    for name in outbound_series(audit):
        if name == "delivery_time":
            continue
        for monitor in audit.spec(name).monitors:
            for window in range(monitor.count):
                for page in audit.pages(name, window, node, monitor):
                    found.update(page)
    return sorted(found - {EVERYTHING})


def outbound_series(audit: AuditReader) -> list[str]:
    """The fleet's series of mail events by domain.

    Raises:
        UnknownSeriesError: it has none.
    """
    known = [spec.name for spec in audit.series()]
    found = [name for name in OUTBOUND_SERIES if name in known]
    if not found:
        raise UnknownSeriesError(OUTBOUND_SERIES[1], known)
    return found


def domain_rows(audit: AuditReader, domains: list[str], node: str | None) -> Iterator[DomainRow]:
    """Domains window by window; ``global`` is all of them together. Some round trips for each 200 domains."""
    names = outbound_series(audit)
    monitors = dict.fromkeys(monitor for name in names for monitor in audit.spec(name).monitors)
    for first in range(0, len(domains), 200):
        part = domains[first : first + 200]
        keys = [EVERYTHING if domain == "global" else domain for domain in part]
        for monitor in monitors:
            last = monitor.count - 1
            have = [name for name in names if monitor in audit.spec(name).monitors]
            plain = [name for name in have if name != "delivery_time"]
            found = iter(
                audit.windows_many(
                    [Question(name, key, 0, last, node, monitor) for key in keys for name in plain]
                )
            )
            for domain, key in zip(part, keys, strict=True):
                counts = {name: next(found) for name in plain}
                times = (
                    audit.duration_windows("delivery_time", key, node, monitor)
                    if "delivery_time" in have
                    else []
                )
                for window in range(monitor.count):
                    received, delivered, transient, permanent = (
                        counts[name][window] if name in counts else 0
                        for name in OUTBOUND_SERIES
                        if name != "delivery_time"
                    )
                    yield DomainRow(
                        domain,
                        monitor.interval,
                        window,
                        received,
                        delivered,
                        times[window].mean if times else 0.0,
                        times[window].quantile(0.95) if times else 0.0,
                        transient,
                        permanent,
                    )


def top_networks(
    audit: AuditReader,
    series: str,
    *,
    mask: int | None,
    limit: int,
    growth: bool,
    windows: range,
    monitor: str | None,
    node: str | None,
) -> tuple[list[Top], int]:
    """The busiest keys or networks, and how many there are. Memory grows with the number of networks.

    Args:
        audit: whom to ask.
        series: the series.
        mask: length of the networks, of both families; None for single addresses.
        limit: how many.
        growth: rank by growth over as many windows before, not by count.
        windows: which windows.
        monitor: of which monitor.
        node: one node's part.
    """
    spec = audit.spec(series)
    chosen = spec.monitor(monitor)
    if mask is not None and not spec.type.is_cidr:
        raise InvalidValueError(f"series {series!r} has type {spec.type}: its keys have no --mask.")
    longest = 32 if spec.type is SeriesType.CIDR else 128
    if mask is not None and not 0 <= mask <= longest:
        raise InvalidValueError(f"a mask of {mask} bits is not usable: give 0 to {longest}.")
    now: Counter[str] = Counter()
    before: Counter[str] = Counter()
    past = range(windows.stop, min(windows.stop + len(windows), chosen.count))
    for target, numbers in ((now, windows), (before, past)):
        for window in numbers:
            for page in audit.pages(series, window, node, chosen):
                for key, count in page.items():
                    target[
                        key if mask is None else network_text(network_field(address_field(key), mask), mask)
                    ] += count
    rows = (Top(key, now[key], before[key]) for key in {*now, *before})
    best = heapq.nsmallest(limit, rows, key=lambda row: (-(row.growth if growth else row.count), row.key))
    return best, len({*now, *before})
