"""Packed nodes: many small counts in one hash field. The form is described in lua/includes/packed_tree.lua.

The server edits nodes; here changes are packed for it, and nodes are read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import compress

__all__ = ["EXACT", "entries", "is_branch", "pack_changes", "path_count"]

#: Counts beyond it stay at it: what a Lua number holds exactly.
EXACT = 1 << 53

_CODES = {1: "b", 2: "h", 4: "i", 8: "q"}
_BRANCH = 16


def pack_changes(changes: Mapping[bytes, int], size: int, *, whole: bool = False) -> bytes:
    """Changes of one tree as one argument of audit_add; all keys are `size` bytes long."""
    low, high = min(changes.values()), max(changes.values())
    width = next(
        width for width in (1, 2, 4, 8) if -1 << (width * 8 - 1) < low and high < 1 << (width * 8 - 1)
    )
    return b"".join(
        (
            bytes((0, size + 128 if whole else size, width)),
            *changes,
            struct.pack(f"<{len(changes)}{_CODES[width]}", *changes.values()),
        )
    )


def is_branch(text: bytes) -> bool:
    """Whether a node has nodes below it; its counts are their sums."""
    return text[0] >= _BRANCH


def _parts(text: bytes, size: int) -> tuple[bytes, tuple[int, ...]]:
    width = text[0] % _BRANCH
    count = (len(text) - 1) // (size + width)
    split = 1 + count * size
    return text[1:split], struct.unpack_from(f"<{count}{_CODES[width]}", text, split)


def entries(text: bytes, size: int) -> Iterator[tuple[bytes, int]]:
    """Entries of a leaf (keys of `size` bytes) or branch (keys of 1 byte)."""
    if is_branch(text):
        size = 1
    keys, counts = _parts(text, size)
    for index, count in enumerate(counts):
        yield keys[index * size : (index + 1) * size], count


def _node_count(text: bytes, size: int, prefix: bytes, bits: int) -> int:
    """Sum of a node's entries whose key begins with the first `bits` bits of `prefix`."""
    if is_branch(text):
        if bits > 8:
            return 0  # the node below would hold it, and there is none
        size = 1
    keys, counts = _parts(text, size)
    if bits == 0:
        return sum(counts)
    whole, rest = divmod(bits, 8)
    if whole == size:
        at = keys.find(prefix[:size])
        while at >= 0 and at % size:
            at = keys.find(prefix[:size], at + 1)
        return counts[at // size] if at >= 0 else 0
    if whole == 0 and size == 1:  # the usual range: bytes of one node, marked and added up in C
        return sum(compress(counts, keys.translate(_marks(prefix[0] >> (8 - rest), rest))))
    if rest == 0:
        head = prefix[:whole]
        return sum(count for index, count in enumerate(counts) if keys.startswith(head, index * size))
    head, shift = prefix[:whole], 8 - rest
    last = prefix[whole] >> shift
    return sum(
        count
        for index, count in enumerate(counts)
        if keys[index * size + whole] >> shift == last and (not whole or keys.startswith(head, index * size))
    )


@cache
def _marks(first: int, bits: int) -> bytes:
    """A table for `bytes.translate`: 1 for the bytes whose first `bits` bits are `first`, else 0."""
    return bytes(octet >> (8 - bits) == first for octet in range(256))


def path_count(texts: Sequence[bytes | None], size: int, prefix: bytes, bits: int) -> int:
    """Count of a block from the nodes on its path, root first; None where there is none.

    Args:
        texts: the nodes at the root and below it along the block's bytes.
        size: length of the tree's keys.
        prefix: the block's bytes below the tree's root.
        bits: how many of their bits are the block's.
    """
    for depth in range(len(texts) - 1, -1, -1):
        text = texts[depth]
        if text is not None:
            return _node_count(text, size - depth, prefix[depth:], bits - 8 * depth)
    return 0
