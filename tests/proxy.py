"""A TCP proxy that misbehaves on command: what networks do, reproducible.

::

    with FaultProxy("127.0.0.1", server.port) as proxy:
        link = Link.open(parse_url(f"redis://127.0.0.1:{proxy.port}"))
        proxy.cut_replies(1)          # the next request runs, its reply is lost with the connection
        ...

A cluster's nodes tell clients where they are, so `proxied` makes them tell the proxies' ports.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .support import poll

if TYPE_CHECKING:
    from sharedstate.local import LocalCluster, Node


class FaultProxy:
    """Forwards TCP connections to one server and breaks them as told.

    The modes may be switched at any time, from any thread; they apply to what arrives after that.

    Args:
        host: where the server listens.
        port: its port.

    Attributes:
        port: where the proxy listens, the same all its life.
        delay: seconds each piece of a reply is held back; the order stays.
        drop_replies: True swallows replies; the connection stays open.
        hold_requests: True keeps requests from the server; the connection stays open (a black hole).
        drip: True passes replies one byte at a time, 20 ms apart.
        accepted: connections taken so far.
        requests: pieces of requests forwarded so far (a small pipeline is one piece).
        cuts: connections cut by `cut_replies` and `cut_requests` so far.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._cut_replies = 0
        self._cut_requests = 0
        self._reply_bytes = 0
        self.delay = 0.0
        self.drop_replies = False
        self.hold_requests = False
        self.drip = False
        self.accepted = 0
        self.requests = 0
        self.cuts = 0
        self._listener: socket.socket | None = None
        self.port = 0
        self.allow()

    @property
    def address(self) -> str:
        """``host:port`` of the proxy."""
        return f"127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """Connections that run through the proxy now."""
        with self._lock:
            return len(self._pairs)

    # -- modes -----------------------------------------------------------------------------------------------

    def cut_replies(self, times: int = 1, *, after_bytes: int = 0) -> None:
        """Cut the connection when the next reply comes back: its request was executed, nobody hears of it.

        Args:
            times: how many connections.
            after_bytes: how much of the reply is still passed on.
        """
        with self._lock:
            self._cut_replies, self._reply_bytes = times, after_bytes

    def cut_requests(self, times: int = 1) -> None:
        """Cut the connection when the next request comes, before the server sees any of it."""
        with self._lock:
            self._cut_requests = times

    def cut_all(self) -> None:
        """Cut all connections now, with a reset."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._cut(pair)

    def refuse(self) -> None:
        """Refuse new connections, as when nobody listens; open ones stay."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
            listener.close()

    def allow(self) -> None:
        """Take connections (again)."""
        if self._listener is not None:
            return
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(512)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._start(self._accept, listener)

    def heal(self) -> None:
        """Behave again; what was held back or dropped stays lost."""
        with self._lock:
            self._cut_replies = self._cut_requests = 0
        self.delay = 0.0
        self.drop_replies = self.hold_requests = self.drip = False
        self.allow()

    # -- life ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Cut everything and end all threads."""
        self._closing.set()
        self.refuse()
        self.cut_all()
        for thread in self._threads:
            thread.join(5.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]  # any callable
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, 5.0)
            except OSError:
                _reset(client)
                continue
            for end in (client, server):
                end.settimeout(None)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = (client, server)
            with self._lock:
                self.accepted += 1
                self._pairs.add(pair)
            self._start(self._pump_requests, pair)
            self._start(self._pump_replies, pair)

    def _pump_requests(self, pair: tuple[socket.socket, socket.socket]) -> None:
        client, server = pair
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self._take("_cut_requests"):
                    break
                if self.hold_requests:
                    continue
                self.requests += 1
                server.sendall(data)
        self._cut(pair)

    def _pump_replies(self, pair: tuple[socket.socket, socket.socket]) -> None:
        client, server = pair
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self._take("_cut_replies"):
                    client.sendall(data[: self._reply_bytes])
                    break
                if self.delay:
                    self._closing.wait(self.delay)
                if self.drop_replies:
                    continue
                if self.drip:
                    for byte in data:
                        client.sendall(bytes([byte]))
                        self._closing.wait(0.02)
                else:
                    client.sendall(data)
        self._cut(pair, reset=False)

    def _take(self, counter: str) -> bool:
        with self._lock:
            left = getattr(self, counter)
            if left:
                setattr(self, counter, left - 1)
                self.cuts += 1
            return bool(left)

    def _cut(self, pair: tuple[socket.socket, socket.socket], *, reset: bool = True) -> None:
        with self._lock:
            if pair not in self._pairs:
                return
            self._pairs.discard(pair)
        for end in pair:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes the other thread
            if reset:
                _reset(end)
            else:
                end.close()


def _reset(end: socket.socket) -> None:
    """Close with RST instead of FIN."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


class ProxiedCluster:
    """A cluster whose nodes send their clients through proxies.

    Attributes:
        cluster: the cluster behind.
        proxies: one per node, in the order of ``cluster.nodes``.
    """

    def __init__(self, cluster: LocalCluster, proxies: list[FaultProxy]) -> None:
        self.cluster = cluster
        self.proxies = proxies

    @property
    def url(self) -> str:
        """URL through the proxies."""
        return f"redis://{','.join(proxy.address for proxy in self.proxies)}"

    def proxy_of(self, node: Node) -> FaultProxy:
        """The proxy in front of a node."""
        return self.proxies[self.cluster.nodes.index(node)]

    def proxy_for(self, slot: int) -> FaultProxy:
        """The proxy in front of the primary of a slot."""
        port = next(row.port for row in self._rows() if any(a <= slot <= b for a, b in row.ranges))
        return next(proxy for proxy in self.proxies if proxy.port == port)

    def _rows(self) -> list:  # type: ignore[type-arg]  # rows of CLUSTER NODES
        return next(node for node in self.cluster.nodes if node.alive).rows()


@contextmanager
def proxied(cluster: LocalCluster) -> Iterator[ProxiedCluster]:
    """Put a proxy in front of each node, and have the nodes announce the proxies' ports to clients."""
    with ExitStack() as stack:
        proxies = [stack.enter_context(FaultProxy("127.0.0.1", node.port)) for node in cluster.nodes]
        _announce(cluster, [proxy.port for proxy in proxies])
        try:
            yield ProxiedCluster(cluster, proxies)
        finally:
            _announce(cluster, [0] * len(cluster.nodes))


def _announce(cluster: LocalCluster, ports: list[int]) -> None:
    """Have each node announce a port (0: its own) and wait until all have heard it."""
    alive = [node for node in cluster.nodes if node.alive]
    expected = {port or node.port for node, port in zip(cluster.nodes, ports, strict=True) if node in alive}
    for node, port in zip(cluster.nodes, ports, strict=True):
        if node in alive:
            node.call("CONFIG", "SET", "cluster-announce-port", port)
    poll(
        lambda: all(expected <= {row.port for row in node.rows()} for node in alive),
        what="all nodes know the announced ports",
    )
