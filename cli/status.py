"""Exit numbers: the only place that has any.

A script that calls the console tells apart what it can do something about: wait (6), fix a name (4), fix
a file (3).
"""

from __future__ import annotations

import enum
import os
from typing import Self

from sharedstate import errors

from .errors import NotAMemberError, NothingToSetError
from .views.text import printable

__all__ = ["ExitStatus", "explain"]


class ExitStatus(enum.IntEnum):
    """How a command ended; the second element of each is what `help` says about it."""

    meaning: str

    def __new__(cls, number: int, meaning: str) -> Self:
        """Make a member that is its number and knows its meaning."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.meaning = meaning
        return member

    OK = 0, "done"
    INTERNAL = 1, "a defect of this program, or its output could not be written"
    USAGE = 2, "the command line is wrong"
    CONFIGURATION = 3, "a configuration file is wrong, or disagrees with what the fleet stored"
    UNKNOWN_NAME = 4, "no such object, node or throttle, or this node has no live member"
    INVALID_VALUE = 5, "an address, domain, name, rate or URL is not valid"
    UNREACHABLE = 6, "Redis could not be reached or did not answer in time"
    REFUSED_LOGIN = 7, "wrong password, or the user may not do this"
    UNSUITABLE = 8, "the server cannot serve: not Redis, too old, evicting keys, slots uncovered"
    REFUSED_CALL = 9, "the server refused the call"
    LOCAL_CLUSTER = 10, "the local cluster could not be started, found or stopped"
    THROTTLED = 11, "the throttle refused (throttle check)"
    WINDOWS_LOST = 12, "windows of audit series were over before an export came to them"
    MISSING_EXTRA = 13, "a package that only this command needs is not installed"
    INTERRUPTED = 130, "ended by Ctrl-C"


#: Error class to status; the nearest class of an error's own line of descent decides.
_STATUSES: dict[type[BaseException], ExitStatus] = {
    errors.ConfigError: ExitStatus.CONFIGURATION,
    errors.ShardMismatchError: ExitStatus.CONFIGURATION,
    errors.SeriesMismatchError: ExitStatus.CONFIGURATION,
    errors.UnknownNameError: ExitStatus.UNKNOWN_NAME,
    NotAMemberError: ExitStatus.UNKNOWN_NAME,
    NothingToSetError: ExitStatus.UNKNOWN_NAME,
    errors.InvalidValueError: ExitStatus.INVALID_VALUE,
    errors.LinkError: ExitStatus.UNREACHABLE,
    errors.AuthenticationError: ExitStatus.REFUSED_LOGIN,
    errors.PermissionDeniedError: ExitStatus.REFUSED_LOGIN,
    errors.UnsuitableServerError: ExitStatus.UNSUITABLE,
    errors.ServerRefusedError: ExitStatus.REFUSED_CALL,
    errors.MissingExtraError: ExitStatus.MISSING_EXTRA,
    errors.LocalClusterError: ExitStatus.LOCAL_CLUSTER,
    KeyboardInterrupt: ExitStatus.INTERRUPTED,
}


def explain(error: BaseException) -> tuple[ExitStatus, str]:
    """The status of an error and the sentence about it for standard error, safe to show on a terminal."""
    error = _interrupt_behind(error) or error
    status = next(
        (_STATUSES[ancestor] for ancestor in type(error).__mro__ if ancestor in _STATUSES),
        ExitStatus.INTERNAL,
    )
    if isinstance(error, KeyboardInterrupt):
        return status, "interrupted."
    if isinstance(error, errors.SharedStateError):
        sentence = str(error)
    elif isinstance(error, OSError):
        what = os.strerror(error.errno) if error.errno else str(error)
        sentence = f"{error.filename}: {what}." if error.filename else f"{what}."
    else:
        sentence = (
            f"internal error, {type(error).__name__}: {error}; "
            "set SHAREDSTATE_TRACEBACK=1 to see where, and report it."
        )
    return status, printable(" ".join(sentence.split("\n")))


def _interrupt_behind(error: BaseException) -> KeyboardInterrupt | None:
    """The Ctrl-C that became this error: Python 3.11 wraps what is raised while a class is made, as in an import."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause
