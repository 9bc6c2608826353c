"""The error table: what each error reply and each broken connection means for the call.

Three kinds of failure, told apart everywhere in the link:

- *not executed*: the server said so, or never had the whole command. Goes on until the deadline.
- *ambiguous*: the command was sent and no whole answer came. Sent again only if the call allows it.
- *refused*: carried out to an error, or never will be. Ends the call.

Matches the first word of a reply, which is stable over servers and versions; texts are not. The few
exceptions, which have no word of their own, stand in `_BY_TEXT`.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from hiredis import ReplyError

from sharedstate.errors import (
    AuthenticationError,
    LinkError,
    PermissionDeniedError,
    ServerRefusedError,
    UnsuitableServerError,
)

if TYPE_CHECKING:
    from .url import Address

__all__ = [
    "CLOSED_UNHEARD",
    "Failure",
    "Verdict",
    "explain",
    "explain_errno",
    "is_tls_error",
    "login_sentence",
    "refusal",
    "split",
    "turned_away",
    "verdict",
]


class Verdict(Enum):
    """What an error reply means for the call it answers."""

    MOVED = auto()  # not executed: the slot lives elsewhere, for good
    ASK = auto()  # not executed: this once, ask the node the slot is moving to
    NOSCRIPT = auto()  # not executed: send the script's text
    WAIT = auto()  # not executed: the same node will take it shortly
    REROUTE = auto()  # not executed: this node may not be the primary any more
    REFUSED = auto()  # will not be different next time


_VERDICTS = {
    "MOVED": Verdict.MOVED,
    "ASK": Verdict.ASK,
    "NOSCRIPT": Verdict.NOSCRIPT,
    "TRYAGAIN": Verdict.WAIT,  # keys of a several-key script are split over two nodes during a migration
    "BUSY": Verdict.WAIT,  # somebody's script runs too long
    "NOREPLICAS": Verdict.WAIT,  # min-replicas-to-write is not met, so nothing was written
    "CLUSTERDOWN": Verdict.REROUTE,
    "LOADING": Verdict.REROUTE,  # restarting; meanwhile a replica may have taken over
    "READONLY": Verdict.REROUTE,  # was demoted
    "MASTERDOWN": Verdict.REROUTE,  # was demoted and has not synced yet
}

#: Errors that come as plain ERR: a piece of text, in all supported servers, and the code it should have had.
_BY_TEXT = (
    ("max number of clients", "MAXCLIENTS"),
    ("The user executing the script can't", "NOPERM"),  # Redis: an ACL refusal inside a script
    ("ACL failure in script", "NOPERM"),  # Valkey: the same
    ("AUTH <password> called without", "WRONGPASS"),  # a password where the server has none
)

#: Added by the server to an error raised inside a script; the SHA is missing on Valkey 9.
_DECORATION = re.compile(r"\.?\s*script: (?:[0-9a-f]{40}, )?on @user_script:\d+\.?$")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a connection could not carry a batch to its end.

    Attributes:
        reason: what happened, to stand in a sentence after the address; with `error`, the whole sentence.
        error: the class to raise when trying again is pointless (login refused, not Redis), else None.
        refused: True when the host answered that nobody listens there, or its name does not resolve.
    """

    reason: str
    error: type[LinkError] | None = None
    refused: bool = False


def split(reply: str) -> tuple[str, str]:
    """Code and sentence of an error reply, without the decoration scripts get."""
    code, _, sentence = reply.partition(" ")
    for text, better in _BY_TEXT:
        if text in reply:
            code = better
    return code, _DECORATION.sub(".", sentence)


def verdict(reply: str) -> Verdict:
    """What an error reply means for its call."""
    code, _ = split(reply)
    return Verdict.WAIT if code == "MAXCLIENTS" else _VERDICTS.get(code, Verdict.REFUSED)


