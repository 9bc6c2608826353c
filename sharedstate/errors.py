"""Every error a caller can meet, as one tree.

::

    SharedStateError
    +-- InvalidValueError (also ValueError)   an argument is not acceptable; nothing was done
    |   +-- InvalidAddressError               not an IP address or CIDR block
    |   +-- InvalidDomainError                not a domain name
    |   +-- InvalidNameError                  not a node, object or cluster name
    |   +-- InvalidUrlError                   not a server URL
    |   +-- InvalidThrottleError              not a throttle's rate
    |   +-- CountBelowZeroError               a decrement would make a count negative
    +-- ConfigError                           file:line:column and what was expected
    +-- UnknownNameError (also LookupError)   no such object or node; suggests the near name
    |   +-- UnknownObjectError
    |   +-- UnknownNodeError
    |   +-- UnknownThrottleError
    |   +-- UnknownSeriesError
    +-- ShardMismatchError                    configured and stored shard counts differ
    +-- SeriesMismatchError                   an audit series is defined otherwise than the fleet has it
    +-- LinkError                             talking to Redis failed
    |   +-- UnreachableError                  nobody answered (refused, unresolvable, not before the deadline)
    |   +-- AmbiguousError                    sent, no whole answer: it may or may not have run
    |   +-- AuthenticationError               wrong password or user
    |   +-- PermissionDeniedError             the ACL user may not do this
    |   +-- UnsuitableServerError             cannot serve us (not Redis, too old, evicting, slots uncovered)
    |   +-- ServerRefusedError                the server or one of our scripts refused (code and sentence)
    +-- ClosedError                           used after close(), or in a forked child
    +-- MissingExtraError                     a package that only this function needs is not installed
    +-- LocalClusterError                     the embedded cluster could not start or stop

Every message is one sentence that names the value, the place and the remedy.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AmbiguousError",
    "AuthenticationError",
    "ClosedError",
    "ConfigError",
    "CountBelowZeroError",
    "InvalidAddressError",
    "InvalidDomainError",
    "InvalidNameError",
    "InvalidThrottleError",
    "InvalidUrlError",
    "InvalidValueError",
    "LinkError",
    "LocalClusterError",
    "MissingExtraError",
    "PermissionDeniedError",
    "SeriesMismatchError",
    "ServerRefusedError",
    "ShardMismatchError",
    "SharedStateError",
    "UnknownNameError",
    "UnknownNodeError",
    "UnknownObjectError",
    "UnknownSeriesError",
    "UnknownThrottleError",
    "UnreachableError",
    "UnsuitableServerError",
]


class SharedStateError(Exception):
    """Base of every error this package raises on purpose."""


class InvalidValueError(SharedStateError, ValueError):
    """An argument is not acceptable; nothing was done."""


class InvalidAddressError(InvalidValueError):
    """A text is not an IPv4 or IPv6 address, or not a CIDR block."""


class InvalidDomainError(InvalidValueError):
    """A text is not a domain name."""


class InvalidNameError(InvalidValueError):
    """A text is not usable as a node, object or cluster name."""


class InvalidUrlError(InvalidValueError):
    """A text is not a server URL we understand."""


class InvalidThrottleError(InvalidValueError):
    """A text is not a throttle's rate, or one beyond all use."""


class CountBelowZeroError(InvalidValueError):
    """A decrement would make this member's own count negative; the count stays as it was."""


class ConfigError(SharedStateError):
    """A configuration file is wrong.

    Attributes:
        file: path as given, or None for configuration that came from no file.
        line: 1-based line, or None.
        column: 1-based column, or None.
    """

    def __init__(
        self, message: str, file: str | None = None, line: int | None = None, column: int | None = None
    ) -> None:
        place = ":".join(str(part) for part in (file, line, column) if part is not None)
        super().__init__(f"{place}: {message}" if place else message)
        self.file = file
        self.line = line
        self.column = column


class UnknownNameError(SharedStateError, LookupError):
    """A name is not known; the message suggests the nearest one that is."""

    noun = "name"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
        if near:
            hint = f"did you mean {near[0]!r}?"
        elif names:
            hint = f"known: {', '.join(names[:12])}{', …' if len(names) > 12 else ''}."
        else:
            hint = f"no {self.noun} is known yet."
        super().__init__(f"unknown {self.noun} {name!r}: {hint}")
        self.name = name
        self.suggestion = near[0] if near else None


class UnknownObjectError(UnknownNameError):
    """No shared object has this name."""

    noun = "object"


class UnknownNodeError(UnknownNameError):
    """No live node has this name."""

    noun = "node"


class UnknownThrottleError(UnknownNameError):
    """No throttle has this name."""

    noun = "throttle"


class UnknownSeriesError(UnknownNameError):
    """No audit series has this name."""

    noun = "audit series"


class ShardMismatchError(SharedStateError):
    """The configured shard count of an object differs from the one stored in Redis."""


class SeriesMismatchError(SharedStateError):
    """An audit series is defined with another type, other windows or another reach than the fleet has it."""


class LinkError(SharedStateError):
    """Talking to Redis failed."""


class UnreachableError(LinkError):
    """Nobody answered in time, or nobody is there; the call was not executed."""


class AmbiguousError(LinkError):
    """The call was sent but no whole answer came: it may or may not have been executed."""


class AuthenticationError(LinkError):
    """The server refused the user name or password."""


class PermissionDeniedError(LinkError):
    """The ACL user may not run a command or touch a key we need."""


class UnsuitableServerError(LinkError):
    """Something answered that cannot serve: not Redis, too old, evicting keys, or slots uncovered."""


class ServerRefusedError(LinkError):
    """The server or one of our scripts refused the call.

    Attributes:
        code: the first word of the server's error, such as ``OOM`` or ``SSRANGE``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ClosedError(SharedStateError):
    """The state was closed, or belongs to the parent of a forked process."""


class MissingExtraError(SharedStateError):
    """A package that only this function needs is not installed; the sentence says how to get it."""


class LocalClusterError(SharedStateError):
    """The embedded cluster could not be started, found or stopped."""
