"""Where in Redis the counts of a series are: which shard, which field, which tree.

Addresses are counted in three trees, each with one home shard: the blocks of 8 bits of the whole family, the blocks of
16 bits within each of these, and the addresses within each block of 16 bits. (IPv6: 16, 32 and 128 bits.) A member
adds its changes up and sends them to all three, so a block of any length is answered from one tree in one shard, and
the busy trees are small.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from sharedstate.names import V4, Block, field_text

__all__ = [
    "Place",
    "address_entries",
    "block_place",
    "key_size",
    "leaf_of",
    "network_field",
    "network_text",
    "shard_of",
]

#: Bytes of an address at which its trees begin, and how many bytes each tree's keys have.
_TIERS = {4: ((0, 1), (1, 1), (2, 2)), 16: ((0, 2), (2, 2), (4, 12))}


class Place(NamedTuple):
    """Where a question's answer is.

    Attributes:
        shard: the shard.
        fields: hash fields to read; for a block the path of its tree, root first.
        size: length of the tree's keys in bytes; 0 where the one field is a plain number.
        prefix: the block's bytes below the root.
        bits: how many bits of them count.
    """

    shard: int
    fields: tuple[bytes, ...]
    size: int = 0
    prefix: bytes = b""
    bits: int = 0


def shard_of(root: bytes, shards: int) -> int:
    """Home of a tree or of a string. CRC-32: stable over versions, platforms and time."""
    return zlib.crc32(root) % shards


def address_entries(field: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """(root, key) of an address in each of its trees; the last is the address itself."""
    if len(field) == 5:
        return ((field[:1], field[1:2]), (field[:2], field[2:3]), (field[:3], field[3:]))
    return ((field[:1], field[1:3]), (field[:3], field[3:5]), (field[:5], field[5:]))


def block_place(block: Block, shards: int) -> Place:
    """Where a block is counted."""
    network, length = block.network, block.length
    begin, size = 0, 0
    for begin, size in _TIERS[len(network)]:
        if length <= (begin + size) * 8:
            break
    root = block.family + network[:begin]
    prefix, bits = network[begin : begin + size], length - begin * 8
    if bits <= 8:
        return Place(zlib.crc32(root) % shards, (root,), size, prefix, bits)
    fields = tuple([root + prefix[:depth] for depth in range((bits - 1) // 8 + 1)])
    return Place(zlib.crc32(root) % shards, fields, size, prefix, bits)


def key_size(field: bytes) -> int:
    """Length of the keys in a leaf at this field of an address series."""
    width = 4 if field[:1] == V4 else 16
    depth = len(field) - 1
    begin, size = next(tier for tier in reversed(_TIERS[width]) if tier[0] <= depth)
    return size - (depth - begin)


def leaf_of(field: bytes) -> bool:
    """Whether the node at this field belongs to the tree of the addresses themselves, not of blocks."""
    return len(field) > (2 if field[:1] == V4 else 4)


def network_field(field: bytes, mask: int) -> bytes:
    """Field of an address with the bits below a mask zero; a mask longer than the address leaves it whole."""
    width = (len(field) - 1) * 8
    free = max(width - mask, 0)
    return field[:1] + (int.from_bytes(field[1:]) >> free << free).to_bytes(width // 8)


def network_text(field: bytes, mask: int) -> str:
    """A network as everybody writes it, from the field of its first address."""
    return f"{field_text(field)}/{min(mask, (len(field) - 1) * 8)}"
