"""Work in a forked child."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable


def in_child(work: Callable[[], bool]) -> int:
    """Run in a forked child and tell its exit status: 0 when the work returned True."""
    with warnings.catch_warnings():
        # Python 3.12 and later warn of forks beside threads, which is what these tests are about.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        status = 0 if work() else 2
    finally:
        os._exit(status)
