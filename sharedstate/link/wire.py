"""A `Wire`: one connection, as a state machine over a socket that never blocks.

It does no waiting: a runner asks what it `wants` (to read, to write), waits for that in its own way, and
calls `advance`. So connecting, TLS, login, sending and reading all end at the runner's deadline, whatever the
peer does, and sync and asyncio share every line that decides what has been sent and answered.

Replies are matched to batches by order alone. Therefore a batch that nobody waits for any more keeps its
place in the queue until its reply came, and a wire whose place in the stream is uncertain is closed for good.
"""

from __future__ import annotations

import errno
import math
import select
import socket
import time
from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import hiredis

from .faults import Failure, explain, explain_errno, is_tls_error, turned_away

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .batch import Batch
    from .login import Login
    from .resolve import AddressInfo
    from .url import Address

__all__ = ["CLOSED", "READ", "WRITE", "State", "Wire"]

READ = select.POLLIN
WRITE = select.POLLOUT

_INCOMPLETE = object()
_BUFFER = 32 * 1024
_CHUNK = 64 * 1024
#: One TLS record: the server cannot act on a part of one, so what was not handed over whole was not executed.
_RECORD = 16 * 1024

TIMED_OUT = Failure("gave no answer in time")
CLOSED = Failure("was closed from our side")


class State(Enum):
    """Where in its life a wire is."""

    RESOLVING = auto()
    CONNECTING = auto()
    SECURING = auto()
    GREETING = auto()
    READY = auto()
    DEAD = auto()


_LATE = {
    State.RESOLVING: Failure("has a name that did not resolve in time"),
    State.CONNECTING: Failure("took no connection in time"),
    State.SECURING: Failure(
        "did not finish the TLS handshake in time (if its port speaks plain text, use redis://)"
    ),
    State.GREETING: Failure("did not answer our login in time"),
    State.READY: TIMED_OUT,
}


def new_reader() -> hiredis.Reader:
    """A parser at the beginning of a stream."""
    return hiredis.Reader(notEnoughData=_INCOMPLETE, errors="replace")


