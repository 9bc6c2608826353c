"""MTA events: what happened on this node, counted in exactly the objects that are configured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .errors import CountBelowZeroError
from .member import Metrics
from .names import canonical_domain
from .objects.store import GaugeKey, GaugeStore
from .specs import CountBy

if TYPE_CHECKING:
    from .config import Site

__all__ = ["Events"]

#: Address, domain, host, binding and binding group of an outbound connection, as the MTA named them.
_Connection = tuple[str, str, str | None, str | None, str | None]
#: Where a connection is counted, and under what.
_Target = tuple[GaugeStore, GaugeKey]

#: Connections whose targets are kept ready; beyond it the cache starts anew.
_TARGET_CACHE = 65_536


class Events:
    """Events of this member's MTA. Every method changes memory only: no I/O, microseconds, any thread.

    A disconnect without a connect before changes nothing and is counted in ``metrics.unmatched``: an MTA must not be
    stopped by its own bookkeeping.

    Every method raises InvalidAddressError or InvalidDomainError for what is none, and then counts nothing anywhere.
    """

    def __init__(self, stores: Iterable[GaugeStore], sites: Sequence[Site], metrics: Metrics) -> None:
        by_class: dict[str, list[GaugeStore]] = {}
        for store in stores:
            by_class.setdefault(store.spec.cls, []).append(store)
        self._inbound = tuple(by_class.get("inbound_cidr", ()))
        self._outbound = tuple(by_class.get("outbound_cidr", ()))
        self._domains = tuple(by_class.get("outbound_domains", ()))
        self._bindings = tuple(by_class.get("outbound_binding_domains", ()))
        self._metrics = metrics
        self._targets: dict[_Connection, list[_Target]] = {}
        self._site_of_domain = {domain: site.name for site in sites for domain in site.domains}
        self._site_of_mx = {mx: site.name for site in sites for mx in site.mx if not mx.startswith("*.")}
        self._site_of_suffix = {mx[1:]: site.name for site in sites for mx in site.mx if mx.startswith("*.")}

    def inbound_connect(self, ip: str) -> None:
        """A client connected to this node."""
        for store in self._inbound:
            store.increment(ip)

    def inbound_disconnect(self, ip: str) -> None:
        """A client's connection ended, however it did."""
        for store in self._inbound:
            try:
                store.decrement(ip)
            except CountBelowZeroError:
                self._metrics.unmatched += 1

    def outbound_connect(
        self,
        ip: str,
        domain: str,
        host: str | None = None,
        binding: str | None = None,
        binding_group: str | None = None,
    ) -> None:
        """This node opened a connection to deliver mail.

        Args:
            ip: address connected to.
            domain: destination domain.
            host: MX host connected to, for objects counted by host or site.
            binding: outbound binding used, for outbound_binding_domains.
            binding_group: its group, for objects limited to one.
        """
        connection = (ip, domain, host, binding, binding_group)
        for store, key in self._targets.get(connection) or self._find_targets(connection):
            store.increment(key)

    def outbound_disconnect(
        self,
        ip: str,
        domain: str,
        host: str | None = None,
        binding: str | None = None,
        binding_group: str | None = None,
    ) -> None:
        """A connection this node had opened ended; the arguments are those of its connect."""
        connection = (ip, domain, host, binding, binding_group)
        for store, key in self._targets.get(connection) or self._find_targets(connection):
            try:
                store.decrement(key)
            except CountBelowZeroError:
                self._metrics.unmatched += 1

    def reception(self, ip: str) -> None:
        """A message from a client was accepted. Kept by `metrics` replication, which this version does not have yet."""

    def rejection(self, ip: str) -> None:
        """A message or recipient was refused. Kept by `metrics` replication, which this version does not have yet."""

    def delivery(self, domain: str, seconds: float) -> None:
        """A delivery succeeded. Kept by `metrics` replication, which this version does not have yet."""

    def transfail(self, domain: str) -> None:
        """A delivery failed for now. Kept by `metrics` replication, which this version does not have yet."""

    def permfail(self, domain: str) -> None:
        """A delivery failed for good. Kept by `metrics` replication, which this version does not have yet."""

    def _find_targets(self, connection: _Connection) -> list[_Target]:
        ip, domain, host, binding, group = connection
        keys: list[_Target] = []
        for store in self._outbound:
            if _in_group(store, group):
                store.check(ip)
                keys.append((store, ip))
        for store in self._domains:
            if _in_group(store, group):
                name = self._counted_under(store, domain, host)
                store.check(name)
                keys.append((store, name))
        if binding is not None:
            for store in self._bindings:
                if _in_group(store, group):
                    store.check((binding, domain))
                    keys.append((store, (binding, domain)))
        if len(self._targets) >= _TARGET_CACHE:
            self._targets = {}
        self._targets[connection] = keys
        return keys

    def _counted_under(self, store: GaugeStore, domain: str, host: str | None) -> str:
        if store.spec.count_by is CountBy.DOMAIN:
            return domain
        if store.spec.count_by is CountBy.HOST:
            return host or domain
        site = self._site_of_domain.get(canonical_domain(domain))
        if site is None and host:
            name = canonical_domain(host)
            site = self._site_of_mx.get(name)
            while site is None and "." in name:
                name = name.partition(".")[2]
                site = self._site_of_suffix.get("." + name)
        return site or domain


def _in_group(store: GaugeStore, group: str | None) -> bool:
    wanted = store.spec.binding_group
    return wanted is None or (group is not None and group.lower() == wanted.lower())
