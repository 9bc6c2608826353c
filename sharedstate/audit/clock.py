"""The Redis server's clock, as a member or reader knows it without asking each time.

Windows are cut by the server's clock. One server's clock counts for all: that of the primary of the fleet's slot. The
distance between it and this machine's clock (one that also runs while the machine sleeps) is measured with each
TIME, to half a round trip.
"""

from __future__ import annotations

from sharedstate.call import Call, command
from sharedstate.clock import awake_clock
from sharedstate.keys import Keys

__all__ = ["REFRESH", "ServerClock", "server_time"]

#: The clock is asked again after this time, seconds: quartz drifts less than a millisecond in it.
REFRESH = 15.0


def server_time(keys: Keys) -> Call[int]:
    """The server's clock, in ms since the epoch. One round trip."""
    return command(
        "TIME",
        key=keys.series,
        decode=lambda reply: int(reply[0]) * 1000 + int(reply[1]) // 1000,
        resend=True,
    )


class ServerClock:
    """This machine's idea of the server's clock. Reading it costs no I/O.

    Attributes:
        known: whether the server was asked at all.
    """

    __slots__ = ("_ahead", "_asked", "_trip", "known")

    def __init__(self) -> None:
        self.known = False
        self._ahead = 0.0
        self._asked = 0.0
        self._trip = 0.0

    def now(self) -> float:
        """Server time, seconds since the epoch."""
        return awake_clock() + self._ahead

    @property
    def stale(self) -> bool:
        """Whether the server should be asked again."""
        return not self.known or awake_clock() >= self._asked + REFRESH

    def sample(self, server_ms: int, began: float, ended: float) -> None:
        """The server said `server_ms` between two moments of `awake_clock`; a much slower answer tells less."""
        trip = ended - began
        if not self.known or trip <= 2 * self._trip + 0.001 or ended >= self._asked + 4 * REFRESH:
            self._ahead = server_ms / 1000 - (began + ended) / 2
            self._asked, self._trip = ended, trip
            self.known = True
