"""What tables are made of: cells, numbers, bars, shares and spans of time. Text from outside is never markup."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from .text import printable

__all__ = ["GAP", "bar", "cell", "duration", "new_table", "number", "share"]

#: Blanks between two columns.
GAP = 2

_EIGHTHS = " ▏▎▍▌▋▊▉"


def cell(text: str, style: str = "") -> Text:
    """Text from outside, safe to show."""
    return Text(printable(text), style=style)


def number(count: int) -> str:
    """Digits in groups of three."""
    return f"{count:,}"


def bar(part: int, whole: int, width: int, *, ascii_only: bool) -> str:
    """A bar of `width` columns at most, in eighths of a column; anything above zero is visible."""
    if part <= 0 or whole <= 0:
        return ""
    if ascii_only:
        return "#" * max(1, round(width * part / whole))
    full, eighths = divmod(max(1, round(width * 8 * part / whole)), 8)
    return "█" * full + (_EIGHTHS[eighths] if eighths else "")


def share(part: int, whole: int) -> str:
    """Per cent of the total, one decimal; what rounds to nothing says so."""
    if whole <= 0:
        return "-"
    percent = 100 * part / whole
    return "<0.1%" if 0 < percent < 0.05 else f"{percent:.1f}%"


def new_table(*, footer: bool = False) -> Table:
    """A table in the house's style."""
    return Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        show_footer=footer,
        pad_edge=False,
        padding=(0, 0, 0, GAP - 1),  # the box has a blank between two columns of its own
        header_style="bold",
        footer_style="bold",
    )


def duration(seconds: float) -> str:
    """A span of time in its largest unit, as in ``3 h``; clocks that disagree do not make it negative."""
    seconds = max(0.0, seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"
