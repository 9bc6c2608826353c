"""Fixtures of the link's own tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.proxy import FaultProxy
from tests.support import missing

from .faces import Face

if TYPE_CHECKING:
    from sharedstate.local import LocalServer


@pytest.fixture(params=["sync", "aio"])
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    """The sync link and the asyncio one, with all that was opened closed at the end."""
    opened = Face(request.param)
    yield opened
    opened.close()


@pytest.fixture
def proxy(standalone: LocalServer) -> Iterator[FaultProxy]:
    """A proxy in front of the single server."""
    with FaultProxy("127.0.0.1", standalone.node.port) as running:
        yield running


@pytest.fixture(scope="session")
def debian_server() -> str:
    """A server with TLS and the Sentinel mode."""
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path is not None:
            shown = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
            if "libssl" in shown:
                return path
    return missing("no redis-server or valkey-server with TLS is installed")


@dataclass(frozen=True)
class Certificates:
    """Files of one certificate authority and what it signed for 127.0.0.1."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate authority, a server's and a client's certificate."""
    if shutil.which("openssl") is None:
        missing("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*args: str) -> None:
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    openssl(
        "req",
        "-x509",
        *curve,
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
        "-subj",
        "/CN=test authority",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    )
    # Python 3.13 and later check by RFC 5280 to the letter.
    extensions = "subjectAltName=IP:127.0.0.1,DNS:localhost\nauthorityKeyIdentifier=keyid\n"
    (folder / "extensions").write_text(extensions)
    for name in ("server", "client"):
        openssl(
            "req",
            "-new",
            *curve[:-2],
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
            "-subj",
            f"/CN={name}",
        )
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", "2", "-extfile", "extensions", "-out", f"{name}.crt"),
        )
    return Certificates(
        folder / "ca.crt",
        folder / "server.crt",
        folder / "server.key",
        folder / "client.crt",
        folder / "client.key",
    )
