"""Open sessions: every way one ends, with and without a disconnect line."""

from sharedstate.ingest import PostfixLog

from .recorder import Recorder


class Clock:
    """Monotonic seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Reading:
    """A log being read."""

    def __init__(self, **options: object) -> None:
        self.events = Recorder()
        self.clock = Clock()
        self.log = PostfixLog(self.events, clock=self.clock, **options)

    def line(self, text: str, *, at: str = "Nov 22 22:00:00", host: str = "relay-0-1") -> None:
        self.log.feed(f"{at} {host} {text}\n".encode())

    @property
    def open(self) -> list[str]:
        assert sorted(self.log.open_sessions) == sorted(self.events.connections.elements())
        return self.log.open_sessions


def test_a_process_serves_one_client_at_a_time():
    reading = Reading()
    reading.line("postfix/smtpd[1]: connect from unknown[192.0.2.1]")
    reading.line("postfix/smtpd[1]: connect from unknown[192.0.2.2]")
    assert reading.open == ["192.0.2.2"]
    assert reading.log.summary.superseded == reading.log.summary.leaks == 1


def test_processes_are_told_apart_by_host_and_instance():
    reading = Reading()
    reading.line("postfix/smtpd[1]: connect from unknown[192.0.2.1]")
    reading.line("postfix/smtpd[1]: connect from unknown[192.0.2.1]", host="relay-0-2")
    reading.line("postfix-in/smtpd[1]: connect from unknown[192.0.2.1]")
    assert reading.open == ["192.0.2.1"] * 3


def test_a_killed_process_ends_its_session():
    reading = Reading()
    reading.line("postfix/submission/smtpd[11]: connect from unknown[192.0.2.1]")
    reading.line("postfix/smtpd[111]: connect from unknown[192.0.2.2]")
    reading.line("postfix/smtpd[11]: connect from unknown[192.0.2.3]", host="relay-0-2")
    reading.line("postfix/master[9]: warning: process /usr/lib/postfix/sbin/smtpd pid 11 killed by signal 9")
    assert reading.open == ["192.0.2.2", "192.0.2.3"]
    reading.line("postfix/master[9]: warning: process /usr/lib/postfix/sbin/smtpd pid 111 exit status 1")
    assert reading.open == ["192.0.2.3"]
    assert reading.log.summary.killed == 2


def test_a_stop_or_start_ends_all_sessions_of_the_instance_and_a_reload_none():
    for text in (
        "postfix/master[9]: daemon started -- version 3.7.11, configuration /etc/postfix",
        "postfix/master[9]: terminating on signal 15",
        "postfix/postfix-script[8]: stopping the Postfix mail system",
        "postfix/postfix-script[8]: starting the Postfix mail system",
    ):
        reading = Reading()
        reading.line("postfix/smtpd[1]: connect from unknown[192.0.2.1]")
        reading.line("postfix/submission/smtpd[2]: connect from unknown[192.0.2.2]")
        reading.line("postfix-in/smtpd[3]: connect from unknown[192.0.2.3]")
        reading.line("postfix/smtpd[4]: connect from unknown[192.0.2.4]", host="relay-0-2")
        reading.line("postfix/postfix-script[8]: refreshing the Postfix mail system")
        reading.line("postfix/master[9]: reload -- version 3.7.11, configuration /etc/postfix")
        assert len(reading.open) == 4
        reading.line(text)
        assert reading.open == ["192.0.2.3", "192.0.2.4"], text
        assert reading.log.summary.stopped == 2


def test_silence_ends_a_session_by_the_time_of_the_log():
    reading = Reading(session_timeout=600)
    reading.line("postfix/smtpd[1]: connect from unknown[192.0.2.1]", at="Nov 22 22:00:00")
    reading.line("postfix/smtpd[2]: connect from unknown[192.0.2.2]", at="Nov 22 22:00:00")
    reading.line("postfix/smtpd[2]: 9CBC6: client=unknown[192.0.2.2]", at="Nov 22 22:09:00")
    reading.line("postfix/smtpd[3]: connect from unknown[192.0.2.3]", at="Nov 22 22:09:59")
    assert reading.log.expire() == 0
    reading.line("postfix/anvil[4]: statistics: max connection rate", at="Nov 22 22:10:01")
    assert reading.log.expire() == 1
    assert reading.open == ["192.0.2.2", "192.0.2.3"]
    assert reading.log.summary.expired == 1


def test_silence_ends_a_session_while_the_log_is_silent_too():
    for at in (
        "Nov 22 22:00:00",
        "2026-11-22T22:00:00.5+02:00",
        "2026-11-22T22:00:00+0200",
        "2026-11-22T22:00:00.123456789+02:00",
        "2026-11-22T22:00:00Z",
    ):
        reading = Reading(session_timeout=600)
        reading.line("postfix/smtpd[1]: connect from unknown[192.0.2.1]", at=at)
        reading.clock.now += 599
        assert reading.log.expire() == 0
        reading.clock.now += 2
        assert reading.log.expire() == 1


def test_without_times_in_the_log_reading_it_is_the_clock():
    reading = Reading(session_timeout=600)
    reading.log.feed(b"postfix/smtpd[1]: connect from unknown[192.0.2.1]\n")
    reading.clock.now += 500
    reading.log.feed(b"postfix/smtpd[2]: connect from unknown[192.0.2.2]\n")
    reading.clock.now += 200
    assert reading.log.expire() == 1
    assert reading.open == ["192.0.2.2"]


def test_times_are_compared_whatever_their_form():
    for early, late in (
        ("2026-11-22T22:00:00+0200", "2026-11-22T22:10:01+0200"),
        ("2026-11-22T22:00:00.123456789Z", "2026-11-22T22:10:01.123456789Z"),
        ("2026-11-22T22:00:00.123456+02:00", "2026-11-22T20:10:01.123456Z"),
        ("Nov  2 22:00:00", "Nov  2 22:10:01"),
    ):
        reading = Reading(session_timeout=600)
        reading.line("postfix/smtpd[1]: connect from unknown[192.0.2.1]", at=early)
        reading.line("postfix/anvil[2]: statistics: max connection rate", at=late)
        assert reading.log.expire() == 1, early


def test_the_turn_of_the_year_is_one_second():
    reading = Reading(session_timeout=600)
    reading.line("postfix/smtpd[1]: connect from unknown[192.0.2.1]", at="Dec 31 23:59:59")
    reading.line("postfix/smtpd[2]: connect from unknown[192.0.2.2]", at="Jan  1 00:00:00")
    assert reading.log.expire() == 0


def test_a_session_that_began_before_the_log():
    reading = Reading()
    reading.line("postfix/smtpd[1]: disconnect from unknown[192.0.2.1] ehlo=1 quit=1 commands=2")
    reading.line("postfix/smtpd[2]: 9CBC6: client=unknown[192.0.2.2]")
    assert reading.open == ["192.0.2.2"]
    reading.line("postfix/smtpd[2]: disconnect from unknown[192.0.2.2]")
    assert reading.open == []
    summary = reading.log.summary
    assert (summary.joined_midway, summary.unmatched_disconnects) == (1, 1)


def test_xclient_moves_a_session_to_another_address():
    reading = Reading()
    reading.line("postfix/smtpd[1]: connect from unknown[127.0.0.1]")
    reading.line("postfix/smtpd[1]: D1C43: client=client.example.org[198.51.100.99]")
    assert reading.open == ["198.51.100.99"]
    reading.line("postfix/smtpd[1]: disconnect from client.example.org[198.51.100.99]")
    assert reading.open == []
    reading.line("postfix/smtpd[1]: connect from unknown[127.0.0.1]")
    reading.line("postfix/smtpd[1]: disconnect from client.example.org[198.51.100.99]")
    assert reading.open == []


def test_catching_up_tells_only_what_is_open():
    reading = Reading(catch_up=True, session_timeout=600)
    reading.line("postfix/smtpd[1]: connect from unknown[192.0.2.1]", at="Nov 22 21:00:00")
    reading.line("postfix/smtpd[2]: connect from unknown[192.0.2.2]")
    reading.line("postfix/smtpd[3]: connect from unknown[192.0.2.3]")
    reading.line("postfix/smtpd[3]: 9CBC6: client=unknown[192.0.2.3]")
    reading.line("postfix/smtpd[3]: NOQUEUE: reject: RCPT from unknown[192.0.2.3]: 554 5.7.1")
    reading.line("postfix/smtpd[2]: disconnect from unknown[192.0.2.2]")
    assert reading.events.told == []
    reading.log.go_live()
    assert reading.events.told == [("connect", "192.0.2.3")]
    reading.line("postfix/qmgr[4]: 9CBC6: from=<a@x.org>, size=1, nrcpt=1 (queue active)")
    reading.line("postfix/smtpd[3]: disconnect from unknown[192.0.2.3]")
    assert reading.events.told[1:] == [("reception", "192.0.2.3"), ("disconnect", "192.0.2.3")]
