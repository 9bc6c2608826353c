"""What the tests share beside fixtures."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from sharedstate.errors import LocalClusterError
from sharedstate.local import ServerBinary, TlsFiles, find_server
from sharedstate.local.admin import Admin, ReplyError

T = TypeVar("T")

#: The published ports of compose.yaml.
COMPOSE_PORTS = range(17100, 17106)


def poll(predicate: Callable[[], T], timeout: float = 10.0, *, what: str = "", interval: float = 0.01) -> T:
    """Wait until ``predicate()`` is true and return its value.

    Args:
        predicate: called again and again; its exceptions pass through.
        timeout: seconds until the test fails.
        what: said in the failure: what was waited for.
        interval: seconds between two calls.
    """
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout} s: {what or predicate} (last value: {value!r})")
        time.sleep(interval)
    return value


async def apoll(
    predicate: Callable[[], T | Awaitable[T]],
    within: float = 10.0,
    *,
    what: str = "",
    interval: float = 0.01,
) -> T:
    """As :func:`poll`, in asyncio; the predicate may be a coroutine function."""
    deadline = asyncio.get_running_loop().time() + within
    while True:
        answer = predicate()
        value = await answer if isinstance(answer, Awaitable) else answer
        if value:
            return value
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"not within {within} s: {what or predicate} (last value: {value!r})")
        await asyncio.sleep(interval)


def missing(reason: str) -> NoReturn:
    """Something that the test needs is not on this machine: a skip on a laptop, a failure in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (CI is set, so this is no reason to skip)")
    pytest.skip(reason)


def need_server(path: str | None = None) -> ServerBinary:
    """The server program, or skip or fail."""
    try:
        return find_server(path)
    except LocalClusterError as error:
        missing(str(error))


def flush_url(url: str) -> None:
    """FLUSHALL on every primary that a test URL (redis://[:password@]host:port,...) leads to."""
    login, _, addresses = url.partition("://")[2].partition("/")[0].rpartition("@")
    password = login.partition(":")[2] or None
    host, _, port = addresses.split(",")[0].rpartition(":")
    with Admin(host, int(port), password=password) as admin:
        if admin.info("cluster").get("cluster_enabled") != "1":
            admin.call("FLUSHALL")
            return
        slots = admin.call("CLUSTER", "SLOTS")
    for primary_host, primary_port in {(entry[2][0] or host, int(entry[2][1])) for entry in slots}:
        with Admin(primary_host, primary_port, password=password) as admin:
            admin.call("FLUSHALL")


def certificates(home: Path) -> TlsFiles:
    """An authority of our own and a certificate for 127.0.0.1, for servers and clients, by openssl."""
    home.mkdir(parents=True, exist_ok=True)

    def openssl(words: str) -> None:
        subprocess.run(["openssl", *words.split()], cwd=home, capture_output=True, check=True)

    # All that strict verification asks for, which is Python's default from 3.13 on.
    (home / "server.ext").write_text(
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    usage = "-addext keyUsage=critical,keyCertSign,cRLSign"
    openssl(f"req -x509 {key} -days 2 -subj /CN=authority {usage} -keyout ca.key -out ca.crt")
    openssl(f"req {key} -subj /CN=localhost -keyout server.key -out server.csr")
    signing = "-CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext"
    openssl(f"x509 -req -in server.csr {signing} -out server.crt")
    return TlsFiles(home / "server.crt", home / "server.key", home / "ca.crt")


def docker_problem() -> str | None:
    """Why compose.yaml cannot be brought up here, None when it can."""
    for words, reason in (
        (["docker", "compose", "version"], "needs Docker with its compose plugin, which is not installed"),
        (["docker", "info"], "needs a running Docker engine, and none answers"),
    ):
        try:
            subprocess.run(words, capture_output=True, timeout=30, check=True)
        except (OSError, subprocess.SubprocessError):
            return reason
    return None


def serves_all_slots(port: int) -> bool:
    """Whether a node of a cluster with replicas is up, and lists a replica for each range of slots."""
    try:
        with Admin("127.0.0.1", port, timeout=1.0) as admin:
            healthy = "cluster_state:ok" in admin.call("CLUSTER", "INFO")
            return healthy and all(len(entry) > 3 for entry in admin.call("CLUSTER", "SLOTS"))
    except (OSError, ReplyError):
        return False
