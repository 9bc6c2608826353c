"""The clock that a member's own time runs on."""

from __future__ import annotations

import time

__all__ = ["AWAKE", "awake_clock"]

#: CLOCK_BOOTTIME where there is one: a suspended machine must not wake up with its time standing still.
AWAKE = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def awake_clock() -> float:
    """Seconds on a clock that also runs while the machine is suspended."""
    return time.clock_gettime(AWAKE)
