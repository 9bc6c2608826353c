"""Plain text of the ``throttle`` commands: lines that stay as they are, for people and scripts.

Names and specs have no blanks in them, so a row's fields are told apart by blanks alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from .text import printable

if TYPE_CHECKING:
    from sharedstate.objects.throttle import BucketView
    from sharedstate.throttle.decision import Decision

    from ..throttles import Pace, Summary, ThrottleReport

__all__ = ["change_line", "decision_lines", "list_lines", "report_lines", "reset_lines"]


def list_lines(summaries: Sequence[Summary], *, rates: bool = False) -> Iterator[str]:
    """``throttle list``: headings, then a row for each throttle; with `rates` two columns more at the end."""
    heads = ("Spec", "Left", "Used", "Leased", "Holders", "Processes", "Refused")
    yield _list_row("Throttle", heads) + (_rates_heads() if rates else "")
    for summary in summaries:
        view = summary.view
        row = _list_row(
            printable(summary.name),
            (
                str(view.spec),
                str(view.left),
                f"{100 * summary.used:.1f}%",
                str(view.leased),
                str(summary.holders),
                str(summary.processes),
                str(view.refused),
            ),
        )
        yield row + (_rates(summary.pace) if rates else "")


def _list_row(name: str, cells: Sequence[str]) -> str:
    spec, left, used, leased, holders, processes, refused = cells
    return (
        f"{name:<40} {spec:<24} {left:>11} {used:>7} {leased:>11} {holders:>7} {processes:>9} {refused:>11}"
    )


def report_lines(report: ThrottleReport, *, rates: bool = False) -> Iterator[str]:
    """``throttle show``: the bucket line by line, then a row for each node or process."""
    summary = report.summary
    view = summary.view
    yield f"throttle '{printable(summary.name)}', view '{printable(report.node or 'global')}'"
    yield f"Spec: {view.spec}"
    yield f"Set By Hand: {_yes(view.by_hand)}"
    yield f"Left: {view.left}"
    yield f"Used: {100 * summary.used:.1f}%"
    yield f"Leased: {view.leased}"
    yield f"Reset After: {view.reset_after:.3f}"
    yield f"Taken: {report.taken}"
    yield f"Refused: {report.refused}"
    heads = ("Processes", "Taken", "Held", "Lease-Left", "Refused", "Idle")
    yield _part_row("Process" if report.by_process else "Node", heads) + (_rates_heads() if rates else "")
    for part in report.parts:
        row = _part_row(
            printable(part.name),
            (
                str(part.processes),
                str(part.taken),
                str(part.held),
                f"{part.lease_left:.3f}",
                str(part.refused),
                f"{part.idle:.0f}",
            ),
        )
        yield row + (_rates(part.pace) if rates else "")


def _part_row(name: str, cells: Sequence[str]) -> str:
    processes, taken, held, lease, refused, idle = cells
    return f"{name:<40} {processes:>9} {taken:>11} {held:>11} {lease:>10} {refused:>11} {idle:>8}"


def _rates_heads() -> str:
    return f" {'Admitted/s':>12} {'Refused/s':>12}"


def _rates(pace: Pace | None) -> str:
    return f" {'-':>12} {'-':>12}" if pace is None else f" {pace.admitted:>12.1f} {pace.refused:>12.1f}"


def decision_lines(decision: Decision) -> Iterator[str]:
    """``throttle check``."""
    yield f"Throttle: {printable(decision.throttle)}"
    yield f"Allowed: {_yes(decision.allowed)}"
    yield f"Limit: {decision.limit}"
    yield f"Remaining: {decision.remaining}"
    yield f"Retry After: {decision.retry_after:.6f}"
    yield f"Reset After: {decision.reset_after:.6f}"
    yield f"Decided By: {decision.decided_by}"


def change_line(name: str, before: BucketView | None, after: BucketView) -> str:
    """``throttle set``."""
    was = f"was {before.spec}" if before else "was not there"
    return f"{printable(name)}: {was}, is {after.spec}, {after.left} left."


def reset_lines(filled: Iterable[tuple[str, BucketView]]) -> Iterator[str]:
    """``throttle reset``."""
    for name, view in filled:
        leased = f", {view.leased} leased out" if view.leased else ""
        yield f"{printable(name)}: {view.left} of {view.spec.burst} left{leased}."


def _yes(true: bool) -> str:
    return "yes" if true else "no"
