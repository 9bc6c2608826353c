"""Where Redis is and how to log in: a URL, read once into an `Endpoint`.

================================================  ========================================================
URL                                               means
================================================  ========================================================
``redis://host:7000``                             one server, or any node of a Redis Cluster
``redis://user:pw@h1:7000,h2:7001,[::1]:7002/0``  several hosts to start from; user, password, database
``rediss://host:7000``                            the same over TLS
``unix:///run/redis.sock``                        one local server through its unix socket
``redis+sentinel://s1:26379,s2/mymaster/0``       the primary of service ``mymaster``, as Sentinels know it
``rediss+sentinel://s1/mymaster``                 the same over TLS
================================================  ========================================================

Options follow as ``?name=value&...`` or as keywords of `parse_url`; `Endpoint` explains them.
A password never appears in a repr or in an error message.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from sharedstate.errors import InvalidUrlError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Address", "Endpoint", "parse_url"]

REDIS_PORT = 6379
SENTINEL_PORT = 26379
SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
CERT_REQS = ("none", "optional", "required")


class Address(NamedTuple):
    """Where one server listens; a unix socket is its path with port 0."""

    host: str
    port: int

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Everything needed to reach and log in to one Redis, Redis Cluster or Sentinel group.

    Attributes:
        hosts: servers to start from; the Sentinels, when `service` is set.
        tls: talk TLS to all of them.
        service: name under which Sentinels know the primary, or None.
        db: logical database; a cluster has 0 only.
        username: ACL user, or None for the default one.
        password: its password, or None.
        sentinel_username: ACL user at the Sentinels, which keep their own.
        sentinel_password: its password, or None.
        timeout: seconds a call may take when its caller names no time.
        connect_timeout: seconds one connection may take until it is logged in.
        client_name: what CLIENT LIST shows on the server.
        ssl_ca_certs: file with the CA certificates to trust instead of the system's.
        ssl_certfile: file with our client certificate.
        ssl_keyfile: file with its key, when not in `ssl_certfile`.
        ssl_check_hostname: False accepts a trusted certificate for another host.
        ssl_cert_reqs: ``required``, ``optional`` or ``none``.
    """

    hosts: tuple[Address, ...]
    tls: bool = False
    service: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    timeout: float = 5.0
    connect_timeout: float = 2.0
    client_name: str | None = None
    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_check_hostname: bool = True
    ssl_cert_reqs: str = "required"

    @property
    def unix(self) -> bool:
        """True when the server is reached through a unix socket."""
        return not self.hosts[0].port

    def __str__(self) -> str:
        """The URL without its options and with the password masked."""
        login = ""
        if self.username or self.password:
            login = f"{self.username or ''}{':***' if self.password else ''}@"
        if self.unix:
            return f"unix://{login}{self.hosts[0].host}"
        scheme = ("rediss" if self.tls else "redis") + ("+sentinel" if self.service else "")
        path = f"/{self.service}" if self.service else ""
        path += f"/{self.db}" if self.db else ""
        return f"{scheme}://{login}{','.join(map(str, self.hosts))}{path}"


def mask(url: str) -> str:
    """The URL as it may be shown: every password replaced by ``***``."""
    scheme, separator, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    if at:
        user = login.partition(":")[0]
        rest = f"{user}:***@{place}" if ":" in login else f"{login}@{place}"
    return re.sub(r"(password=)[^&]*", r"\1***", f"{scheme}{separator}{rest}")


def _text(value: Any) -> str:
    text = str(value)
    if not text:
        raise ValueError("a text that is not empty")
    return text


def _name(value: Any) -> str:
    text = _text(value)
    if any(not "!" <= char <= "~" for char in text):
        raise ValueError("printable ASCII without blanks")
    return text


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError("a number of seconds above 0")
    return seconds


def _database(value: Any) -> int:
    if not re.fullmatch(r"\d{1,5}", str(value)):
        raise ValueError("a database number such as 0")
    return int(value)


def _flag(value: Any) -> bool:
    text = str(value).lower()
    if text not in {"true", "yes", "1", "false", "no", "0"}:
        raise ValueError("true or false")
    return text in {"true", "yes", "1"}


def _cert_reqs(value: Any) -> str:
    if value not in CERT_REQS:
        raise ValueError(" or ".join(CERT_REQS))
    return str(value)


#: Option name -> converter; a converter's ValueError says what it expected.
_OPTIONS: Mapping[str, Callable[[Any], Any]] = {
    "username": _text,
    "password": _text,
    "sentinel_username": _text,
    "sentinel_password": _text,
    "db": _database,
    "timeout": _seconds,
    "connect_timeout": _seconds,
    "client_name": _name,
    "ssl_ca_certs": _text,
    "ssl_certfile": _text,
    "ssl_keyfile": _text,
    "ssl_check_hostname": _flag,
    "ssl_cert_reqs": _cert_reqs,
}


