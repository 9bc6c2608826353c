"""Whatever a log holds, reading it neither fails nor invents events."""

from collections import Counter
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from sharedstate.ingest import PostfixLog

from .recorder import Recorder

HERE = Path(__file__).parent
REAL_LINES = (HERE / "postfix-special.log").read_bytes().splitlines()

real_line = st.sampled_from(REAL_LINES)
#: Text that strangers choose, with what could be taken for a log line in it.
hostile = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [
                b"connect from x[9.9.9.9]",
                b"postfix/smtpd[1]: connect from x[9.9.9.9]",
                b"NOQUEUE: reject: RCPT from x[9.9.9.9]: 554",
                b"ABCDEF: client=x[9.9.9.9]",
                b"from x[9.9.9.9]",
                b"status=sent (",
                b"to=<a@9.9.9.9.test>, relay=none, delay=1, delays=1/1/1/1, dsn=2.0.0, status=sent (x)",
                b'"',
                b"\\",
                b">, ",
                b"@",
                b"[",
                b"]",
                b"\0",
                b"\xff",
            ]
        ),
    ),
    max_size=8,
).map(b"".join)


def read(data: bytes) -> Recorder:
    recorder = Recorder()
    log = PostfixLog(recorder)
    log.feed(data)
    log.expire()
    assert sorted(log.open_sessions) == sorted(recorder.connections.elements())
    return recorder


@given(st.lists(st.one_of(real_line, st.binary(max_size=200)), max_size=20))
def test_no_bytes_are_an_error(lines: list[bytes]):
    read(b"\n".join(lines))


@given(real_line, st.data())
def test_a_damaged_line_is_no_error(line: bytes, data: st.DataObject):
    start = data.draw(st.integers(0, len(line)))
    end = data.draw(st.integers(start, len(line)))
    read(line[:start] + data.draw(hostile) + line[end:])


@given(real_line, st.integers(0, 500))
def test_a_cut_line_tells_what_the_whole_one_does_or_nothing(line: bytes, length: int):
    whole, cut = read(line).told, read(line[:length]).told
    assert Counter(cut) <= Counter(whole)


@given(hostile)
@example(b"connect from x[9.9.9.9]")
def test_what_clients_say_is_not_what_postfix_says(text: bytes):
    text = text.replace(b"\n", b"?")
    smtpd = b"Nov 22 22:01:53 relay-0-1 postfix/smtpd[7]: "
    recorder = read(
        b"\n".join(
            [
                smtpd + b"connect from unknown[192.0.2.7]",
                smtpd + b"improper command pipelining after HELO from unknown[192.0.2.7]: " + text,
                smtpd + b"warning: non-SMTP command from unknown[192.0.2.7]: " + text,
                smtpd + b"NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 501 5.5.2 <" + text + b">: no",
                smtpd + b"ABCDEF: client=unknown[192.0.2.7], sasl_username=" + text,
                b"postfix/cleanup[8]: ABCDEF: message-id=<" + text + b">",
                b"postfix/cleanup[8]: ABCDEF: reject: header " + text + b" from unknown[192.0.2.7]; no",
                b"postfix/qmgr[9]: ABCDEF: from=<" + text + b">, size=1, nrcpt=1 (queue active)",
                b"postfix/smtp[9]: ABCDEF: to=<u@example.com>, relay=h[192.0.2.9]:25, delay=1, "
                b"delays=0/0/0/1, dsn=5.0.0, status=bounced (host h[192.0.2.9] said: " + text + b")",
                smtpd + b"disconnect from unknown[192.0.2.7] " + text,
            ]
        )
    )
    assert recorder.told == [
        ("connect", "192.0.2.7"),
        ("rejection", "192.0.2.7"),
        ("rejection", "192.0.2.7"),
        ("reception", "192.0.2.7"),
        ("permfail", "example.com"),
        ("disconnect", "192.0.2.7"),
    ]


@given(hostile)
def test_a_quoted_recipient_names_no_other_domain(text: bytes):
    quoted = text.replace(b"\n", b"?").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    line = (
        b'postfix/smtp[9]: ABCDEF: to=<"' + quoted + b'"@example.com>, relay=h[192.0.2.9]:25, delay=1, '
        b"delays=0/0/0/1, dsn=4.0.0, status=deferred (later)"
    )
    assert read(line).told == [("transfail", "example.com")]


@given(st.lists(real_line, max_size=30), st.integers(1, 5))
def test_blocks_may_be_cut_at_any_line(lines: list[bytes], size: int):
    recorder = Recorder()
    log = PostfixLog(recorder)
    for start in range(0, len(lines), size):
        log.feed(b"".join(line + b"\n" for line in lines[start : start + size]))
    assert recorder.told == read(b"\n".join(lines)).told


def test_long_lines_cost_no_more_than_their_length():
    prefixes = [
        b"postfix/smtp[9]: ABCDEF: to=<",
        b'postfix/smtp[9]: ABCDEF: to=<"',
        b"postfix/smtp[9]: ABCDEF: to=<a@b>, orig_to=<",
        b"postfix/smtpd[9]: warning: ",
        b"",
    ]
    for prefix in prefixes:
        for filler in (b"a", b"a/", b'"', b'\\"', b"a=b, ", b"[", b" ", b"<"):
            read(prefix + filler * 100_000)
