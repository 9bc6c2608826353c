"""What a new connection does before it carries calls: TLS, AUTH, SELECT, CLIENT SETNAME."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hiredis import ReplyError

from sharedstate.errors import (
    AuthenticationError,
    InvalidUrlError,
    LinkError,
    PermissionDeniedError,
    UnsuitableServerError,
)

from .batch import pack
from .faults import Failure, Verdict, login_sentence, split, verdict

if TYPE_CHECKING:
    import ssl

    from .url import Address, Endpoint

__all__ = ["Login"]


@dataclass(frozen=True)
class Login:
    """How to log in to one kind of server of an endpoint: the data servers, or the Sentinels.

    Attributes:
        endpoint: what the operator gave.
        sentinel: True for the Sentinels, which have their own user and no databases.
    """

    endpoint: Endpoint
    sentinel: bool = False
    commands: tuple[tuple[str, ...], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        endpoint = self.endpoint
        user = endpoint.sentinel_username if self.sentinel else endpoint.username
        password = endpoint.sentinel_password if self.sentinel else endpoint.password
        commands: list[tuple[str, ...]] = []
        if password:
            commands.append(("AUTH", user, password) if user else ("AUTH", password))
        if endpoint.db and not self.sentinel:
            commands.append(("SELECT", str(endpoint.db)))
        if endpoint.client_name:
            commands.append(("CLIENT", "SETNAME", endpoint.client_name))
        object.__setattr__(self, "commands", tuple(commands))

    @functools.cached_property
    def payload(self) -> bytes:
        """All login commands in one write: one round trip, none at all without login, database and name."""
        return b"".join(pack(command) for command in self.commands)

    @functools.cached_property
    def tls(self) -> ssl.SSLContext | None:
        """The TLS settings, or None for plain text.

        Raises:
            InvalidUrlError: a certificate file cannot be read.
        """
        if not self.endpoint.tls:
            return None
        import ssl

        endpoint = self.endpoint
        name, value = "ssl_ca_certs", endpoint.ssl_ca_certs
        try:
            context = ssl.create_default_context(cafile=value)
            if endpoint.ssl_certfile:
                name, value = "ssl_certfile", endpoint.ssl_certfile
                context.load_cert_chain(value, endpoint.ssl_keyfile)
        except OSError as error:
            why = error.strerror or "not a PEM file with what is needed"
            raise InvalidUrlError(f"{name} file {value!r} cannot be used: {why}.") from error
        context.check_hostname = endpoint.ssl_check_hostname and endpoint.ssl_cert_reqs != "none"
        context.verify_mode = {
            "none": ssl.CERT_NONE,
            "optional": ssl.CERT_OPTIONAL,
            "required": ssl.CERT_REQUIRED,
        }[endpoint.ssl_cert_reqs]
        return context

    @functools.cached_property
    def blocked(self) -> tuple[type[OSError], ...]:
        """What a socket raises instead of waiting; TLS has its own two."""
        if not self.endpoint.tls:
            return (BlockingIOError,)
        import ssl

        return (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

    @property
    def user(self) -> str | None:
        """The ACL user we log in as; None for the default one."""
        return self.endpoint.sentinel_username if self.sentinel else self.endpoint.username

    def check(self, index: int, reply: Any, address: Address) -> Failure | None:
        """Judge the reply to login command `index`; None when it was accepted."""
        if not isinstance(reply, ReplyError):
            return None
        text = str(reply)
        if verdict(text) is not Verdict.REFUSED:  # loading, too many clients: later is another chance
            return Failure(f"does not take logins now ({text})")
        code, sentence = split(text)
        name = self.commands[index][0]
        kind: type[LinkError]
        if name == "AUTH":
            return Failure(login_sentence(code, address, self.user), AuthenticationError)
        if name == "CLIENT":
            return None  # a name is a courtesy; not being allowed to give one harms nobody
        if code == "NOAUTH":
            return Failure(login_sentence(code, address, self.user), AuthenticationError)
        kind = PermissionDeniedError if code == "NOPERM" else UnsuitableServerError
        return Failure(
            f"{address} has no database {self.endpoint.db} for us ({sentence.rstrip('.')}): "
            "a cluster has database 0 only.",
            kind,
        )
