"""The time a log line was written, as far as the line tells.

Times are only compared with other times of the same log, to learn how long a session has been silent. So it
does not matter that a traditional syslog time has neither year nor zone: the nearest past one in this
machine's zone is taken.
"""

from __future__ import annotations

import time
from datetime import datetime
from functools import lru_cache

__all__ = ["STAMP_BYTES", "stamp_seconds"]

#: A line's leading bytes that hold the longest time we read (RFC 3339 with nanoseconds and offset).
STAMP_BYTES = 35

_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1
    )
}
_DAY = 86_400


@lru_cache(maxsize=4096)
def stamp_seconds(head: bytes) -> float | None:
    """Seconds since the epoch of a line's leading bytes, or None when they are no time.

    Reads ``Nov 22 22:01:53`` (traditional syslog) and ``2026-11-22T22:01:53.123456+01:00`` (RFC 3339).
    """
    month = _MONTHS.get(head[:3])
    try:
        if month is None:
            return datetime.fromisoformat(head.split(b" ", 1)[0].decode("ascii")).timestamp()
        day, hour, minute, second = int(head[4:6]), int(head[7:9]), int(head[10:12]), int(head[13:15])
        now = time.time()
        year = time.localtime(now).tm_year
        fields = (month, day, hour, minute, second, 0, 0, -1)
        seconds = time.mktime((year, *fields))
        # A log from December that is read in January; a day's grace for zones and clocks that differ.
        return seconds if seconds <= now + _DAY else time.mktime((year - 1, *fields))
    except (ValueError, OverflowError, OSError):
        return None
