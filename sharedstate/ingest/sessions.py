"""Which SMTP sessions are open, as far as the lines of smtpd(8), master(8) and postfix(1) tell.

An smtpd process serves one client at a time, so a session is known by its process: host, instance and pid.
Whatever says that the process is gone, or serves somebody else, ends the session, although the log holds no
disconnect line for it. What not even that catches ends by silence: smtpd gives up a silent client long
before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from .stamps import STAMP_BYTES, stamp_seconds

if TYPE_CHECKING:
    from .sink import MailEvents
    from .summary import Summary

__all__ = ["ProcessKey", "Sessions"]

#: Host (None where lines have none), instance path such as ``b"postfix/submission/"``, pid.
ProcessKey: TypeAlias = tuple[bytes | None, bytes, bytes]


class _Session:
    __slots__ = ("ip", "read_at", "stamp")

    def __init__(self, ip: str | None, stamp: bytes, read_at: float) -> None:
        self.ip = ip  # None: an unknown client, which is not counted
        self.stamp = stamp
        self.read_at = read_at


class Sessions:
    """The open sessions of one log.

    Args:
        events: told of every opening and closing.
        summary: where openings and closings are counted.
        timeout: seconds without a line about it after which a session is taken for over.
        clock: monotonic seconds.
        silent: tell `events` nothing until `announce` is called.
    """

    def __init__(
        self,
        events: MailEvents,
        summary: Summary,
        *,
        timeout: float,
        clock: Callable[[], float],
        silent: bool = False,
    ) -> None:
        self._events = events
        self._silent = silent
        self._summary = summary
        self._timeout = timeout
        self._clock = clock
        self._open: dict[ProcessKey, _Session] = {}
        self._read_at = clock()
        self._last_line = b""

    def addresses(self) -> list[str]:
        """Client address of every open session whose client is known, once for each session."""
        return [session.ip for session in self._open.values() if session.ip is not None]

    def client_of(self, key: ProcessKey) -> str | None:
        """Address of the client a process serves, or None."""
        session = self._open.get(key)
        return session.ip if session is not None else None

    def reading(self, last_line: bytes) -> None:
        """Note that lines up to this one are being read now."""
        self._read_at = self._clock()
        self._last_line = last_line

    def connect(self, key: ProcessKey, ip: str | None, line: bytes) -> None:
        """A process says that a client connected; an earlier one of it is over, whatever the log lacks."""
        if key in self._open:
            self._summary.superseded += 1
            self._end(key)
        self._begin(key, ip, line)

    def disconnect(self, key: ProcessKey) -> None:
        """A process says that its client is gone.

        After XCLIENT the line names another address than the first one did; the process decides.
        """
        if key in self._open:
            self._summary.disconnected += 1
            self._end(key)
        else:
            self._summary.unmatched_disconnects += 1

    def active(self, key: ProcessKey, ip: str | None, line: bytes) -> None:
        """A process says something about its client: it is there, at this address."""
        session = self._open.get(key)
        if session is None:
            self._summary.joined_midway += 1
            self._begin(key, ip, line)
            return
        session.stamp = line[:STAMP_BYTES]
        session.read_at = self._read_at
        if session.ip != ip:
            self._summary.readdressed += 1
            self._tell_closed(session.ip)
            session.ip = ip
            self._tell_opened(ip)

    def killed(self, host: bytes | None, pid: bytes) -> None:
        """A master says that one of its processes died."""
        for key in [key for key in self._open if key[0] == host and key[2] == pid]:
            self._summary.killed += 1
            self._end(key)

    def stopped(self, host: bytes | None, instance: bytes) -> None:
        """An instance starts or ends: none of its sessions is left."""
        for key in [key for key in self._open if key[0] == host and key[1].startswith(instance)]:
            self._summary.stopped += 1
            self._end(key)

    def expire(self) -> int:
        """End the sessions that have been silent for too long; return how many there were."""
        silent = [key for key, session in self._open.items() if self._silence(session) > self._timeout]
        for key in silent:
            self._summary.expired += 1
            self._end(key)
        return len(silent)

    def announce(self) -> None:
        """From now on tell events, beginning with the sessions that are open now."""
        if self._silent:
            self._silent = False
            for ip in self.addresses():
                self._tell_opened(ip)

    def _silence(self, session: _Session) -> float:
        # By the log's own clock, which runs on while nothing is written: a log that is read long after it
        # was written, or on a machine in another zone, is judged like one that is followed.
        last = stamp_seconds(self._last_line[:STAMP_BYTES])
        seen = stamp_seconds(session.stamp)
        if last is None or seen is None:
            return self._clock() - session.read_at
        return last - seen + self._clock() - self._read_at

    def _begin(self, key: ProcessKey, ip: str | None, line: bytes) -> None:
        self._open[key] = _Session(ip, line[:STAMP_BYTES], self._read_at)
        self._tell_opened(ip)

    def _end(self, key: ProcessKey) -> None:
        self._tell_closed(self._open.pop(key).ip)

    def _tell_opened(self, ip: str | None) -> None:
        if ip is not None and not self._silent:
            self._summary.inbound_connects += 1
            self._events.inbound_connect(ip)

    def _tell_closed(self, ip: str | None) -> None:
        if ip is not None and not self._silent:
            self._summary.inbound_disconnects += 1
            self._events.inbound_disconnect(ip)