class Wire:
    """One connection to one server.

    Args:
        address: the server.
        login: how to log in.
        until: monotonic time by which the connection must be ready.
    """

    __slots__ = (
        "__weakref__",
        "_blocked",
        "_buffer",
        "_chunk",
        "_flight",
        "_greeted",
        "_heard",
        "_login",
        "_outbox",
        "_place_until",
        "_places",
        "_proven",
        "_reader",
        "_secure",
        "_sending",
        "_sock",
        "address",
        "failure",
        "on_close",
        "poller",
        "state",
        "until",
        "wants",
    )

    def __init__(self, address: Address, login: Login, until: float) -> None:
        self.address = address
        self.until = until
        self.state = State.RESOLVING
        self.wants = 0
        self.failure: Failure | None = None
        #: called just before a socket is closed, while its number is still its own
        self.on_close: Callable[[], None] | None = None
        #: waits for replies on this wire alone, ready to use without another registration
        self.poller = select.poll()
        self._login = login
        self._secure = login.tls
        self._blocked = login.blocked
        self._places: deque[AddressInfo] = deque()
        self._place_until = until
        self._sock: Any = None
        self._reader: Any = new_reader()
        self._buffer = bytearray(_BUFFER)
        self._heard = b""
        self._greeted = 0
        self._proven = False
        self._flight: deque[Batch] = deque()
        self._outbox: deque[Batch] = deque()
        self._sending: deque[Batch] = deque()
        self._chunk: memoryview | None = None

    @property
    def fd(self) -> int:
        """The socket's file number, -1 when there is none."""
        return -1 if self._sock is None else int(self._sock.fileno())

    @property
    def idle(self) -> bool:
        """True when it is ready and nothing is under way."""
        return self.state is State.READY and not self._flight

    # -- what a runner calls -----------------------------------------------------------------------------

    def connect(self, places: Iterable[AddressInfo]) -> None:
        """Start connecting to the first of the resolved places that takes us."""
        self._places = deque(places)
        self._try_next_place(Failure("has a name without an address", refused=True))

    def submit(self, batch: Batch) -> None:
        """Queue a batch; `push` or `advance` sends it once the wire is ready."""
        if self.state is State.DEAD:
            batch.finish(self.failure)
            return
        self._flight.append(batch)
        self._outbox.append(batch)

    def push(self) -> None:
        """Send what is queued, as far as that goes without waiting."""
        if self.state is not State.READY:
            return
        try:
            self._flush()
        except OSError as error:
            self._break(error)

    def advance(self) -> None:
        """Go on as far as possible without waiting; called when what the wire wants has come true."""
        try:
            if self.state is not State.READY:
                self._establish()
            if self.state is State.READY:
                self._flush()
                self._receive()
        except (OSError, EOFError, hiredis.HiredisError) as error:
            self._break(error)

    def deadline(self) -> float:
        """The next moment at which `expire` has something to do."""
        earliest = min((batch.until for batch in self._flight if not batch.done), default=math.inf)
        return earliest if self.state is State.READY else min(earliest, self._place_until)

    def expire(self, now: float) -> None:
        """Give up what has taken too long: this place to connect to, or single batches."""
        if self.state not in (State.READY, State.DEAD) and now >= self._place_until:
            self._try_next_place(_LATE[self.state])
        for batch in [batch for batch in self._flight if not batch.done and batch.until <= now]:
            self.abandon(batch, _LATE.get(self.state, CLOSED))

    def abandon(self, batch: Batch, failure: Failure) -> None:
        """Nobody waits for this batch any more: take it back if it was not sent, else ignore its replies."""
        if batch.done:
            return
        if batch in self._outbox:
            self._outbox.remove(batch)
            self._flight.remove(batch)
            batch.finish(failure)
        elif batch.sent == len(batch.payload):
            batch.finish(failure)
        else:
            # Half of it is out: the rest must neither follow later nor be left out.
            self.fail(failure)

    @property
    def awaited(self) -> bool:
        """True while somebody waits for a batch on this wire."""
        return any(not batch.done for batch in self._flight)

    def stale(self) -> bool:
        """True when a wire at rest can be read: the server closed it, or sent what nobody asked for."""
        return bool(self.poller.poll(0))

    def check(self) -> None:
        """Before sending on a wire at rest: notice that the server closed it, while that costs nothing."""
        if self.state is State.READY and len(self._outbox) == len(self._flight) and self.stale():
            try:
                self._receive()
            except (OSError, EOFError, hiredis.HiredisError) as error:
                self._break(error)

    def fail(self, failure: Failure) -> None:
        """Close for good; every batch under way ends with this failure."""
        if self.state is State.DEAD:
            return
        self.state = State.DEAD
        self.wants = 0
        self.failure = failure
        self._close_socket()
        batches, self._flight = self._flight, deque()
        self._outbox.clear()
        self._sending.clear()
        self._chunk = None
        for batch in batches:
            if not batch.done:
                batch.finish(failure)

    def close(self) -> None:
        """Close for good, on our own accord."""
        self.fail(CLOSED)

    # -- connecting --------------------------------------------------------------------------------------

    def _try_next_place(self, last: Failure) -> None:
        self._close_socket()
        self._reader = new_reader()
        self._greeted = 0
        while self._places:
            family, kind, protocol, _, target = self._places.popleft()
            now = time.monotonic()
            self._place_until = now + (self.until - now) / (len(self._places) + 1)
            sock = None
            try:
                sock = socket.socket(family, kind, protocol)
                sock.setblocking(False)
                if family != socket.AF_UNIX:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                error = sock.connect_ex(target)
            except OSError as trouble:
                error = trouble.errno or errno.EINVAL
            if sock is None or error not in (0, errno.EINPROGRESS):
                if sock is not None:
                    sock.close()
                last = explain_errno(error)
                continue
            self._sock = sock
            self.state = State.CONNECTING
            self.wants = WRITE
            return
        self.fail(last)

    def _establish(self) -> None:
        """Take the steps from a begun connection to a ready one."""
        if self.state is State.CONNECTING:
            error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                self._try_next_place(explain_errno(error))
                return
            if self._secure is not None:
                self._sock = self._secure.wrap_socket(
                    self._sock, server_hostname=self.address.host, do_handshake_on_connect=False
                )
            self.state = State.SECURING
        if self.state is State.SECURING:
            if self._secure is not None and not self._shake_hands():
                return
            self.state = State.GREETING
            self._chunk = memoryview(self._login.payload) if self._login.payload else None
        if self.state is State.GREETING:
            self._flush()
            if self._login.commands:
                self._receive()
            if self.state is State.GREETING and self._greeted == len(self._login.commands):
                self._ready()

    def _shake_hands(self) -> bool:
        """One step of the TLS handshake; True when it is complete."""
        import ssl

        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            self.wants = READ
            return False
        except ssl.SSLWantWriteError:
            self.wants = WRITE
            return False
        return True

    def _ready(self) -> None:
        self.state = State.READY
        self.wants = READ
        self.poller = select.poll()
        self.poller.register(self._sock, READ)

    # -- sending and receiving ---------------------------------------------------------------------------

    def _flush(self) -> None:
        """Hand queued bytes to the kernel until it takes no more."""
        while True:
            if self._chunk is None:
                if not self._outbox or self.state is not State.READY:
                    self.wants = READ
                    return
                self._fill()
            chunk = self._chunk
            assert chunk is not None
            try:
                sent = self._sock.send(chunk if self._secure is None else chunk[:_RECORD])
            except self._blocked as error:
                self.wants = READ if type(error).__name__ == "SSLWantReadError" else READ | WRITE
                return
            self._chunk = chunk[sent:] if sent < len(chunk) else None
            self._account(sent)

    def _fill(self) -> None:
        """Make one chunk of the batches that wait, so that they share one write."""
        outbox = self._outbox
        batch = outbox.popleft()
        self._sending.append(batch)
        if not outbox:
            self._chunk = memoryview(batch.payload)
            return
        parts, size = [batch.payload], len(batch.payload)
        while outbox and size < _CHUNK:
            batch = outbox.popleft()
            self._sending.append(batch)
            parts.append(batch.payload)
            size += len(batch.payload)
        self._chunk = memoryview(b"".join(parts))

    def _account(self, sent: int) -> None:
        """Note in each batch how much of it is out."""
        sending = self._sending
        while sending and sent:
            batch = sending[0]
            part = min(sent, len(batch.payload) - batch.sent)
            batch.sent += part
            sent -= part
            if batch.sent == len(batch.payload):
                sending.popleft()

    def _receive(self) -> None:
        """Take what has arrived and hand it to the batches."""
        buffer = self._buffer
        while self.state is not State.DEAD:
            try:
                size = self._sock.recv_into(buffer)
            except self._blocked:
                return
            if not size:
                raise EOFError
            if not self._heard:
                self._heard = bytes(buffer[: min(size, 60)])
            self._reader.feed(buffer, 0, size)
            self._hand_out()
            if size < _BUFFER and self._secure is None:
                return

    def _hand_out(self) -> None:
        """Give each complete reply to the batch whose turn it is."""
        gets, flight = self._reader.gets, self._flight
        while (reply := gets()) is not _INCOMPLETE:
            if self.state is State.GREETING:
                self._greet(reply)
            elif not flight or not flight[0].sent:
                # Whatever this answers, it is nothing of ours: no later reply can be trusted either.
                self.fail(turned_away(reply, self.address) or Failure("sent something nobody asked for"))
            elif not self._proven and turned_away(reply, self.address) is not None:
                for batch in flight:
                    batch.sent = 0
                self.fail(turned_away(reply, self.address) or CLOSED)
            else:
                self._proven = True
                batch = flight[0]
                batch.replies.append(reply)
                if len(batch.replies) == len(batch.ends):
                    flight.popleft()
                    if not batch.done:
                        batch.finish()
            if self.failure is not None:
                return

    def _greet(self, reply: Any) -> None:
        """Judge one reply to our login; what comes before we asked is judged as well."""
        failure = turned_away(reply, self.address)
        if failure is None and self._greeted < len(self._login.commands):
            failure = self._login.check(self._greeted, reply, self.address)
        self._greeted += 1
        if failure is not None:
            self.fail(failure)

    # -- the end -----------------------------------------------------------------------------------------

    def _break(self, error: Exception) -> None:
        """The connection failed by itself."""
        if self.state in (State.CONNECTING, State.SECURING) and self._places and not is_tls_error(error):
            self._try_next_place(explain_errno(getattr(error, "errno", None) or errno.ECONNRESET))
            return
        if self.state is State.READY and not isinstance(error, (EOFError, hiredis.HiredisError)):
            self._last_words()
        if is_tls_error(error) and not self._heard:
            # The server never completed the handshake on its side, so it has executed nothing.
            for batch in self._flight:
                batch.sent = 0
        self.fail(explain(error, self.address, self.state.name, self._heard))

    def _last_words(self) -> None:
        """A write can fail while answers to earlier commands still lie in the receive buffer."""
        try:
            self._receive()
        except (OSError, EOFError, hiredis.HiredisError):
            return

    def _close_socket(self) -> None:
        if self._sock is not None:
            if self.on_close is not None:
                self.on_close()
            self._sock.close()
            self._sock = None
