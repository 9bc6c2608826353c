"""What an item is called in Redis: the canonical field of what a caller asks for, and the shard it lives in."""

from __future__ import annotations

import zlib

from sharedstate import cidr
from sharedstate.errors import InvalidDomainError, InvalidValueError
from sharedstate.names import address_field, canonical_domain
from sharedstate.specs import CountBy, Kind, ObjectSpec, check_name

__all__ = ["GaugeKey", "gauge_field", "shard_of_field"]

#: What an item is asked for by: an address, a domain, or (binding, domain).
GaugeKey = str | tuple[str, str]


def gauge_field(spec: ObjectSpec, key: GaugeKey) -> bytes:
    """Field of an item in its canonical form.

    Raises:
        InvalidAddressError: the object is a cidr tree and the key no address.
        InvalidDomainError: the object counts domains and the key is none.
    """
    if spec.kind is Kind.CIDR_TREE:
        return address_field(key)  # type: ignore[arg-type]  # a tuple is refused there with a sentence
    if spec.cls == "outbound_binding_domains":
        binding, domain = key if isinstance(key, tuple) and len(key) == 2 else _split_binding(key)
        if not binding or not binding.isprintable() or len(binding) > 255:
            raise InvalidValueError(
                f"binding name {binding!r} is not usable: give 1 to 255 printable characters."
            )
        return f"{binding.lower()}/{canonical_domain(domain)}".encode()
    if spec.cls == "outbound_scopes":
        return _scope_field(key)
    if spec.count_by is CountBy.SITE and isinstance(key, str):
        try:
            return canonical_domain(key).encode()
        except InvalidDomainError:
            return check_name(key, "site").lower().encode()
    return canonical_domain(key).encode()  # type: ignore[arg-type]  # a tuple is refused there with a sentence


def _split_binding(key: object) -> tuple[str, str]:
    if isinstance(key, str) and "/" in key:
        binding, _, domain = key.rpartition("/")
        return binding, domain
    raise InvalidValueError(
        f"{key!r} is not a binding with a domain: give ('binding', 'example.com') or 'binding/domain'."
    )


def _scope_field(key: object) -> bytes:
    if isinstance(key, str) and key.isprintable() and 0 < len(key) <= 1024:
        return key.lower().encode()
    raise InvalidValueError(
        f"{str(key)[:60]!r} is not a scope: give 'all', 'binding/NAME', 'binding_group/NAME', "
        "'binding_group/NAME/domain/DOMAIN' or 'binding/NAME/host/MX'."
    )


def shard_of_field(spec: ObjectSpec, field: bytes) -> int:
    """Shard an item lives in."""
    if spec.kind is Kind.CIDR_TREE:
        return cidr.shard_of(field, spec.shards)
    return zlib.crc32(field) % spec.shards
