"""What throttles are made with unless told otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from .decision import Mode, Policy

__all__ = ["Defaults"]


@dataclass(frozen=True, slots=True)
class Defaults:
    """What throttles are made with unless told otherwise.

    Attributes:
        mode: strict or leased.
        policy: what decides when Redis cannot be asked in time.
        timeout: seconds one check may take.
        epsilon: share of the tokens left that one lease may take.
    """

    mode: Mode = Mode.STRICT
    policy: Policy = Policy.LOCAL
    timeout: float = 0.05
    epsilon: float = 0.95
