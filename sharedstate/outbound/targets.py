"""Where an outbound connection is counted, and which of these counts are capped.

Events and slots share this, so that a slot counts in exactly the objects in which an event would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sharedstate.names import canonical_domain
from sharedstate.objects.fields import GaugeKey, shard_of_field
from sharedstate.objects.shard import Shard
from sharedstate.objects.store import GaugeStore, Item
from sharedstate.specs import CountBy

if TYPE_CHECKING:
    from sharedstate.config import Limit, Site
    from sharedstate.config.counting import Counted

    from .caps import Cap, CapTable

__all__ = ["Capped", "Connection", "Plan", "Target", "Targets"]

#: Address, domain, host, binding and binding group of an outbound connection, as the MTA named them.
Connection: TypeAlias = tuple[str | None, str, str | None, str | None, str | None]
#: Where a connection is counted, and under what.
Target: TypeAlias = tuple[GaugeStore, GaugeKey]

#: Connections whose targets are kept ready; beyond it the cache starts anew.
_CACHE = 65_536


@dataclass(frozen=True, slots=True)
class Capped:
    """One capped count of a connection."""

    store: GaugeStore
    key: GaugeKey
    field: bytes
    shard: Shard
    cap: Cap


@dataclass(frozen=True, slots=True)
class Plan:
    """How a slot is taken: of the capped counts one by one, in this order; the others are just counted."""

    capped: tuple[Capped, ...]
    counted: tuple[Target, ...]


class Targets:
    """Targets of outbound connections, worked out once for each.

    Args:
        stores: this member's objects.
        sites: destinations that several domains share.
        limits: the configured limits; those that are caps are used.

    Attributes:
        ready: items of connections seen before; only to be read.
    """

    def __init__(
        self, stores: Iterable[GaugeStore], sites: Sequence[Site] = (), limits: Sequence[Limit] = ()
    ) -> None:
        by_class: dict[str, list[GaugeStore]] = {}
        for store in stores:
            by_class.setdefault(store.spec.cls, []).append(store)
        self._addresses = tuple(by_class.get("outbound_cidr", ()))
        self._domains = tuple(by_class.get("outbound_domains", ()))
        self._bindings = tuple(by_class.get("outbound_binding_domains", ()))
        self._site_of_domain = {domain: site.name for site in sites for domain in site.domains}
        self._site_of_mx = {mx: site.name for site in sites for mx in site.mx if not mx.startswith("*.")}
        self._site_of_suffix = {mx[1:]: site.name for site in sites for mx in site.mx if mx.startswith("*.")}
        self._caps: CapTable | None = None
        self._homes: dict[Counted, GaugeStore] = {}
        if any(limit.kind.is_cap for limit in limits):
            self._compile([store for found in by_class.values() for store in found], limits)
        self.ready: dict[Connection, tuple[Item, ...]] = {}
        self._plans: dict[Connection, Plan] = {}

    def find(self, connection: Connection) -> tuple[Item, ...]:
        """The items a connection is counted in.

        Raises:
            InvalidAddressError, InvalidDomainError, InvalidValueError: of the first name that is not usable.
        """
        return self._remember(connection)[0]

    def plan(self, connection: Connection) -> Plan:
        """How a slot for this connection is taken; errors as in `find`."""
        return self._plans.get(connection) or self._remember(connection)[1]

    def _remember(self, connection: Connection) -> tuple[tuple[Item, ...], Plan]:
        capped = self._capped(connection)
        places = {(one.store, one.field): (one.store, one.key) for one in capped}
        # Scopes are counted where a cap needs them, by whoever counts the connection.
        found = {(store, store.field(key)): (store, key) for store, key in self._targets(connection)}
        counted = tuple(target for place, target in found.items() if place not in places)
        items = tuple([store.item(key) for store, key in (found | places).values()])
        plan = Plan(tuple(capped), counted)
        if len(self.ready) >= _CACHE:
            self.ready.clear()
            self._plans.clear()
        self._plans[connection] = plan
        self.ready[connection] = items
        return items, plan

    def _compile(self, stores: Sequence[GaugeStore], limits: Sequence[Limit]) -> None:
        from sharedstate.config.counting import find_object  # deferred: most processes have no caps

        from .caps import CapTable

        self._caps = CapTable(limits)
        by_name = {store.spec.name: store for store in stores}
        for counted in self._caps.counted:
            spec = find_object(counted, [store.spec for store in stores])
            assert spec is not None, "a configuration has the objects its caps are counted in"
            self._homes[counted] = by_name[spec.name]
            by_name[spec.name].guard()

    def _capped(self, connection: Connection) -> list[Capped]:
        if not self._caps:
            return []
        _, domain, host, binding, group = connection
        found = []
        for counting in self._caps.applying(domain, host, binding, group):
            store = self._homes[counting.counted]
            field = store.field(counting.item)
            shard = store.shards[shard_of_field(store.spec, field)]
            found.append(Capped(store, counting.item, field, shard, counting.cap))
        return found

    def _targets(self, connection: Connection) -> Iterator[Target]:
        ip, domain, host, binding, group = connection
        if ip is not None:
            for store in self._addresses:
                if _in_group(store, group):
                    yield store, ip
        for store in self._domains:
            if _in_group(store, group):
                yield store, self._counted_under(store, domain, host)
        if binding is not None:
            for store in self._bindings:
                if _in_group(store, group):
                    yield store, (binding, domain)

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
