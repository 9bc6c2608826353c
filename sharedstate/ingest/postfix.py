"""Postfix log lines, turned into events.

One regular expression recognises every line that matters, and nothing else. It is anchored at the start of
the line and at each step after that up to the field it reads, because what follows is often written by
strangers: a HELO name, a recipient or a header may hold any text, ``connect from`` included.

=========================================  =============================================================
line                                       event
=========================================  =============================================================
smtpd ``connect from``                     inbound_connect
smtpd ``disconnect from``                  inbound_disconnect (`sessions` has the other ways it ends)
smtpd ``QID: client=``                     none yet: remembers whose message it is
qmgr ``QID: from=``, the first one         reception, of the client remembered. Only here is the message
                                           accepted; after ``client=`` it may be refused or break off
smtpd ``proxy-accept:``                    reception: the before-queue filter has the message
smtpd ``reject:``, ``milter-reject:``,     rejection, for each such line
``proxy-reject:``, ``… limit exceeded:``
postscreen ``reject:``                     rejection. Its connections are not counted: those it lets
                                           pass appear as smtpd's, the others never reach a mail server
cleanup ``reject:``, ``milter-reject:``    rejection, of the client remembered
smtp, lmtp ``status=sent``                 delivery, with ``delay=`` or the attempt's part of ``delays=``
smtp, lmtp ``status=deferred``             transfail
smtp, lmtp ``status=bounced``              permfail
master, postfix-script                     none: ends the sessions of dead processes
=========================================  =============================================================

error(8), retry(8), local(8), virtual(8), pipe(8) and discard(8) contact no destination, so their ``status=``
is no delivery attempt. smtp(8) logs neither connect nor disconnect: outbound connections cannot be read from
a log.
"""

from __future__ import annotations

import enum
import re
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from sharedstate.errors import InvalidAddressError, InvalidDomainError
from sharedstate.names import canonical_address, canonical_domain

from .sessions import Sessions
from .summary import Summary

if TYPE_CHECKING:
    from .sink import MailEvents

__all__ = ["DEFAULT_SESSION_TIMEOUT", "DeliveryTime", "PostfixLog"]

#: smtpd ends a silent session after smtpd_timeout, 300 s by default; a client can stretch that with NOOPs.
DEFAULT_SESSION_TIMEOUT = 3600.0

_MAX_CACHED = 65_536
_MAX_UNACCEPTED = 65_536

# A client stands as name[address] or name[address]:port; postscreen gives no name. The name comes from DNS
# and was checked by Postfix. An empty group ends each branch: `lastindex` then says which one matched.
_GRAMMAR = r"""
    # Time (traditional, RFC 3339 or none), host, facility.priority, syslog_name with its slashes.
    # Possessive throughout: what does not match is refused without trying other ways to read its head.
    (?: (?: [A-Z][a-z]{2}[ ][ \d]\d[ ][\d:]{8} | \d{4}-\d\d-\d\dT\S++ ) [ ] )?+
    (?: (?P<host> [^\s\[\]/]++ ) [ ] (?: [a-z]++[0-7]?\.[a-z]++ [ ] )?+ )?+
    (?P<instance> (?: [^\s/\[\]]++ / )++ )
    (?:
        smtpd (?P<pid> \[\d+\] ) : [ ]
        (?:
            connect[ ]from[ ] CLIENT(connect_ip) (?P<connect>)
          | disconnect[ ]from[ ] CLIENT(disconnect_ip) (?P<disconnect>)
          | (?P<client_id> QUEUE_ID ) : [ ] client= CLIENT(client_ip) (?P<client>)
          | QUEUE_ID : [ ] (?: milter- )? reject: [ ] STAGE [ ] from [ ]
            CLIENT(reject_ip) (?P<reject>)
          | warning: [ ] [A-Za-z ]+ [ ] limit [ ] exceeded: [ ] \d+ [ ] from [ ]
            CLIENT(limit_ip) (?P<limit>)
          | proxy- (?P<verdict> accept | reject ) : [ ] (?P<proxied>)
        )
      | qmgr\[\d+\]: [ ] (?P<queued_id> QUEUE_ID ) : [ ] from=< (?P<queued>)
      | (?: smtp | lmtp ) \[\d+\]: [ ] QUEUE_ID : [ ]
        to=< (?: QUOTED | [^\s"<>@,]+ ) @ (?P<domain> [^\s"<>@,]+ ) >, [ ]
        (?: orig_to=< (?: QUOTED | [^"<>] )* >, [ ] )?
        relay= (?P<relay> [^\s,]+ ) , [ ]
        (?: [a-z_]+ = [^\s,]+ , [ ] )*?  # conn_use, and what versions to come may add
        delay= (?P<total> \d+(?:\.\d+)? ) , [ ]
        delays= [\d.]+ / [\d.]+ / (?P<setup> \d+(?:\.\d+)? ) / (?P<sending> \d+(?:\.\d+)? ) , [ ]
        dsn= [\d.]+ , [ ] status= (?P<status> [A-Za-z]+ ) [ ] (?P<attempt>)
      | cleanup\[\d+\]: [ ] (?P<cleaned_id> QUEUE_ID ) : [ ] (?: milter- )? reject: [ ] (?P<cleaned>)
      | postscreen\[\d+\]: [ ] NOQUEUE: [ ] reject: [ ] STAGE [ ] from [ ] CLIENT(screened_ip) (?P<screened>)
      | master\[\d+\]: [ ] (?:
            warning: [ ] process [ ] \S+ [ ] pid [ ] (?P<dead> \d+ ) [ ] (?: killed | exit ) [ ] (?P<killed>)
          | (?: daemon [ ] started | terminating [ ] on [ ] signal ) [ ] (?P<restarted>)
        )
      | postfix-script\[\d+\]: [ ] (?: starting | stopping | aborting ) [ ] the [ ] Postfix (?P<stopped>)
    )
"""
_PARTS = {
    "QUEUE_ID": r"[0-9A-Za-z]+",
    "STAGE": r"[A-Z][A-Za-z-]*(?:[ ]content)?",
    # A quoted local part may hold anything, even what looks like the rest of the line (RFC 5321, 4.1.2).
    "QUOTED": r'"(?>[^"\\]+|\\.)*"',
}


