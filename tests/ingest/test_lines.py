"""Single lines: what each tells, in every format syslog may give it."""

import pytest

from sharedstate.ingest import DeliveryTime, PostfixLog

from .recorder import Recorder, told

HEADS = {
    "traditional": "Nov 22 22:01:53 relay-0-1 ",
    "one-digit day": "Nov  2 22:01:53 relay-0-1 ",
    "rsyslog high precision": "2026-11-22T22:01:53.123456+01:00 relay-0-1 ",
    "RFC 3339 in UTC": "2026-11-22T22:01:53Z relay-0-1 ",
    "dotted host": "Nov 22 22:01:53 relay-0-1.example.com ",
    "host is an IPv6 address": "Nov 22 22:01:53 2001:db8::1 ",
    "BusyBox": "Nov 22 22:01:53 relay-0-1 mail.info ",
    "local facility": "Nov 22 22:01:53 relay-0-1 local0.info ",
    "docker logs -t": "2026-11-22T22:01:53.123456789Z ",
    "no time": "relay-0-1 ",
    "program only": "",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("program", ["postfix", "postfix-out/slow", "postfix/submission", "mta.example"])
@pytest.mark.parametrize(
    ("client", "ip"),
    [
        ("unknown[192.0.2.7]", "192.0.2.7"),
        ("mx-1.example.org[192.0.2.7]:58171", "192.0.2.7"),
        ("unknown[2001:DB8:0:0::1]", "2001:db8::1"),
        ("unknown[2001:db8::1]:25", "2001:db8::1"),
        ("unknown[::ffff:192.0.2.7]", "192.0.2.7"),
    ],
)
def test_connect_and_disconnect(head: str, program: str, client: str, ip: str):
    assert told(
        f"{head}{program}/smtpd[22384]: connect from {client}",
        f"{head}{program}/smtpd[22384]: disconnect from {client} ehlo=1 quit=1 commands=2",
    ) == [("connect", ip), ("disconnect", ip)]


def test_carriage_returns_are_no_part_of_a_line():
    assert told("postfix/smtpd[1]: connect from unknown[192.0.2.7]\r") == [("connect", "192.0.2.7")]


SMTPD = "Nov 22 22:01:53 relay-0-1 postfix/smtpd[1]: "


@pytest.mark.parametrize(
    "text",
    [
        "NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 554 5.7.1 <b@y.com>: Relay access denied",
        "NOQUEUE: reject: CONNECT from unknown[192.0.2.7]:6066: 521 5.7.1 <unknown[192.0.2.7]:6>: no",
        "NOQUEUE: milter-reject: CONNECT from unknown[192.0.2.7]:39: 421 4.7.0 too many connections",
        "2BB5C21047D: reject: DATA from unknown[192.0.2.7]:47136: 450 4.7.1 <DATA>: Data command rejected",
        "36A4521047D: reject: END-OF-MESSAGE from unknown[192.0.2.7]:4: 451 4.7.1 <END-OF-MESSAGE>: later",
        "4Xyz9k1Zz3z2Ab: reject: RCPT from unknown[192.0.2.7]: 450 4.7.1 long queue ids",
        "NOQUEUE: reject: DATA content from unknown[192.0.2.7]: 554 5.7.1",
        "warning: Connection concurrency limit exceeded: 3 from unknown[192.0.2.7]:45 for service smtp",
        "warning: Connection rate limit exceeded: 7 from unknown[192.0.2.7] for service smtp",
        "warning: Message delivery request rate limit exceeded: 3 from unknown[192.0.2.7] for service smtp",
    ],
)
def test_rejections(text: str):
    events = told(f"{SMTPD}connect from unknown[192.0.2.7]", SMTPD + text)
    assert events == [("connect", "192.0.2.7"), ("rejection", "192.0.2.7")]


@pytest.mark.parametrize(
    "text",
    [
        "NOQUEUE: hold: RCPT from unknown[192.0.2.7]: <hold@y.com>: Recipient address by policy",
        "NOQUEUE: reject_warning: RCPT from unknown[192.0.2.7]: 554 5.7.1 later",
        "lost connection after CONNECT from unknown[192.0.2.7]",
        "improper command pipelining after HELO from unknown[192.0.2.7]: NOQUEUE: reject: RCPT from x[9.9.9]",
        "warning: hostname connect from x[9.9.9.9] does not resolve",
        "warning: non-SMTP command from unknown[192.0.2.7]: connect from x[9.9.9.9]",
        "< unknown[192.0.2.7]: HELO connect from x[9.9.9.9]",
        "fatal: connect from x[9.9.9.9]",
    ],
)
def test_lines_that_are_no_events(text: str):
    assert told(f"{SMTPD}connect from unknown[192.0.2.7]", SMTPD + text) == [("connect", "192.0.2.7")]


def test_postscreen_rejects_but_holds_no_session():
    screen = "Nov 22 22:01:53 relay-0-1 postfix/postscreen[1]: "
    assert told(
        f"{screen}CONNECT from [192.0.2.7]:36696 to [192.0.2.25]:25",
        f"{screen}NOQUEUE: reject: RCPT from [192.0.2.7]:36696: 550 5.3.2 Service currently unavailable",
        f"{screen}DISCONNECT [192.0.2.7]:36696",
    ) == [("rejection", "192.0.2.7")]


class TestReception:
    """A message counts when the queue manager takes it, and once."""

    CLIENT = f"{SMTPD}9CBC621047B: client=unknown[192.0.2.7]:58171"
    QUEUED = "postfix/qmgr[3]: 9CBC621047B: from=<alice@example.org>, size=393, nrcpt=1 (queue active)"

    def receptions(self, *lines: str) -> int:
        return len([event for event in told(*lines) if event == ("reception", "192.0.2.7")])

    def test_accepted(self):
        assert self.receptions(self.CLIENT, self.QUEUED) == 1

    def test_retries_are_no_further_messages(self):
        assert self.receptions(self.CLIENT, self.QUEUED, self.QUEUED, self.QUEUED) == 1

    def test_refused_after_its_data(self):
        reject = (
            "postfix/cleanup[2]: 9CBC621047B: milter-reject: END-OF-MESSAGE from unknown[192.0.2.7]: 4.7.1 no"
        )
        assert self.receptions(self.CLIENT, reject) == 0
        assert ("rejection", "192.0.2.7") in told(self.CLIENT, reject)

    def test_local_mail_has_no_client(self):
        assert told("postfix/pickup[2]: 9CBC621047B: uid=0 from=<root>", self.QUEUED) == []

    def test_before_queue_filter(self):
        connect = f"{SMTPD}connect from unknown[192.0.2.7]"
        client = f"{SMTPD}NOQUEUE: client=unknown[192.0.2.7]"
        accept = (
            f"{SMTPD}proxy-accept: END-OF-MESSAGE: 250 2.0.0 Ok: queued as CB0B020C102; from=<a@example.org>"
        )
        reject = f"{SMTPD}proxy-reject: END-OF-MESSAGE: 550 5.7.1 no; from=<a@example.org>"
        assert told(connect, client, accept, client, reject)[1:] == [
            ("reception", "192.0.2.7"),
            ("rejection", "192.0.2.7"),
        ]

    def test_messages_that_never_arrive_do_not_pile_up(self):
        log = PostfixLog(Recorder())
        for number in range(70_000):
            log.feed(b"postfix/smtpd[1]: %X: client=unknown[192.0.2.7]\n" % number)
        assert len(log._unaccepted) == 65_536


SENT = (
    "Nov 22 22:01:57 relay-0-1 postfix/{program}[22509]: 149A72120B8: to=<{to}>, {orig}relay={relay}, "
    "{more}delay=4.5, delays=1/2/0.25/1.25, dsn=2.0.0, status={status} (250 2.0.0 Ok)"
)


def attempt(
    to: str = "u1@sent.example",
    status: str = "sent",
    program: str = "smtp",
    orig: str = "",
    more: str = "",
    relay: str = "127.0.0.1[127.0.0.1]:2601",
) -> str:
    return SENT.format(to=to, status=status, program=program, orig=orig, more=more, relay=relay)


class TestDelivery:
    def test_total_time(self):
        assert told(attempt()) == [("delivery", "sent.example", 4.5)]

    def test_time_of_the_attempt(self):
        recorder = Recorder()
        PostfixLog(recorder, delivery_time=DeliveryTime.ATTEMPT).feed(attempt().encode())
        assert recorder.told == [("delivery", "sent.example", 1.5)]

    @pytest.mark.parametrize(
        ("status", "event"),
        [
            ("deferred", "transfail"),
            ("SOFTBOUNCE", "transfail"),
            ("bounced", "permfail"),
        ],
    )
    def test_failures(self, status: str, event: str):
        assert told(attempt(status=status)) == [(event, "sent.example")]

    @pytest.mark.parametrize("status", ["deliverable", "undeliverable"])
    def test_address_probes_are_no_messages(self, status: str):
        assert told(attempt(status=status)) == []

    @pytest.mark.parametrize("program", ["lmtp", "slow/smtp", "relay/smtp"])
    def test_programs_that_contact_a_destination(self, program: str):
        assert told(attempt(program=program)) == [("delivery", "sent.example", 4.5)]

    @pytest.mark.parametrize("program", ["error", "retry", "local", "virtual", "pipe", "discard", "xsmtp"])
    def test_programs_that_do_not(self, program: str):
        assert told(attempt(program=program)) == []

    def test_reused_connections_and_fields_to_come(self):
        assert told(attempt(more="conn_use=2, tls=verified, ")) == [("delivery", "sent.example", 4.5)]

    def test_original_recipient(self):
        assert told(attempt(orig='orig_to=<"a>, relay=b"@alias.example>, ')) == [
            ("delivery", "sent.example", 4.5)
        ]

    def test_no_relay(self):
        assert told(attempt(status="deferred", relay="none")) == [("transfail", "sent.example")]

    @pytest.mark.parametrize(
        ("to", "domain"),
        [
            ("u@EXAMPLE.com", "example.com"),
            ("u@bücher.example", "xn--bcher-kva.example"),
            ("u@[192.0.2.1]", "[192.0.2.1]"),
            ('"a b"@example.com', "example.com"),
            (r'"a\"@evil.test>, relay=x"@example.com', "example.com"),
        ],
    )
    def test_domains_are_canonical(self, to: str, domain: str):
        assert told(attempt(to=to)) == [("delivery", domain, 4.5)]

    @pytest.mark.parametrize("to", ["u@-bad-.example", "u@" + "a" * 300 + ".example", "u@a..b"])
    def test_what_is_no_domain_is_counted_apart(self, to: str):
        log = PostfixLog(Recorder())
        log.feed(attempt(to=to).encode())
        assert (log.summary.unusable_domains, log.summary.deliveries) == (1, 0)

    def test_content_filters_can_be_left_out(self):
        recorder = Recorder()
        log = PostfixLog(recorder, ignore_relays=["127.0.0.1[127.0.0.1]:10024"])
        log.feed(attempt(relay="127.0.0.1[127.0.0.1]:10024").encode())
        log.feed(attempt().encode())
        assert recorder.told == [("delivery", "sent.example", 4.5)]

    def test_a_recipient_that_looks_like_the_rest_of_the_line(self):
        forged = (
            '"x@victim.example>, relay=none, delay=1, delays=1/1/1/1, dsn=2.0.0, status=sent (y"@example.com'
        )
        assert told(attempt(to=forged, status="bounced")) == [("permfail", "example.com")]


def test_a_header_that_names_another_client():
    assert told(
        f"{SMTPD}D4D09: client=unknown[192.0.2.7]",
        "postfix/cleanup[2]: D4D09: reject: header Subject: x from u[9.9.9.9]; from u[192.0.2.7]; from=<>",
    )[1:] == [("rejection", "192.0.2.7")]


def test_clients_without_an_address_are_counted_apart():
    log = PostfixLog(Recorder())
    log.feed(
        b"postfix/smtpd[1]: connect from unknown[unknown]\n"
        b"postfix/smtpd[1]: disconnect from unknown[unknown]\n"
        b"postfix/smtpd[2]: connect from unknown[fe80::1%eth0]\n"
    )
    assert (log.summary.unusable_clients, log.summary.inbound_connects) == (2, 0)
    assert log.summary.disconnected == 1
