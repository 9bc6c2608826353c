"""A `Batch`: the commands that go to one node in one write, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import hiredis

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Sequence

    from sharedstate.call import Arg

    from .faults import Failure
    from .url import Address

__all__ = ["Batch", "pack"]

#: One command as bytes. (hiredis's own annotation knows commands of one word only.)
pack = cast("Callable[[tuple[Arg, ...]], bytes]", hiredis.pack_command)


class Batch:
    """Commands for one node, written at once; replies come in the same order.

    Attributes:
        address: the node.
        payload: the packed commands.
        ends: end of each command in `payload`; one not sent to its last byte cannot have been executed.
        until: monotonic time after which nobody waits for it.
        replies: what has been answered; all of it when `failure` is None and `done`.
        sent: bytes that were handed to the kernel.
        failure: why not everything was answered.
        done: nothing will change any more.
        waiter: what a task waits on; None where a thread waits.
    """

    __slots__ = ("address", "done", "ends", "failure", "payload", "replies", "sent", "until", "waiter")

    def __init__(
        self, address: Address, payload: bytes, ends: Sequence[int], until: float, sent: int = 0
    ) -> None:
        self.address = address
        self.payload = payload
        self.ends = ends
        self.until = until
        self.replies: list[Any] = []
        self.sent = sent
        self.failure: Failure | None = None
        self.done = False
        self.waiter: Future[None] | None = None

    @classmethod
    def pack(cls, address: Address, commands: Sequence[Sequence[Arg]], until: float) -> Batch:
        """Make a batch of commands."""
        parts: list[bytes] = []
        ends: list[int] = []
        length = 0
        for args in commands:
            part = pack(tuple(args))
            length += len(part)
            parts.append(part)
            ends.append(length)
        return cls(address, b"".join(parts), ends, until)

    def finish(self, failure: Failure | None = None) -> None:
        """Nothing more will come."""
        self.failure = failure
        self.done = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def executed(self, index: int) -> bool | None:
        """Whether a command ran: True if answered, False if surely not, None if nobody can know."""
        if index < len(self.replies):
            return True
        return None if self.ends[index] <= self.sent else False
