"""Addresses, blocks and domains in one canonical form each.

An address becomes a *field*: one byte for its family (``4`` or ``6``) and its 4 or 16 bytes. A block whose length is a
multiple of 8 has the field of its leading bytes. Fields are what Redis hashes hold: short, exact, and sorted
like addresses.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

from .errors import InvalidAddressError, InvalidDomainError

__all__ = [
    "V4",
    "V6",
    "Block",
    "address_field",
    "canonical_address",
    "canonical_domain",
    "field_text",
    "parse_block",
]

V4 = b"4"
V6 = b"6"
_MAPPED = bytes(10) + b"\xff\xff"
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_ADDRESS_REMEDY = "give an IPv4 address such as 192.0.2.1 or an IPv6 address such as 2001:db8::1"


def address_field(text: str) -> bytes:
    """Field of an address; an IPv4-mapped IPv6 address is the IPv4 address it maps.

    Accepts the forms mail logs and milters use: bare, in brackets (``[2001:db8::1]``), and with SMTP's ``IPv6:`` tag
    (RFC 5321, section 4.1.3).

    Raises:
        InvalidAddressError: the text is not one address.
    """
    try:
        return V4 + socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError, TypeError):
        return _uncommon_address_field(text)


def _uncommon_address_field(text: str) -> bytes:
    if not isinstance(text, str):
        raise InvalidAddressError(f"{text!r} is not an IP address: {_ADDRESS_REMEDY}.")
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if bare[:5].lower() == "ipv6:":
        bare = bare[5:]
    try:
        packed = socket.inet_pton(socket.AF_INET6, bare)
    except (OSError, ValueError):
        try:
            packed = ipaddress.IPv4Address(bare).packed
        except ValueError as error:
            reason = " (a zone index names an interface of one host only)" if "%" in bare else ""
            raise InvalidAddressError(f"{text!r} is not an IP address{reason}: {_ADDRESS_REMEDY}.") from error
        return V4 + packed
    if packed.startswith(_MAPPED):
        return V4 + packed[12:]
    return V6 + packed


def field_text(field: bytes) -> str:
    """Text of a field: an address, or the block of a shorter field with its length."""
    family, octets = field[:1], field[1:]
    if family == V4:
        if len(octets) == 4:
            return socket.inet_ntop(socket.AF_INET, octets)
        return f"{socket.inet_ntop(socket.AF_INET, octets.ljust(4, bytes(1)))}/{len(octets) * 8}"
    if len(octets) == 16:
        return socket.inet_ntop(socket.AF_INET6, octets)
    return f"{socket.inet_ntop(socket.AF_INET6, octets.ljust(16, bytes(1)))}/{len(octets) * 8}"


def canonical_address(text: str) -> str:
    """An address as everybody writes it (RFC 5952 for IPv6)."""
    return field_text(address_field(text))


@dataclass(frozen=True, slots=True)
class Block:
    """A CIDR block.

    Attributes:
        family: `V4` or `V6`.
        network: the leading address, 4 or 16 bytes, host bits zero.
        length: prefix length in bits.
    """

    family: bytes
    network: bytes
    length: int

    @property
    def width(self) -> int:
        """Bits of an address of this family."""
        return len(self.network) * 8

    def __str__(self) -> str:
        return f"{field_text(self.family + self.network)}/{self.length}"


def parse_block(text: str) -> Block:
    """Parse ``address`` or ``address/length``; bits below the length are ignored (an address's /24).

    Raises:
        InvalidAddressError: the address or the length is not valid.
    """
    address, slash, suffix = text.partition("/") if isinstance(text, str) else (text, "", "")
    mapped = slash != "" and ":" in address
    field = address_field(address)
    family, octets = field[:1], field[1:]
    width = len(octets) * 8
    if not slash:
        return Block(family, octets, width)
    length = int(suffix) if suffix.isascii() and suffix.isdigit() and len(suffix) <= 3 else -1
    if mapped and family == V4:
        length -= 96  # ::ffff:192.0.2.0/120 is 192.0.2.0/24
    if not 0 <= length <= width:
        raise InvalidAddressError(
            f"{text!r} has no valid prefix length: give a number from 0 to {width} after the slash."
        )
    bits = int.from_bytes(octets) >> (width - length) << (width - length)
    return Block(family, bits.to_bytes(len(octets)), length)


def canonical_domain(text: str) -> str:
    """A domain name in the form all nodes agree on: lower case, no final dot, IDNs as A-labels (RFC 5890).

    An address literal (``[192.0.2.1]``) is a mail domain too (RFC 5321, section 4.1.3) and keeps its brackets.

    Raises:
        InvalidDomainError: the text is not a domain name.
    """
    if not isinstance(text, str):
        raise InvalidDomainError(f"{text!r} is not a domain name: give text such as example.com.")
    if text.startswith("[") and text.endswith("]"):
        try:
            field = address_field(text)
        except InvalidAddressError as error:
            raise InvalidDomainError(
                f"{text!r} is not a domain name: the address in brackets is not valid."
            ) from error
        tag = "" if field[:1] == V4 else "IPv6:"
        return f"[{tag}{field_text(field)}]"
    name = text.removesuffix(".")
    if not name.isascii():
        import idna  # deferred: most fleets never see a U-label, and its tables take milliseconds to load

        try:
            name = idna.encode(name, uts46=True).decode()
        except idna.IDNAError as error:
            raise InvalidDomainError(f"{text!r} is not a domain name: {str(error).rstrip('.')}.") from error
    name = name.lower()
    if len(name) > 253:
        raise InvalidDomainError(
            f"{text[:40]!r}… is not a domain name: {len(name)} characters, at most 253 are allowed."
        )
    for label in name.split("."):
        if not _LABEL.match(label):
            raise InvalidDomainError(
                f"{text!r} is not a domain name: the label {label!r} must be 1 to 63 letters, digits, '-' or '_', "
                "with no '-' at either end."
            )
    return name
