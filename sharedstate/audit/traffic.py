"""The series that mail events feed, exactly as the configuration has them.

====================  =========  ===================================================  =================
series                type       counts                                               windows
====================  =========  ===================================================  =================
``connect``           cidr_any   inbound connections, by address                      inbound_audit
``reception``         cidr_any   messages accepted, by address                        inbound_audit
``rejection``         cidr_any   messages or recipients refused, by address           inbound_audit
``domain_reception``  string     messages accepted for a domain                       outbound_audit
``delivery``          string     deliveries, by domain                                outbound_audit
``delivery_time``     time       their seconds, by domain                             outbound_audit
``transfail``         string     deliveries that failed for now, by domain            outbound_audit
``permfail``          string     deliveries that failed for good, by domain           outbound_audit
====================  =========  ===================================================  =================

The domain series also count under ``*``, which is all domains together. A metrics replication names what the fleet
sees, an eccmgr_metrics replication what managers see; what neither names but a monitor asks for stays in this process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sharedstate.names import address_field, canonical_domain

from .series import EVERYTHING, Monitor, Replicate, SeriesSpec, SeriesType

if TYPE_CHECKING:
    from sharedstate.config import Configuration

    from .core import MemberCore

__all__ = ["INBOUND", "NO_TRAFFIC", "OUTBOUND", "Traffic", "TrafficPlan", "plan_of"]

INBOUND = ("connect", "reception", "rejection")
#: Series of domains, and the metric that each belongs to.
OUTBOUND = {
    "domain_reception": "reception",
    "delivery": "delivery",
    "delivery_time": "delivery",
    "transfail": "transfail",
    "permfail": "permfail",
}
_DEFAULT_MONITORS = (Monitor(300, 6),)
#: Domains whose messages are counted towards the threshold; beyond it the count starts anew.
_THRESHOLD_CACHE = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPlan:
    """What the configuration wants counted.

    Attributes:
        series: the series with max_delay and max_pending of each.
        replicate: who sees series that a program defines without saying so (audit_series).
        monitor_domains: keep single domains, not just their total.
        domains: keep these whatever their traffic, and no others; empty for all.
        threshold: messages a domain must have had in this process before it is kept.
    """

    series: tuple[tuple[SeriesSpec, float, int], ...] = ()
    replicate: Replicate = Replicate.NONE
    monitor_domains: bool = True
    domains: frozenset[str] = frozenset()
    threshold: int = 0


def plan_of(configuration: Configuration) -> TrafficPlan:
    """What a configuration wants counted."""
    reach: dict[str, tuple[Replicate, float, int]] = {}
    for type_, replicate in (("eccmgr_metrics", Replicate.MANAGER), ("metrics", Replicate.CLUSTER)):
        stanza = configuration.replication(type_)
        for name in stanza.parameters if stanza else ():
            assert stanza is not None
            reach[name] = (replicate, stanza.max_delay, stanza.max_pending)
    inbound, outbound = configuration.inbound_audit, configuration.outbound_audit
    series: list[tuple[SeriesSpec, float, int]] = []

    def plan(name: str, metric: str, type_: SeriesType, monitors: tuple[Monitor, ...], wanted: bool) -> None:
        if metric in reach or wanted:
            replicate, max_delay, max_pending = reach.get(metric, (Replicate.NONE, 1.0, 100))
            spec = SeriesSpec.make(name, monitors or _DEFAULT_MONITORS, type_, replicate)
            series.append((spec, max_delay, max_pending))

    for name in INBOUND:
        plan(name, name, SeriesType.CIDR_ANY, inbound.monitors if inbound else (), inbound is not None)
    for name, metric in OUTBOUND.items():
        if metric != "reception" or outbound is not None:
            type_ = SeriesType.TIME if name == "delivery_time" else SeriesType.STRING
            plan(name, metric, type_, outbound.monitors if outbound else (), outbound is not None)
    return TrafficPlan(
        series=tuple(series),
        replicate=reach.get("audit_series", (Replicate.NONE, 0.0, 0))[0],
        monitor_domains=outbound.monitor_domains if outbound else True,
        domains=frozenset(outbound.domains if outbound else ()),
        threshold=outbound.threshold if outbound else 0,
    )


class Traffic:
    """Mail events, counted in the series of a plan. Memory only, any thread.

    Every method raises InvalidAddressError or InvalidDomainError for what is none, and then counts nothing.

    Attributes:
        connect: what counts a client's connection, called with its address and 1; None where nothing does, so that the
            most frequent event costs nothing then.
    """

    def __init__(self, plan: TrafficPlan, core: MemberCore | None = None) -> None:
        self._plan = plan
        self._add: dict[str, Callable[[str, int], None]] = {}
        self._seconds: Callable[[str, float], None] | None = None
        for spec, _, _ in plan.series:
            assert core is not None, "series need somebody who counts them"
            if spec.type is SeriesType.TIME:
                self._seconds = core.store(spec.name).add_seconds
            else:
                self._add[spec.name] = core.store(spec.name).add
        self.connect = self._add.get("connect")
        self._canonical: dict[str, str] = {}
        self._messages: dict[str, int] = {}

    def reception(self, ip: str, domain: str | None = None) -> None:
        """A message was accepted, for a domain if that is known."""
        if domain is not None:
            address_field(ip)
            self._domain("domain_reception", domain)
        self._address("reception", ip)

    def rejection(self, ip: str) -> None:
        """A message or recipient was refused."""
        self._address("rejection", ip)

    def delivery(self, domain: str, seconds: float) -> None:
        """A delivery succeeded after some seconds."""
        if self._seconds is not None:
            for key in self._keys(domain):
                self._seconds(key, seconds)
        self._domain("delivery", domain)

    def transfail(self, domain: str) -> None:
        """A delivery failed for now."""
        self._domain("transfail", domain)

    def permfail(self, domain: str) -> None:
        """A delivery failed for good."""
        self._domain("permfail", domain)

    def _address(self, name: str, ip: str) -> None:
        add = self._add.get(name)
        if add is not None:
            add(ip, 1)

    def _domain(self, name: str, domain: str) -> None:
        add = self._add.get(name)
        if add is not None:
            for key in self._keys(domain, message=name in ("delivery", "domain_reception")):
                add(key, 1)

    def _keys(self, domain: str, *, message: bool = False) -> tuple[str, ...]:
        """Keys an event of a domain counts under."""
        name = self._canonical.get(domain)
        if name is None:
            name = canonical_domain(domain)
            if len(self._canonical) >= _THRESHOLD_CACHE:
                self._canonical = {}
            self._canonical[domain] = name
        plan = self._plan
        if not plan.monitor_domains:
            return (EVERYTHING,)
        if plan.domains:
            return (EVERYTHING, name) if name in plan.domains else (EVERYTHING,)
        if plan.threshold:
            seen = self._messages.get(name, 0)
            if message and seen < plan.threshold:
                if len(self._messages) >= _THRESHOLD_CACHE:
                    self._messages = {}
                self._messages[name] = seen + 1
            if seen < plan.threshold:
                return (EVERYTHING,)
        return (EVERYTHING, name)


#: Of a process whose configuration wants nothing counted.
NO_TRAFFIC = Traffic(TrafficPlan())