def refusal(reply: str, address: Address, what: str, user: str | None) -> LinkError:
    """The error for a reply that ends its call.

    Args:
        reply: the error as the server sent it.
        address: who sent it.
        what: name of the command or script.
        user: the ACL user we log in as, or None for the default one.
    """
    code, sentence = split(reply)
    sentence = sentence.rstrip(".")
    if code in ("NOAUTH", "WRONGPASS"):
        return AuthenticationError(login_sentence(code, address, user))
    if code == "NOPERM":
        return PermissionDeniedError(
            f"{address} does not let user {user or 'default'!r} run {what}: {sentence}; extend its ACL."
        )
    if code == "DENIED":
        return PermissionDeniedError(
            f"{address} is in protected mode and takes no connections from other hosts: "
            "give it a password or bind it to the right interface."
        )
    remedies = {
        "OOM": "is out of memory (maxmemory) and takes no writes: raise its maxmemory",
        "MISCONF": "cannot save its data and takes no writes: see its log and free its disk",
        "WRONGTYPE": f"holds another type under a key of {what}: another program uses our key names",
        "CROSSSLOT": f"says that keys of {what} do not share a slot: this is a defect, please report it",
    }
    if code in remedies:
        return ServerRefusedError(code, f"{address} {remedies[code]}.")
    if code == "ERR":
        return ServerRefusedError(code, f"{address} refused {what}: {sentence}.")
    return ServerRefusedError(code, f"{sentence}." if sentence else f"{address} refused {what}: {code}.")


def turned_away(reply: object, address: Address) -> Failure | None:
    """A server that takes no connection from us says so as its first reply, unasked, and closes.

    Nothing that was sent to it has been executed then. None when this is not such a reply.
    """
    if not isinstance(reply, ReplyError):
        return None
    code, _ = split(str(reply))
    if code == "MAXCLIENTS":
        return Failure("has reached its maxclients and takes no more connections")
    if code == "DENIED":
        return Failure(str(refusal(str(reply), address, "", None)), PermissionDeniedError)
    return None


def login_sentence(code: str, address: Address, user: str | None) -> str:
    """What to tell the operator about a refused login."""
    if code == "NOAUTH":
        return f"{address} requires a login: put user:password@ into the server URL."
    who = f"user {user!r}" if user else "the default user"
    return f"{address} refused the password of {who}: check user and password in the server URL."


#: What a port that expects TLS does to a plain connection, among others.
CLOSED_UNHEARD = Failure("closed the connection without an answer")

#: The host, or the socket's path, says that nobody is there: a definite answer, unlike silence.
_REFUSED = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EADDRNOTAVAIL,
        errno.EAFNOSUPPORT,
    }
)


def explain_errno(number: int) -> Failure:
    """What a failed connect means."""
    if number == errno.ECONNREFUSED:
        return Failure("refused the connection", refused=True)
    return Failure(f"cannot be connected to ({os.strerror(number)})", refused=number in _REFUSED)


def is_tls_error(error: Exception) -> bool:
    """True for an error of TLS itself; told by name, so that plain links never import ssl."""
    return any(base.__name__ == "SSLError" for base in type(error).__mro__)


def explain(error: Exception, address: Address, state: str, heard: bytes) -> Failure:
    """What a broken connection means.

    Args:
        error: what the socket, TLS or the parser raised.
        address: the peer.
        state: name of the wire's state.
        heard: the first bytes the peer sent on this connection, empty if none.
    """
    if is_tls_error(error):
        return _explain_tls(error, address, state)
    if isinstance(error, (EOFError, OSError)):
        return Failure("closed the connection") if heard else CLOSED_UNHEARD
    if heard[:2] == b"\x15\x03":
        return Failure(f"{address} speaks TLS on this port: use rediss://.", UnsuitableServerError)
    text = heard.decode("ascii", "replace").splitlines()[0][:40]
    return Failure(
        f"{address} answered {text!r}, so it is no Redis server: check host and port.", UnsuitableServerError
    )


def _explain_tls(error: Exception, address: Address, state: str) -> Failure:
    name = type(error).__name__
    reason = str(getattr(error, "reason", None) or error)
    if name == "SSLCertVerificationError":
        why = getattr(error, "verify_message", "") or reason
        return Failure(
            f"{address} has a certificate we do not trust ({why.rstrip('.')}): set ssl_ca_certs to its CA.",
            UnsuitableServerError,
        )
    if "EOF" in name or "EOF" in reason:
        return Failure("closed the connection" + (" in the TLS handshake" if state == "SECURING" else ""))
    if "ALERT" in reason:
        why = reason.lower().replace("_", " ")
        return Failure(
            f"{address} refused our TLS login ({why}): set ssl_certfile to a certificate it trusts.",
            AuthenticationError,
        )
    if state == "SECURING":
        return Failure(f"{address} does not speak TLS on this port: use redis://.", UnsuitableServerError)
    return Failure(f"broke off TLS ({reason})")
