"""What reading a log came to, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Summary"]


@dataclass(slots=True)
class Summary:
    """Counts of one reading.

    Attributes:
        lines: lines read.
        matched: lines that said something about a session, a message or a delivery.
        inbound_connects: events told, one of them for each session that was opened.
        inbound_disconnects: events told.
        receptions: events told.
        rejections: events told.
        deliveries: events told.
        transfails: events told.
        permfails: events told.
        disconnected: sessions ended by their disconnect line.
        superseded: sessions without one: their process went on to serve another client.
        killed: sessions without one: master said that their process died.
        stopped: sessions without one: their Postfix was stopped or started.
        expired: sessions without one: nothing was said about them for too long.
        joined_midway: sessions whose beginning the log does not hold, known by a later line about them.
        unmatched_disconnects: disconnect lines of sessions whose beginning the log does not hold.
        readdressed: sessions whose client address changed on the way (XCLIENT).
        unusable_clients: lines whose client address is unknown or not an address.
        unusable_domains: delivery attempts whose recipient domain is not a domain name.
    """

    lines: int = 0
    matched: int = 0
    inbound_connects: int = 0
    inbound_disconnects: int = 0
    receptions: int = 0
    rejections: int = 0
    deliveries: int = 0
    transfails: int = 0
    permfails: int = 0
    disconnected: int = 0
    superseded: int = 0
    killed: int = 0
    stopped: int = 0
    expired: int = 0
    joined_midway: int = 0
    unmatched_disconnects: int = 0
    readdressed: int = 0
    unusable_clients: int = 0
    unusable_domains: int = 0

    @property
    def events(self) -> int:
        """All events told."""
        return (
            self.inbound_connects
            + self.inbound_disconnects
            + self.receptions
            + self.rejections
            + self.deliveries
            + self.transfails
            + self.permfails
        )

    @property
    def leaks(self) -> int:
        """Sessions that ended without a disconnect line."""
        return self.superseded + self.killed + self.stopped + self.expired