def _compile(grammar: str) -> re.Pattern[bytes]:
    for name, part in _PARTS.items():
        grammar = grammar.replace(name, part)
    grammar = re.sub(r"CLIENT\((\w+)\)", r"[^\\s\\[\\]]*\\[(?P<\1>[^\\s\\]]+)\\]", grammar)
    return re.compile(grammar.encode(), re.VERBOSE)


_LINE = _compile(_GRAMMAR)
_GROUP = _LINE.groupindex
_HOST, _INSTANCE, _PID = _GROUP["host"], _GROUP["instance"], _GROUP["pid"]


class DeliveryTime(enum.StrEnum):
    """Which seconds a delivery reports."""

    TOTAL = "total"  # from the message's arrival to its delivery, time in the queue included
    ATTEMPT = "attempt"  # of the attempt that delivered it: connection set-up and transmission


class PostfixLog:
    """Reads the log of one node and tells its events.

    Lines of several Postfix instances of the node may come mixed. Not thread-safe.

    Args:
        events: told what happened.
        session_timeout: seconds without a line about it after which an open session is taken for over.
        delivery_time: which seconds a delivery reports.
        ignore_relays: deliveries to these are hops to a content filter and not counted, each as it stands in
            the log after ``relay=``, such as ``127.0.0.1[127.0.0.1]:10024``.
        catch_up: read without telling anything, until `go_live`.
        clock: monotonic seconds, for sessions that are silent while the log is, too.

    Attributes:
        summary: what was read so far, in numbers.
    """

    def __init__(
        self,
        events: MailEvents,
        *,
        session_timeout: float = DEFAULT_SESSION_TIMEOUT,
        delivery_time: DeliveryTime = DeliveryTime.TOTAL,
        ignore_relays: Collection[str] = (),
        catch_up: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.summary = Summary()
        self._events = events
        self._live = not catch_up
        self._sessions = Sessions(events, self.summary, timeout=session_timeout, clock=clock, silent=catch_up)
        self._attempt_only = delivery_time is DeliveryTime.ATTEMPT
        self._ignore_relays = frozenset(relay.encode() for relay in ignore_relays)
        self._clients: dict[bytes, str | None] = {}
        self._domains: dict[bytes, str | None] = {}
        self._unaccepted: dict[
            bytes, str | None
        ] = {}  # queue id to client, from client= to qmgr's first line
        handlers: dict[str, Callable[[re.Match[bytes]], None]] = {
            "connect": self._on_connect,
            "disconnect": self._on_disconnect,
            "client": self._on_client,
            "reject": self._on_reject,
            "limit": self._on_limit,
            "proxied": self._on_proxied,
            "queued": self._on_queued,
            "attempt": self._on_attempt,
            "cleaned": self._on_cleaned,
            "screened": self._on_screened,
            "killed": self._on_killed,
            "restarted": self._on_stopped,
            "stopped": self._on_stopped,
        }
        self._handlers = {_GROUP[branch]: handler for branch, handler in handlers.items()}

    @property
    def open_sessions(self) -> list[str]:
        """Client address of every session that is open now, once for each session."""
        return self._sessions.addresses()

    def feed(self, block: bytes) -> None:
        """Read whole lines, separated by line feeds.

        Nothing in them can raise an error; what is not understood is skipped.
        """
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        if not lines:
            return
        self._sessions.reading(lines[-1])
        handlers = self._handlers
        matched = 0
        for match in filter(None, map(_LINE.match, lines)):
            matched += 1
            handlers[match.lastindex or 0](match)
        self.summary.lines += len(lines)
        self.summary.matched += matched

    def expire(self) -> int:
        """End the sessions that were silent for too long; return how many. Worth a call every few seconds."""
        return self._sessions.expire()

    def go_live(self) -> None:
        """End catching up: tell the sessions that are open now, and from here on everything."""
        self._sessions.expire()
        self._sessions.announce()
        self._live = True

    # One handler for each branch of the grammar.

    def _on_connect(self, match: re.Match[bytes]) -> None:
        ip = self._client(match[_GROUP["connect_ip"]])
        self._sessions.connect((match[_HOST], match[_INSTANCE], match[_PID]), ip, match.string)

    def _on_disconnect(self, match: re.Match[bytes]) -> None:
        self._sessions.disconnect((match[_HOST], match[_INSTANCE], match[_PID]))

    def _on_client(self, match: re.Match[bytes]) -> None:
        ip = self._active(match, "client_ip")
        queue_id = match[_GROUP["client_id"]]
        if queue_id != b"NOQUEUE":  # a before-queue filter has the message: proxy-accept will follow
            self._unaccepted[queue_id] = ip
            if len(self._unaccepted) > _MAX_UNACCEPTED:
                del self._unaccepted[next(iter(self._unaccepted))]

    def _on_reject(self, match: re.Match[bytes]) -> None:
        self._rejection(self._active(match, "reject_ip"))

    def _on_limit(self, match: re.Match[bytes]) -> None:
        self._rejection(self._active(match, "limit_ip"))

    def _on_proxied(self, match: re.Match[bytes]) -> None:
        # The line names no client; it is the one the process serves.
        ip = self._sessions.client_of((match[_HOST], match[_INSTANCE], match[_PID]))
        if match[_GROUP["verdict"]] == b"accept":
            self._reception(ip)
        else:
            self._rejection(ip)

    def _on_queued(self, match: re.Match[bytes]) -> None:
        # A message comes here again with each visit to the queue, and its id is forgotten by then.
        self._reception(self._unaccepted.pop(match[_GROUP["queued_id"]], None))

    def _on_cleaned(self, match: re.Match[bytes]) -> None:
        # The line quotes a header before it names the client, so the client is looked up by the queue id.
        self._rejection(self._unaccepted.get(match[_GROUP["cleaned_id"]]))

    def _on_screened(self, match: re.Match[bytes]) -> None:
        self._rejection(self._client(match[_GROUP["screened_ip"]]))

    def _on_attempt(self, match: re.Match[bytes]) -> None:
        if match[_GROUP["relay"]] in self._ignore_relays:
            return
        domain = self._domain(match[_GROUP["domain"]])
        if domain is None or not self._live:
            return
        status = match[_GROUP["status"]]
        if status == b"sent":
            if self._attempt_only:
                seconds = float(match[_GROUP["setup"]]) + float(match[_GROUP["sending"]])
            else:
                seconds = float(match[_GROUP["total"]])
            self._events.delivery(domain, seconds)
            self.summary.deliveries += 1
        elif status in {b"deferred", b"SOFTBOUNCE"}:
            self._events.transfail(domain)
            self.summary.transfails += 1
        elif status == b"bounced":
            self._events.permfail(domain)
            self.summary.permfails += 1

    def _on_killed(self, match: re.Match[bytes]) -> None:
        self._sessions.killed(match[_HOST], b"[%b]" % match[_GROUP["dead"]])

    def _on_stopped(self, match: re.Match[bytes]) -> None:
        self._sessions.stopped(match[_HOST], match[_INSTANCE])

    def _active(self, match: re.Match[bytes], group: str) -> str | None:
        ip = self._client(match[_GROUP[group]])
        self._sessions.active((match[_HOST], match[_INSTANCE], match[_PID]), ip, match.string)
        return ip

    def _reception(self, ip: str | None) -> None:
        if ip is not None and self._live:
            self._events.reception(ip)
            self.summary.receptions += 1

    def _rejection(self, ip: str | None) -> None:
        if ip is not None and self._live:
            self._events.rejection(ip)
            self.summary.rejections += 1

    def _client(self, text: bytes) -> str | None:
        try:
            ip = self._clients[text]
        except KeyError:
            try:
                ip = canonical_address(text.decode("ascii"))
            except (InvalidAddressError, UnicodeDecodeError):
                ip = None
            if len(self._clients) >= _MAX_CACHED:
                self._clients.clear()
            self._clients[text] = ip
        if ip is None:
            self.summary.unusable_clients += 1
        return ip

    def _domain(self, text: bytes) -> str | None:
        try:
            domain = self._domains[text]
        except KeyError:
            try:
                domain = canonical_domain(text.decode())
            except (InvalidDomainError, UnicodeDecodeError):
                domain = None
            if len(self._domains) >= _MAX_CACHED:
                self._domains.clear()
            self._domains[text] = domain
        if domain is None:
            self.summary.unusable_domains += 1
        return domain
