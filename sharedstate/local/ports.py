"""Chooses ports: the client port and, 10000 above it, the port of the cluster bus.

Both stay below 32768, where the kernel begins to hand out ports of its own for outgoing connections, so that
nobody's outgoing connection sits on the port of a server that is about to restart.
"""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

from sharedstate.errors import LocalClusterError

__all__ = ["BUS_OFFSET", "FIRST", "LAST", "LOOPBACK", "check_block", "free_block", "is_free", "pick"]

LOOPBACK = "127.0.0.1"
BUS_OFFSET = 10000
FIRST = 10000
LAST = 22767

_random = random.SystemRandom()


def pick(count: int) -> list[int]:
    """Choose ports at random whose bus ports are free as well.

    They are all held until the last is found. Another program can still take one between this call and the
    server's own bind, so the caller tries again when the server says so.

    Raises:
        LocalClusterError: hardly a port is free.
    """
    ports: list[int] = []
    with ExitStack() as held:
        for _ in range(200 + 20 * count):
            port = _random.randint(FIRST, LAST)
            with ExitStack() as pair:
                try:
                    pair.enter_context(_hold(port))
                    pair.enter_context(_hold(port + BUS_OFFSET))
                except OSError:
                    continue
                held.enter_context(pair.pop_all())
            ports.append(port)
            if len(ports) == count:
                return ports
    raise LocalClusterError(f"no {count} free ports were found between {FIRST} and {LAST} on {LOOPBACK}.")


def check_block(first: int, count: int) -> list[int]:
    """The ports ``first`` to ``first + count - 1``, when they can be used.

    Raises:
        LocalClusterError: a port or its bus port is out of range or taken; the message names it.
    """
    highest = 65535 - BUS_OFFSET - count + 1
    if not 1 <= first <= highest:
        raise LocalClusterError(
            f"port {first} is out of range: {count} servers can use ports from 1 to {highest}, "
            f"because each also uses the port {BUS_OFFSET} above its own."
        )
    ports = list(range(first, first + count))
    for port in (*ports, *(port + BUS_OFFSET for port in ports)):
        if not is_free(port):
            raise LocalClusterError(
                f"port {port} on {LOOPBACK} is taken by another program: stop that or choose another port."
            )
    return ports


def free_block(count: int, start: int = 17000) -> list[int]:
    """The first free run of ports from ``start`` on, so that a long-lived cluster has a guessable URL.

    Raises:
        LocalClusterError: there is none up to 22767.
    """
    for first in range(start, LAST - count + 2, count):
        ports = list(range(first, first + count))
        if all(is_free(port) and is_free(port + BUS_OFFSET) for port in ports):
            return ports
    raise LocalClusterError(
        f"no {count} free ports in a row were found between {start} and {LAST} on {LOOPBACK}."
    )


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now, as a server does: closed connections do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _hold(port: int) -> socket.socket:
    """Bind without SO_REUSEADDR: two processes that pick at the same time then exclude each other."""
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        holder.bind((LOOPBACK, port))
    except OSError:
        holder.close()
        raise
    return holder
