"""What ``shared show`` shows, as data: chosen, ordered and split by node, before a view makes text of it."""

from __future__ import annotations

import fnmatch
import heapq
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from sharedstate.cidr import tree_rows
from sharedstate.errors import UnknownNodeError
from sharedstate.names import Block, address_field, canonical_domain, parse_block
from sharedstate.specs import Kind, ObjectSpec

if TYPE_CHECKING:
    from sharedstate.observer import Observer, SharedObject

__all__ = ["Report", "Row", "Selection", "collect", "live_nodes"]

#: A row before it is split by node: item and count.
Pair = tuple[str, int]


class Row(NamedTuple):
    """One line: an address block, domain, host or site.

    Attributes:
        item: its name.
        total: its count in the view.
        nodes: its count on each node of `Report.nodes`, in that order.
    """

    item: str
    total: int
    nodes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows, in which order.

    Attributes:
        match: glob for names, CIDR block for trees; None for all.
        top: only so many rows, the largest.
        sort: ``name``, ``count``, or ``none`` for the order in which they come.
        reverse: turn that order round.
        leaves: of a tree, the addresses without the blocks above them.
    """

    match: str | None = None
    top: int | None = None
    sort: str = "name"
    reverse: bool = False
    leaves: bool = False


@dataclass(slots=True, kw_only=True)
class Report:
    """One shared object as it is to be shown.

    Attributes:
        name: the object's name as the operator typed it.
        spec: the object.
        label: ``global`` or the shared names of the node's live members.
        node: the node asked for, None for the whole fleet.
        nodes: names of the per-node columns, in order of joining; empty without columns.
        live: how many nodes are live; known when there are columns.
        rows: the rows; an iterator that can be used once.
        total: sum over everything that matches, also what `Selection.top` leaves out. Right once `rows`
            is used up.
        matched: how many rows match, also those left out. Right once `rows` is used up.
        node_totals: sum of each of `nodes`.
    """

    name: str
    spec: ObjectSpec
    label: str
    node: str | None
    nodes: tuple[str, ...]
    live: int
    rows: Iterator[Row]
    total: int = 0
    matched: int = 0
    node_totals: tuple[int, ...] = ()


def live_nodes(observer: Observer) -> dict[str, str]:
    """Node name to the label of its view, of every live node in order of joining; one round trip."""
    labels: dict[str, list[str]] = {}
    for member in observer.members():
        if member.node and member.role != "Manager":
            labels.setdefault(member.node, []).append(member.shared_name)
    return {node: " ".join(names) for node, names in labels.items()}


def collect(
    observer: Observer,
    name: str,
    *,
    node: str | None,
    selection: Selection,
    by_node: bool = False,
    columns: Sequence[str] = (),
) -> Report:
    """Ask the fleet and choose.

    A tree needs all its addresses to know where they branch. A table of names is read in pages: with
    `Selection.top` or ``sort="none"`` no more than a page and the chosen rows are in memory.

    Args:
        observer: whom to ask.
        name: object, as typed.
        node: that node's own part only.
        selection: which rows, in which order.
        by_node: fill `Report.nodes` (of the global view only).
        columns: globs of the node names that `by_node` means; all by default.

    Raises:
        UnknownObjectError: no such object.
        UnknownNodeError: no live member of such a node.
        InvalidAddressError: `Selection.match` is not a CIDR block and the object is a tree.
    """
    shared = observer.shared(name)
    tree = shared.spec.kind is Kind.CIDR_TREE
    # Before the fleet is asked: a wrong pattern must not cost a million rows first.
    matches = _block_matcher(selection.match) if tree else _glob_matcher(selection.match)
    label = "global"
    nodes: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    if node is not None or by_node:
        labels = live_nodes(observer)
        if node is None:
            nodes = _chosen_nodes(labels, columns)
        elif node in labels:
            label = labels[node]
        else:
            raise UnknownNodeError(node, labels)
    report = Report(
        name=name,
        spec=shared.spec,
        label=label,
        node=node,
        nodes=nodes,
        live=len(labels),
        rows=iter(()),
        node_totals=(0,) * len(nodes),
    )
    if tree:
        _collect_tree(report, shared, selection, matches)
    else:
        _collect_names(report, shared, selection, matches)
    return report


def _chosen_nodes(live: Mapping[str, str], patterns: Sequence[str]) -> tuple[str, ...]:
    chosen: set[str] = set()
    for pattern in patterns:
        found = fnmatch.filter(live, pattern)
        if not found:
            raise UnknownNodeError(pattern, live)
        chosen.update(found)
    return tuple(node for node in live if not patterns or node in chosen)


def _block_matcher(pattern: str | None) -> Callable[[str], bool]:
    if pattern is None:
        return lambda _: True
    block: Block = parse_block(pattern)
    width = block.width
    shift = width - block.length
    wanted = int.from_bytes(block.network) >> shift

    def inside(address: str) -> bool:
        field = address_field(address)
        return field[:1] == block.family and int.from_bytes(field[1:]) >> shift == wanted

    return inside


def _glob_matcher(pattern: str | None) -> Callable[[str], bool]:
    if pattern is None:
        return lambda _: True
    found = re.compile(fnmatch.translate(_a_labels(pattern.lower()))).match
    return lambda name: found(name) is not None


def _a_labels(pattern: str) -> str:
    """A glob with its plain IDN labels in the form that names have in Redis."""
    if pattern.isascii():
        return pattern
    return ".".join(
        label if label.isascii() or any(sign in label for sign in "*?[") else canonical_domain(label)
        for label in pattern.split(".")
    )


def _collect_tree(
    report: Report, shared: SharedObject, selection: Selection, matches: Callable[[str], bool]
) -> None:
    def chosen(counts: Mapping[str, int]) -> Mapping[str, int]:
        if selection.match is None:
            return counts
        return {address: count for address, count in counts.items() if matches(address)}

    parts: list[Mapping[str, int]] = []
    if report.nodes:
        everything = shared.by_node()
        counts = chosen(everything.fleet.counts)
        # A node that joined or left since the columns were named has no view here, or no column.
        parts = [
            chosen(everything.nodes[node].counts) if node in everything.nodes else {} for node in report.nodes
        ]
    else:
        view = shared.view(report.node)
        report.label = view.label
        counts = chosen(view.counts)
    pairs = tree_rows(counts)
    if selection.leaves:
        pairs = [pair for pair in pairs if pair[0].endswith("/128" if ":" in pair[0] else "/32")]
    report.total = sum(counts.values())
    report.matched = len(pairs)
    report.node_totals = tuple(sum(part.values()) for part in parts)
    place = {item: number for number, (item, _) in enumerate(pairs)}
    ordered = _choose(pairs, selection, lambda pair: place[pair[0]])
    columns = [_sums_below([item for item, _ in ordered], part) for part in parts]
    report.rows = _rows(ordered, columns)


def _sums_below(blocks: Sequence[str], counts: Mapping[str, int]) -> list[int]:
    """Sum of the addresses in each of `blocks`; a node's own tree may branch elsewhere than the fleet's."""
    fields = sorted((address_field(address), count) for address, count in counts.items())
    keys = [field for field, _ in fields]
    before = [0, *accumulate(count for _, count in fields)]
    sums = []
    for text in blocks:
        block = parse_block(text)
        host = (1 << (block.width - block.length)) - 1
        first = block.family + block.network
        last = block.family + (int.from_bytes(block.network) | host).to_bytes(len(block.network))
        sums.append(before[bisect_left(keys, last + b"\0")] - before[bisect_left(keys, first)])
    return sums


def _collect_names(
    report: Report, shared: SharedObject, selection: Selection, matches: Callable[[str], bool]
) -> None:
    def pairs(node: str | None) -> Iterator[Pair]:
        for page in shared.pages(node):
            for pair in page.items():
                if pair[1] and matches(pair[0]):
                    yield pair

    def tallied() -> Iterator[Pair]:
        for pair in pairs(report.node):
            report.total += pair[1]
            report.matched += 1
            yield pair

    if selection.sort == "none" and selection.top is None and not report.nodes:
        report.rows = (Row(*pair) for pair in tallied())
        return
    ordered = _choose(tallied(), selection)
    # Each node is read in pages too, and only the rows that are shown are kept of it.
    wanted = {item for item, _ in ordered} if report.nodes else set()
    columns: list[list[int]] = []
    totals: list[int] = []
    for node in report.nodes:
        total = 0
        part: dict[str, int] = {}
        for item, count in pairs(node):
            total += count
            if item in wanted:
                part[item] = count
        columns.append([part.get(item, 0) for item, _ in ordered])
        totals.append(total)
    report.node_totals = tuple(totals)
    report.rows = _rows(ordered, columns)


def _by_count(pair: Pair) -> tuple[int, str]:
    return -pair[1], pair[0]


def _by_name(pair: Pair) -> str:
    return pair[0]


def _choose(
    pairs: Iterable[Pair], selection: Selection, natural: Callable[[Pair], str | int] = _by_name
) -> list[Pair]:
    """Choose and order pairs; with `Selection.top` a heap of that size is all that is kept."""
    chosen = list(pairs) if selection.top is None else heapq.nsmallest(selection.top, pairs, key=_by_count)
    if selection.sort == "count":
        chosen.sort(key=_by_count)
    elif selection.sort == "name":
        chosen.sort(key=natural)
    if selection.reverse:
        chosen.reverse()
    return chosen


def _rows(pairs: Sequence[Pair], columns: Sequence[Sequence[int]]) -> Iterator[Row]:
    if not columns:
        return (Row(item, count) for item, count in pairs)
    return (
        Row(item, count, parts)
        for (item, count), parts in zip(pairs, zip(*columns, strict=True), strict=True)
    )
