"""The answer to a check."""

from __future__ import annotations

import enum
from typing import NamedTuple

__all__ = ["DecidedBy", "Decision", "Mode", "Policy"]


class DecidedBy(enum.StrEnum):
    """Who made a decision; ``unlimited`` when there was nothing to decide."""

    REDIS = "redis"
    LEASE = "lease"
    LOCAL = "local"
    OPEN = "open"
    CLOSED = "closed"
    UNLIMITED = "unlimited"


class Policy(enum.StrEnum):
    """What decides when Redis cannot be asked in time.

    ``local``: a bucket of this process's own, with its share of the rate; ``open``: everything is allowed; ``closed``:
    nothing is. What is allowed meanwhile is charged to the fleet's bucket as soon as it can be asked again.
    """

    LOCAL = "local"
    OPEN = "open"
    CLOSED = "closed"


class Mode(enum.StrEnum):
    """How a throttle asks: ``strict`` once for each check, ``leased`` for many checks in advance."""

    STRICT = "strict"
    LEASED = "leased"


class Decision(NamedTuple):
    """What a throttle says; true when allowed.

    Attributes:
        allowed: whether it may be done now.
        limit: tokens that come back in one period (X-RateLimit-Limit).
        remaining: tokens left after this: in the bucket, or in this process's lease or share (X-RateLimit-Remaining).
        retry_after: seconds until as many tokens as were asked for may be had; 0 when allowed (Retry-After).
        reset_after: seconds until the bucket is full if nobody takes more; of a lease, at most (X-RateLimit-Reset).
        decided_by: who decided.
        throttle: name of the throttle; of several in one decision, the one that refused, or that has the least left.
    """

    allowed: bool
    limit: int
    remaining: int
    retry_after: float
    reset_after: float
    decided_by: DecidedBy
    throttle: str

    def __bool__(self) -> bool:
        return self.allowed
