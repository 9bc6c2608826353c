"""Host names to socket addresses, without ever waiting longer than asked."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from .faults import Failure

if TYPE_CHECKING:
    from .url import Address

__all__ = ["AddressInfo", "literal", "look_up", "look_up_failure"]

#: family, type, protocol, canonical name, socket address; as `socket.getaddrinfo` answers.
AddressInfo: TypeAlias = tuple[int, int, int, str, Any]


def literal(address: Address) -> list[AddressInfo] | None:
    """The place of a unix socket or an IP address, which needs no look-up; None for a name."""
    if not address.port:
        return [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", address.host)]
    try:
        return list(
            socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        )
    except (OSError, UnicodeError):
        return None


def look_up_failure(error: Exception) -> Failure:
    """What a failed look-up means."""
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return Failure("has a name that cannot be resolved now (no name server answers)")
    return Failure("has a name that does not resolve", refused=True)


def look_up(address: Address, until: float) -> list[AddressInfo] | Failure:
    """Resolve a name; a resolver that hangs is left behind in its thread at the deadline."""
    found: list[list[AddressInfo] | Failure] = []

    def ask() -> None:
        try:
            found.append(list(socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            found.append(look_up_failure(error))

    thread = threading.Thread(target=ask, name=f"look up {address.host}", daemon=True)
    thread.start()
    thread.join(max(0.0, until - time.monotonic()))
    return found[0] if found else Failure("has a name that did not resolve in time")
