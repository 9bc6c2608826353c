"""MTA events: what happened on this node, counted in exactly the objects that are configured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .errors import CountBelowZeroError
from .member import Metrics
from .objects.store import GaugeStore
from .outbound.targets import Targets

if TYPE_CHECKING:
    from .config import Limit, Site

__all__ = ["Events"]


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
    ) -> None:
        stores = tuple(stores)
        self._inbound = tuple(store for store in stores if store.spec.cls == "inbound_cidr")
        self._metrics = metrics
        #: Where outbound connections are counted.
        self.targets = Targets(stores, sites, limits)
        self._targets = self.targets.ready

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
        for store, key in self._targets.get(connection) or self.targets.find(connection):
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
        for store, key in self._targets.get(connection) or self.targets.find(connection):
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
