"""The reference's transcripts, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from sharedstate.specs import Kind, ObjectSpec

from .text import printable

if TYPE_CHECKING:
    from sharedstate.results import FleetInfo, Member

    from ..report import Report

__all__ = ["info_lines", "member_lines", "node_name", "object_lines", "report_lines"]


def object_lines(specs: Sequence[ObjectSpec]) -> Iterator[str]:
    """``shared list``."""
    yield "Currently managed objects:"
    for spec in specs:
        yield f"{printable(spec.name):>30} [lazy, {spec.kind} w/ snapshots]"


def report_lines(report: Report) -> Iterator[str]:
    """``shared show``."""
    yield (f"lazy, snapped {report.spec.kind} '{printable(report.name)}', view '{printable(report.label)}'")
    if report.spec.kind is Kind.CIDR_TREE:
        for row in report.rows:
            yield f"{row.total:>7}{'':25}{printable(row.item)}"
    else:
        for row in report.rows:
            yield f"{printable(row.item):>60}:{row.total:>13}"


def member_lines(members: Iterable[Member]) -> Iterator[str]:
    """``membership``: a block for each member, a blank line between two."""
    for number, member in enumerate(members):
        if number:
            yield ""
        yield f"Private Name: {printable(member.private_name)}"
        yield f"Node Name: {node_name(member)}"
        yield f"Node Type: {printable(member.role)}"
        yield f"Version: {printable(member.version)}"
        yield f"Address: {printable(member.address)}"
        yield f"Groups: {printable(', '.join(member.groups))}"


def node_name(member: Member) -> str:
    """The node a member counts for; a manager counts for none, though its private name has a name in it."""
    return "(Null)" if member.role == "Manager" or not member.node else printable(member.node)


def info_lines(info: FleetInfo, member: Member) -> Iterator[str]:
    """``info``."""
    yield (
        f"Daemon: {info.server_port} [m:{printable(member.private_name)},s:{printable(member.shared_name)}]"
    )
    yield f"Control Group: {printable(info.control_group)}"
    leader = f"{printable(info.leader.node)} is leader" if info.leader else "nobody is leader"
    yield f"Cluster Group: {printable(info.cluster)} ({leader})"
    yield "Logger Group: none"
