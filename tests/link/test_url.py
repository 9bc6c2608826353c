"""Server URLs: what they mean, and what is said about bad ones."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedstate.errors import InvalidUrlError
from sharedstate.link.url import Address, Endpoint, parse_url

GOOD: list[tuple[str, dict[str, Any]]] = [
    ("redis://h", {"hosts": (Address("h", 6379),)}),
    ("redis://h:7000/", {"hosts": (Address("h", 7000),)}),
    (
        "redis://user:pw@h1:7000,h2:7001,[::1]:7002/0",
        {
            "hosts": (Address("h1", 7000), Address("h2", 7001), Address("::1", 7002)),
            "username": "user",
            "password": "pw",
            "db": 0,
        },
    ),
    ("redis://[fe80::1%25eth0]:1", {"hosts": (Address("fe80::1%eth0", 1),)}),
    ("redis://:secret@h", {"username": None, "password": "secret"}),
    ("redis://u%40x:p%2Fw%3F%40@h", {"username": "u@x", "password": "p/w?@"}),
    ("redis://u:p@w@h", {"password": "p@w"}),
    ("redis://h/3", {"db": 3}),
    (
        "redis://h?db=3&timeout=0.5&connect_timeout=2&client_name=mx1",
        {"db": 3, "timeout": 0.5, "client_name": "mx1"},
    ),
    ("rediss://h", {"tls": True, "ssl_check_hostname": True, "ssl_cert_reqs": "required"}),
    (
        "rediss://h?ssl_ca_certs=/ca&ssl_certfile=/c&ssl_keyfile=/k&ssl_check_hostname=no&ssl_cert_reqs=optional",
        {
            "ssl_ca_certs": "/ca",
            "ssl_keyfile": "/k",
            "ssl_check_hostname": False,
            "ssl_cert_reqs": "optional",
        },
    ),
    ("unix:///run/redis.sock?db=2", {"hosts": (Address("/run/redis.sock", 0),), "unix": True, "db": 2}),
    ("unix://u:p@/run/redis.sock", {"hosts": (Address("/run/redis.sock", 0),), "username": "u"}),
    ("unix:///run/a@b.sock", {"hosts": (Address("/run/a@b.sock", 0),), "password": None}),
    (
        "redis+sentinel://u:p@s1,s2:5/mymaster/1?sentinel_username=su&sentinel_password=sp",
        {
            "hosts": (Address("s1", 26379), Address("s2", 5)),
            "service": "mymaster",
            "db": 1,
            "password": "p",
            "sentinel_username": "su",
            "sentinel_password": "sp",
        },
    ),
    ("rediss+sentinel://s1/m", {"tls": True, "service": "m"}),
    ("redis://h:1,h:1", {"hosts": (Address("h", 1),)}),
]

BAD: list[tuple[str, str]] = [
    ("", "expected a text such as"),
    ("h:7000", "has no scheme we know"),
    ("http://h", "has no scheme we know"),
    ("redis://", "names no host in ''"),
    ("redis://h1,,h2", "names no host in ''"),
    ("redis://:7000", "names no host in ':7000'"),
    ("redis://::1", "names no host in '::1': write host:port, an IPv6 address in [brackets]"),
    ("redis://h:x", "has port 'x': expected a number from 1 to 65535"),
    ("redis://h:0", "has port '0'"),
    ("redis://h:65536", "has port '65536'"),
    ("redis://h/x", "option db='x' of server URL"),
    ("redis://h/1/2", "has a path of 2 parts"),
    ("redis://h?timeout=soon", "option timeout='soon'"),
    ("redis://h?timeout=-1", "is not a number of seconds above 0"),
    ("redis://h?timeout=nan", "is not a number of seconds above 0"),
    ("redis://h?time_out=1", "unknown option 'time_out': did you mean timeout?"),
    ("redis://h?colour=red", "unknown option 'colour': known: client_name,"),
    ("redis://h?client_name=two words", "printable ASCII without blanks"),
    ("redis://h?ssl_ca_certs=/ca", "cannot use option ssl_ca_certs: use rediss:// for TLS"),
    ("redis://h?sentinel_password=x", "cannot use option sentinel_password: use redis+sentinel://"),
    ("rediss://h?ssl_cert_reqs=maybe", "is not none or optional or required"),
    ("rediss://h?ssl_check_hostname=maybe", "is not true or false"),
    ("rediss://h?ssl_keyfile=/k", "ssl_keyfile without ssl_certfile"),
    ("unix://", "names no socket"),
    ("unix://host/path", "names no socket"),
    ("redis+sentinel://s1", "names no Sentinel service: write redis+sentinel://host:26379/service-name"),
    ("redis://user@h", "has user 'user' without a password"),
    ("redis://u:p/w@h", "percent-encoded"),
    ("redis://u:p?w@h", "percent-encoded"),
]


@pytest.mark.parametrize(("url", "fields"), GOOD, ids=[url for url, _ in GOOD])
def test_good_urls(url: str, fields: dict[str, Any]) -> None:
    endpoint = parse_url(url)
    assert {name: getattr(endpoint, name) for name in fields} == fields


@pytest.mark.parametrize(("url", "sentence"), BAD, ids=[url or "empty" for url, _ in BAD])
def test_bad_urls(url: str, sentence: str) -> None:
    with pytest.raises(InvalidUrlError) as caught:
        parse_url(url)
    assert sentence in str(caught.value)
    assert str(caught.value).endswith(("?", "."))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:s3cret@h:x",
        "redis://u:s3cret/@h",
        "redis://u:x/s3cret@h:1",
        "redis://u:x?s3cret@h:1",
        "redis://h?password=s3cret&colour=1",
        "redis+sentinel://s?sentinel_password=s3cret",
        "bogus://u:s3cret@h",
        "redis://u:s3cret@h?timeout=x",
        "redis://u:s3cret@,",
        "redis://u:s3cret@h/1/2",
    ],
)
def test_no_error_shows_a_password(url: str) -> None:
    with pytest.raises(InvalidUrlError) as caught:
        parse_url(url)
    assert "s3cret" not in str(caught.value)


def test_no_repr_shows_a_password() -> None:
    endpoint = parse_url("redis+sentinel://u:s3cret@s/m?sentinel_password=s3cret")
    assert "s3cret" not in repr(endpoint)
    assert str(endpoint) == "redis+sentinel://u:***@s:26379/m"


def test_keywords_win_over_the_url() -> None:
    endpoint = parse_url("redis://a:b@h?timeout=1", timeout=2, password="c", db=None, client_name="x")
    assert (endpoint.timeout, endpoint.username, endpoint.password, endpoint.db) == (2.0, "a", "c", 0)
    with pytest.raises(InvalidUrlError, match="unknown option 'tiemout': did you mean timeout"):
        parse_url("redis://h", tiemout=2)
    with pytest.raises(InvalidUrlError, match=r"password='\*\*\*'"):
        parse_url("redis://h", password="")


def test_printed_urls_name_all_but_the_password() -> None:
    for url in ("redis://h:1,[::1]:2/3", "rediss://h:1", "unix:///a/b", "rediss+sentinel://s:1,t:2/m/4"):
        assert str(parse_url(url)) == url


@given(user=st.text(min_size=1), password=st.text(min_size=1), db=st.integers(0, 99999))
def test_any_login_survives_percent_encoding(user: str, password: str, db: int) -> None:
    user, password = (text.encode("utf-8", "ignore").decode() for text in (user, password))
    if not user or not password:
        return
    endpoint = parse_url(f"redis://{quote(user, safe='')}:{quote(password, safe='')}@h:1/{db}")
    assert endpoint == Endpoint(hosts=(Address("h", 1),), username=user, password=password, db=db)


@given(st.text())
def test_any_text_is_an_endpoint_or_one_sentence(text: str) -> None:
    for url in (text, f"redis://{text}", f"redis://h?{text}", f"redis+sentinel://{text}"):
        with contextlib.suppress(InvalidUrlError):
            assert isinstance(parse_url(url), Endpoint)
