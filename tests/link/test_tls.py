"""TLS: authorities, client certificates, and mixing TLS with plain text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sharedstate.errors import (
    AmbiguousError,
    AuthenticationError,
    InvalidUrlError,
    LinkError,
    UnreachableError,
    UnsuitableServerError,
)
from sharedstate.local import LocalCluster, LocalServer, TlsFiles
from tests.proxy import FaultProxy

from .calls import count, get, lua, spread

if TYPE_CHECKING:
    from .conftest import Certificates
    from .faces import Face


@pytest.fixture
def tls_server(debian_server: str, certificates: Certificates) -> Iterator[LocalServer]:
    """A server with TLS that asks its clients for nothing."""
    files = TlsFiles(certificates.server, certificates.server_key, certificates.authority)
    with LocalServer(server=debian_server, tls=files) as running:
        yield running


def test_an_authority(face: Face, tls_server: LocalServer, certificates: Certificates) -> None:
    link = face.open(tls_server.url, ssl_ca_certs=certificates.authority)
    assert link.one(count()) == 1
    long = "x" * 3_000_000
    assert link.one(lua("return #ARGV[1]", "ss:{t}:n", long)) == len(long)
    assert link.one(lua("return string.rep('y', 3000000)")) == b"y" * 3_000_000


def test_a_cluster(face: Face, debian_server: str, certificates: Certificates) -> None:
    files = TlsFiles(certificates.server, certificates.server_key, certificates.authority, True)
    with LocalCluster(primaries=3, replicas=0, server=debian_server, tls=files, password="pw") as cluster:
        link = face.open(
            cluster.url,
            ssl_ca_certs=certificates.authority,
            ssl_certfile=certificates.client,
            ssl_keyfile=certificates.client_key,
        )
        keys = spread(100)
        assert link.execute([count(key) for key in keys]) == [1] * 100
        with pytest.raises(LinkError) as caught:
            face.open(cluster.url, ssl_ca_certs=certificates.authority)
        assert isinstance(caught.value, AuthenticationError)
        assert "set ssl_certfile" in str(caught.value)


def test_an_authority_we_do_not_know(face: Face, tls_server: LocalServer) -> None:
    with pytest.raises(UnsuitableServerError) as caught:
        face.open(tls_server.url)
    assert "has a certificate we do not trust" in str(caught.value)
    assert str(caught.value).endswith("set ssl_ca_certs to its CA.")
    assert face.open(tls_server.url, ssl_cert_reqs="none").one(count()) == 1


def test_a_certificate_for_another_host(
    face: Face, tls_server: LocalServer, certificates: Certificates
) -> None:
    url = tls_server.url.replace("127.0.0.1", "127.1")
    with pytest.raises(UnsuitableServerError, match="certificate we do not trust"):
        face.open(url, ssl_ca_certs=certificates.authority)
    assert face.open(url, ssl_ca_certs=certificates.authority, ssl_check_hostname=False).one(count()) == 1


def test_tls_to_a_plain_port(face: Face, standalone: LocalServer) -> None:
    with pytest.raises((UnsuitableServerError, UnreachableError)) as caught:
        face.open(f"rediss://{standalone.node.address}", 1.0)
    assert "redis://" in str(caught.value)


def test_plain_text_to_a_tls_port(face: Face, tls_server: LocalServer) -> None:
    with pytest.raises((UnsuitableServerError, UnreachableError), match="use rediss://"):
        face.open(f"redis://{tls_server.node.address}", 1.0)


def test_files_that_cannot_be_used(face: Face, tls_server: LocalServer, tmp_path: Path) -> None:
    with pytest.raises(
        InvalidUrlError, match=r"ssl_ca_certs file '/no/ca\.pem' cannot be used: No such file"
    ):
        face.open(tls_server.url, ssl_ca_certs="/no/ca.pem")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with pytest.raises(InvalidUrlError, match="cannot be used"):
        face.open(tls_server.url, ssl_certfile=empty)


def test_a_handshake_that_hangs_ends_at_the_deadline(face: Face, tls_server: LocalServer) -> None:
    with FaultProxy("127.0.0.1", tls_server.node.client_port) as proxy:
        proxy.hold_requests = True
        begun = time.monotonic()
        with pytest.raises(UnreachableError, match="did not finish the TLS handshake in time"):
            face.open(f"rediss://{proxy.address}", 0.3, ssl_cert_reqs="none")
        assert time.monotonic() - begun < 2.0


def test_cut_and_closed_connections(face: Face, tls_server: LocalServer, certificates: Certificates) -> None:
    with FaultProxy("127.0.0.1", tls_server.node.client_port) as proxy:
        link = face.open(f"rediss://{proxy.address}", ssl_ca_certs=certificates.authority)
        assert link.one(count()) == 1
        for number in range(5):
            proxy.cut_all()
            link.wait_until_cut()
            assert link.one(count()) == number + 2
        proxy.drop_replies = True
        assert isinstance(link.one(count(), 0.2), AmbiguousError)
        proxy.heal()
        assert link.one(get()) == 7
