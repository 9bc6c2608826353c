"""Counts of addresses, answered for any block from a bounded number of fields.

Beside each address a shard holds the sums of its blocks: of every 8 bits up to /24 (IPv6: /64), for IPv6 of every 16
bits from there on, and of the whole family. A block of any length is then some neighbouring fields of the next level
below it, whatever the number of addresses in it: one where its length is a level, else at most 128 up to /64, where
networks are, and at most 32,768 below, where only hosts are and few ask; each level there would cost every publish of
every address a field more, for most addresses are alone in each.

Fields spread over an object's shards by their leading bits (16 of IPv4, 32 of IPv6), so that a block as long or longer
lives in one shard, while a busy 10.0.0.0/8 or one provider's IPv6 range still uses the whole cluster. A shorter
block's field has one home too, chosen by all its bits: a member adds up its own addresses before it publishes, so
it knows its whole part of every block, in whichever shards the addresses are.
"""

from __future__ import annotations

import socket
import zlib
from collections.abc import Mapping
from itertools import accumulate

from .names import V4, V6, Block, address_field

__all__ = ["above", "block_fields", "is_address", "levels", "places", "shard_of", "tree_rows"]

#: Bytes of the family tag plus the leading bytes that choose a shard.
_SHARD_BYTES = {V4: 1 + 2, V6: 1 + 4}
#: Bytes of the field of an IPv6 /64; no IPv4 field is as long.
_NETWORK = 1 + 8


def is_address(field: bytes) -> bool:
    """Whether a field stands for one address and not for a block."""
    return len(field) == (5 if field[:1] == V4 else 17)


def levels(field: bytes) -> list[bytes]:
    """Fields of the blocks an address is counted in, shortest first, the address itself not included."""
    found = [field]
    while len(found[-1]) > 1:
        found.append(above(found[-1]))
    return found[:0:-1]


def above(field: bytes) -> bytes:
    """Field of the next larger block that is counted."""
    return field[:-2] if len(field) > _NETWORK else field[:-1]


def shard_of(field: bytes, shards: int) -> int:
    """Home of an address's or block's field. CRC-32 of its leading bytes: stable over versions, platforms and time."""
    return zlib.crc32(field[: _SHARD_BYTES[field[:1]]]) % shards


def places(block: Block, shards: int) -> dict[int, list[bytes]]:
    """Shard to fields in it, of the fields whose counts add up to a block."""
    found: dict[int, list[bytes]] = {}
    for field in block_fields(block):
        found.setdefault(shard_of(field, shards), []).append(field)
    return found


def block_fields(block: Block) -> list[bytes]:
    """Fields whose counts add up to a block: those of the first level at or below its length, 1 to 128 or 32,768."""
    octets = (block.length + 7) // 8
    if 1 + octets > _NETWORK:
        octets += octets % 2
    free = octets * 8 - block.length
    first = int.from_bytes(block.network[:octets])
    return [block.family + number.to_bytes(octets) for number in range(first, first + (1 << free))]


def tree_rows(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Rows of the console's tree: a path-compressed binary trie over all addresses given, zero ones included.

    Its branching prefixes are exactly the longest common prefixes of neighbours in address order, so no trie is
    built: O(n log n) for n addresses.

    Args:
        counts: address text to count; zero counts make branch points but no rows.
    """
    fields = {address_field(address): count for address, count in counts.items()}
    rows: list[tuple[str, int]] = []
    for family, width in ((V4, 32), (V6, 128)):
        items = sorted(
            (int.from_bytes(field[1:]), count) for field, count in fields.items() if field[:1] == family
        )
        rows += _family_rows(items, family, width)
    return rows


def _family_rows(items: list[tuple[int, int]], family: bytes, width: int) -> list[tuple[str, int]]:
    values = [value for value, _ in items]
    before = [0, *accumulate(count for _, count in items)]
    found: dict[tuple[int, int], int] = {(value, width): count for value, count in items if count}
    # A branch's addresses are contiguous in order. Walking the order with a stack of open branches gives
    # each branch its first and last address in one pass.
    lengths = [width - (left ^ right).bit_length() for left, right in zip(values, values[1:], strict=False)]
    open_branches: list[tuple[int, int]] = []  # (prefix length, index of the first address below it)

    def close(upto: int, end: int) -> int:
        first = end
        while open_branches and open_branches[-1][0] > upto:
            length, first = open_branches.pop()
            total = before[end] - before[first]
            if total:
                found[(values[first] >> (width - length) << (width - length), length)] = total
        return first

    for index, length in enumerate(lengths):
        first = min(close(length, index + 1), index)
        if not open_branches or open_branches[-1][0] < length:
            open_branches.append((length, first))
    close(-1, len(values))
    packed = width // 8
    af = socket.AF_INET if family == V4 else socket.AF_INET6
    return [
        (f"{socket.inet_ntop(af, value.to_bytes(packed))}/{length}", found[value, length])
        for value, length in sorted(found)
    ]