def _option(name: str, value: Any, place: str) -> Any:
    """Check one option; `place` is the masked URL for the message."""
    convert = _OPTIONS.get(name)
    if convert is None:
        near = difflib.get_close_matches(name, _OPTIONS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(_OPTIONS))}."
        raise InvalidUrlError(f"server URL {place!r} has an unknown option {name!r}: {hint}")
    try:
        return convert(value)
    except ValueError as error:
        shown = "***" if "password" in name else value
        raise InvalidUrlError(f"option {name}={shown!r} of server URL {place!r} is not {error}.") from None


def _host(text: str, default_port: int, place: str) -> Address:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:\s]+))(?::(.*))?", text)
    if match is None:
        remedy = "write host:port, an IPv6 address in [brackets], several separated by commas"
        raise InvalidUrlError(f"server URL {place!r} names no host in {text!r}: {remedy}.")
    port = match[3]
    if port is None:
        return Address(match[1] or match[2], default_port)
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise InvalidUrlError(f"server URL {place!r} has port {port!r}: expected a number from 1 to 65535.")
    return Address(match[1] or match[2], int(port))


def _split(url: str, place: str) -> tuple[str, str, str, str, str]:
    """Scheme, login, hosts, path and query of a URL. urllib cannot: it knows one host per URL."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise InvalidUrlError(f"server URL {place!r} has no scheme we know: start it with one of {known}.")
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    if scheme == "unix" and "@" in path and "@" not in authority and ":" not in authority:
        login, hosts = "", authority  # an @ in a socket's path is no login
    else:
        login, at, hosts = authority.rpartition("@")
        if not at and ("@" in path or "@" in query):
            remedy = "write them percent-encoded: %2F, %3F and %40"
            raise InvalidUrlError(
                f"server URL {place!r} has a raw / or ? or @ in its login or options: {remedy}."
            )
    return scheme, login, hosts, slash + path, query


def parse_url(url: str, **overrides: Any) -> Endpoint:
    """Read a server URL.

    Args:
        url: see the table above.
        **overrides: any option of the URL, which then wins over the URL's own; None leaves the URL's.

    Raises:
        InvalidUrlError: one sentence that names the part, what was expected, and never a password.
    """
    if not isinstance(url, str) or not url.strip():
        raise InvalidUrlError(f"server URL is {url!r}: expected a text such as 'redis://127.0.0.1:6379'.")
    url = url.strip()
    place = mask(url)
    scheme, login, hosts, path, query = _split(url, place)
    values: dict[str, Any] = {}
    if login:
        user, colon, password = login.partition(":")
        if user:
            values["username"] = unquote(user)
        if colon and password:
            values["password"] = unquote(password)
    for name, value in parse_qsl(query, keep_blank_values=True):
        values[name] = _option(name, value, place)
    values.update(_place(scheme, hosts, path, place))
    for name, value in overrides.items():
        if value is not None:
            values[name] = _option(name, value, place)
    endpoint = Endpoint(**values)
    _check(endpoint, values, place)
    return endpoint


def _place(scheme: str, hosts: str, path: str, place: str) -> dict[str, Any]:
    """The fields that scheme, hosts and path give."""
    if scheme == "unix":
        if hosts or path in ("", "/"):
            raise InvalidUrlError(f"server URL {place!r} names no socket: write unix:///path/to/redis.sock.")
        return {"hosts": (Address(unquote(path), 0),)}
    sentinel = scheme.endswith("+sentinel")
    default_port = SENTINEL_PORT if sentinel else REDIS_PORT
    fields: dict[str, Any] = {
        "hosts": tuple(dict.fromkeys(_host(unquote(text), default_port, place) for text in hosts.split(","))),
        "tls": scheme.startswith("rediss"),
    }
    parts = [unquote(part) for part in path.strip("/").split("/")] if path.strip("/") else []
    if sentinel:
        if not parts:
            remedy = f"write {scheme}://host:{SENTINEL_PORT}/service-name"
            raise InvalidUrlError(f"server URL {place!r} names no Sentinel service: {remedy}.")
        fields["service"] = parts.pop(0)
    if len(parts) > 1:
        raise InvalidUrlError(
            f"server URL {place!r} has a path of {len(parts)} parts: expected a database number."
        )
    if parts:
        fields["db"] = _option("db", parts[0], place)
    return fields


def _check(endpoint: Endpoint, given: Mapping[str, Any], place: str) -> None:
    """Refuse options that would silently do nothing."""
    useless: tuple[str, ...] = ()
    if not endpoint.tls:
        useless = tuple(name for name in given if name.startswith("ssl_"))
        remedy = "use rediss:// for TLS"
    if not useless and endpoint.service is None:
        useless = tuple(name for name in given if name.startswith("sentinel_"))
        remedy = "use redis+sentinel:// for Sentinel"
    if useless:
        raise InvalidUrlError(f"server URL {place!r} cannot use option {useless[0]}: {remedy}.")
    if endpoint.ssl_keyfile and not endpoint.ssl_certfile:
        raise InvalidUrlError(f"server URL {place!r} has ssl_keyfile without ssl_certfile: give both.")
    if endpoint.username and not endpoint.password:
        raise InvalidUrlError(
            f"server URL {place!r} has user {endpoint.username!r} without a password: "
            "write user:password@, or :password@ for the default user."
        )
