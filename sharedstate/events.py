"""MTA events: what happened on this node, counted in exactly the objects that are configured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .audit.traffic import NO_TRAFFIC, Traffic
from .member import Metrics
from .objects.store import GaugeStore, Item, Ledger
from .outbound.targets import Targets

if TYPE_CHECKING:
    from .config import Limit, Site

__all__ = ["Events"]

#: Clients whose items are kept ready; beyond it the cache starts anew.
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
        limits: Sequence[Limit] = (),
        traffic: Traffic = NO_TRAFFIC,
    ) -> None:
        stores = tuple(stores)
        self._ledger = Ledger()  # one for all, so that an event takes one lock for all it changes
        for store in stores:
            store.ledger = self._ledger
        self._inbound = tuple(store for store in stores if store.spec.cls == "inbound_cidr")
        self._metrics = metrics
        self._clients: dict[str, tuple[Item, ...]] = {}
        self._traffic = traffic
        self._connect_series = traffic.connect
        #: Where outbound connections are counted.
        self.targets = Targets(stores, sites, limits)
        self._connections = self.targets.ready

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
        self._add(self.targets.find(connection) if items is None else items)

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
        self._take(self.targets.find(connection) if items is None else items)

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
