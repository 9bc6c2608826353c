"""MTA events: what happened on this node, counted in exactly the objects that are configured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .audit.traffic import NO_TRAFFIC, Traffic
from .member import Metrics
from .names import canonical_domain
from .objects.store import GaugeStore, Item, Ledger
from .specs import CountBy

if TYPE_CHECKING:
    from .config import Site

__all__ = ["Events"]

#: Address, domain, host, binding and binding group of an outbound connection, as the MTA named them.
_Connection = tuple[str, str, str | None, str | None, str | None]

#: Connections whose items are kept ready; beyond it a cache starts anew.
_ITEMS_CACHE = 65_536


class Events:
    """Events of this member's MTA. Every method changes memory only: no I/O, microseconds, any thread.

    A disconnect without a connect before changes nothing and is counted in ``metrics.unmatched``: an MTA must not be
    stopped by its own bookkeeping.

    Every method raises InvalidAddressError or InvalidDomainError for what is none, and then counts nothing anywhere.
    """

    def __init__(
        self,
        stores: Iterable[GaugeStore],
        sites: Sequence[Site],
        metrics: Metrics,
        traffic: Traffic = NO_TRAFFIC,
    ) -> None:
        by_class: dict[str, list[GaugeStore]] = {}
        self._ledger = Ledger()  # one for all, so that an event takes one lock for all it changes
        for store in stores:
            store.ledger = self._ledger
            by_class.setdefault(store.spec.cls, []).append(store)
        self._inbound = tuple(by_class.get("inbound_cidr", ()))
        self._outbound = tuple(by_class.get("outbound_cidr", ()))
        self._domains = tuple(by_class.get("outbound_domains", ()))
        self._bindings = tuple(by_class.get("outbound_binding_domains", ()))
        self._metrics = metrics
        self._clients: dict[str, tuple[Item, ...]] = {}
        self._connections: dict[_Connection, tuple[Item, ...]] = {}
        self._traffic = traffic
        self._connect_series = traffic.connect
        self._site_of_domain = {domain: site.name for site in sites for domain in site.domains}
        self._site_of_mx = {mx: site.name for site in sites for mx in site.mx if not mx.startswith("*.")}
        self._site_of_suffix = {mx[1:]: site.name for site in sites for mx in site.mx if mx.startswith("*.")}

    def inbound_connect(self, ip: str) -> None:
        """A client connected to this node."""
        items = self._clients.get(ip)
        self._add(self._client(ip) if items is None else items)
        if self._connect_series is not None:
            self._connect_series(ip, 1)

    def inbound_disconnect(self, ip: str) -> None:
        """A client's connection ended, however it did."""
        items = self._clients.get(ip)
        self._take(self._client(ip) if items is None else items)

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
        items = self._connections.get(connection)
        self._add(self._connection(connection) if items is None else items)

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
        items = self._connections.get(connection)
        self._take(self._connection(connection) if items is None else items)

    def reception(self, ip: str, domain: str | None = None) -> None:
        """A message from a client was accepted, for a recipient domain if the MTA tells it."""
        self._traffic.reception(ip, domain)

    def rejection(self, ip: str) -> None:
        """A message or recipient was refused."""
        self._traffic.rejection(ip)

    def delivery(self, domain: str, seconds: float) -> None:
        """A delivery succeeded, `seconds` after the message came."""
        self._traffic.delivery(domain, seconds)

    def transfail(self, domain: str) -> None:
        """A delivery failed for now."""
        self._traffic.transfail(domain)

    def permfail(self, domain: str) -> None:
        """A delivery failed for good."""
        self._traffic.permfail(domain)

    def _add(self, items: tuple[Item, ...]) -> None:
        with self._ledger.lock:
            for item in items:
                if not item.known:
                    item = item.store.recall(item)
                item.count += 1
                store = item.store
                store.room -= 1
                if not (item.changed and store.room):
                    store.note(item)

    def _take(self, items: tuple[Item, ...]) -> None:
        with self._ledger.lock:
            for item in items:
                if not item.known:
                    item = item.store.held(item)
                if not item.count:
                    self._metrics.unmatched += 1
                    continue
                item.count -= 1
                store = item.store
                store.room -= 1
                if not (item.changed and store.room):
                    store.note(item)

    def _client(self, ip: str) -> tuple[Item, ...]:
        items = tuple([store.item(ip) for store in self._inbound])
        if len(self._clients) >= _ITEMS_CACHE:
            self._clients = {}
        self._clients[ip] = items
        return items

    def _connection(self, connection: _Connection) -> tuple[Item, ...]:
        ip, domain, host, binding, group = connection
        items = [store.item(ip) for store in self._outbound if _in_group(store, group)]
        items += [
            store.item(self._counted_under(store, domain, host))
            for store in self._domains
            if _in_group(store, group)
        ]
        if binding is not None:
            items += [store.item((binding, domain)) for store in self._bindings if _in_group(store, group)]
        if len(self._connections) >= _ITEMS_CACHE:
            self._connections = {}
        self._connections[connection] = tuple(items)
        return tuple(items)

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
