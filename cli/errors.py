"""The errors that only the console has."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from sharedstate.errors import SharedStateError, UnknownThrottleError

__all__ = ["NotAMemberError", "NothingToSetError"]

_NAMED = 12


class NotAMemberError(SharedStateError):
    """The node that asks about itself has no live member.

    Args:
        node: the node's name.
        cluster: the fleet it was looked for in.
        live: names of the live nodes.
    """

    def __init__(self, node: str, cluster: str, live: Sequence[str]) -> None:
        near = difflib.get_close_matches(node, live, n=1, cutoff=0.6)
        if near:
            hint = f"did you mean --node {near[0]}?"
        elif live:
            more = ", …" if len(live) > _NAMED else ""
            hint = f"name a live node with --node: {', '.join(live[:_NAMED])}{more}."
        else:
            hint = "no node is live there, start one or name another --cluster."
        super().__init__(f"node {node!r} has no live member in cluster {cluster!r}: {hint}")
        self.node = node


class NothingToSetError(SharedStateError):
    """A spec is to be set for a throttle that the fleet does not have.

    Args:
        error: what the look for it ended with.
    """

    def __init__(self, error: UnknownThrottleError) -> None:
        super().__init__(f"{error} To make a new one, add --create.")
