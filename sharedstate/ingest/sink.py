"""What a log reader needs of `state.events`: the events a mail log can tell.

A reader depends on these seven methods only, so that it can be run against any object that has them: the
events of a joined state, a recorder in a test, or `NoEvents` for a run that only counts.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["MailEvents", "NoEvents"]


class MailEvents(Protocol):
    """Receives what happened, in the order of the log. No method may block."""

    def inbound_connect(self, ip: str, /) -> None:
        """A client's connection was opened."""

    def inbound_disconnect(self, ip: str, /) -> None:
        """A client's connection is gone."""

    def reception(self, ip: str, /) -> None:
        """A message from this client was accepted."""

    def rejection(self, ip: str, /) -> None:
        """A command or message of this client was refused."""

    def delivery(self, domain: str, seconds: float, /) -> None:
        """A recipient's message was delivered; it took that many seconds."""

    def transfail(self, domain: str, /) -> None:
        """A delivery attempt failed and will be made again."""

    def permfail(self, domain: str, /) -> None:
        """A delivery failed for good."""


class NoEvents:
    """Takes every event and does nothing with it."""

    def inbound_connect(self, ip: str, /) -> None:
        """Do nothing."""

    def inbound_disconnect(self, ip: str, /) -> None:
        """Do nothing."""

    def reception(self, ip: str, /) -> None:
        """Do nothing."""

    def rejection(self, ip: str, /) -> None:
        """Do nothing."""

    def delivery(self, domain: str, seconds: float, /) -> None:
        """Do nothing."""

    def transfail(self, domain: str, /) -> None:
        """Do nothing."""

    def permfail(self, domain: str, /) -> None:
        """Do nothing."""
