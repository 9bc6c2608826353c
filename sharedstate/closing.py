"""How something that many threads use is closed: its lock is taken away."""

from __future__ import annotations

from typing import NoReturn

from .errors import ClosedError

__all__ = ["ClosedLock"]


class ClosedLock:
    """Takes the place of a lock when what it guarded may not be used any more: entering raises ClosedError.

    Costs nothing while all is well, and needs no old lock in a forked child, where that may be held for ever.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __enter__(self) -> NoReturn:
        raise ClosedError(self._reason)

    def __exit__(self, *_: object) -> None: ...
