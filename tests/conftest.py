"""Fixtures: real servers, started by the library's own code.

With ``--cluster-url URL`` (or SHAREDSTATE_TEST_URL) the tests that only need ``url`` run against a cluster
that is already there, and with ``--docker`` against the one of compose.yaml. That cluster is emptied before
each test. The other tests, those without a server and those that kill, pause or reshard servers of their own,
are left out then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharedstate.local import LocalCluster, LocalServer

from .support import COMPOSE_PORTS, docker_problem, flush_url, need_server, serves_all_slots

_OWN = {"cluster", "own_cluster", "replicated_cluster", "standalone"}
_ENVIRONMENT = ("SHAREDSTATE_URL", "SHAREDSTATE_CONFIG", "SHAREDSTATE_NODE", "EC_NODE_NAME")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sharedstate")
    group.addoption("--cluster-url", help="run on this cluster, which is emptied before each test")
    group.addoption("--docker", action="store_true", help="run on the cluster of compose.yaml")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what would let tests empty the cluster under each other."""
    if _elsewhere(config) and config.getoption("numprocesses", None):
        raise pytest.UsageError(
            "the tests empty the given cluster, so they run on it one by one: leave -n out."
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a given cluster, keep the tests that run on any."""
    if not _elsewhere(config):
        return
    kept = [item for item in items if _runs_on_any(item)]
    config.hook.pytest_deselected(items=[item for item in items if not _runs_on_any(item)])
    items[:] = kept


def _elsewhere(config: pytest.Config) -> str | None:
    """``docker``, a URL, or None when the tests start their own cluster."""
    if config.getoption("--docker"):
        return "docker"
    return config.getoption("--cluster-url") or os.environ.get("SHAREDSTATE_TEST_URL") or None


def _runs_on_any(item: pytest.Item) -> bool:
    names = set(getattr(item, "fixturenames", ()))
    return "url" in names and not names & _OWN


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests does not decide them."""
    for name in _ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def external_url(request: pytest.FixtureRequest) -> str | None:
    """URL of a cluster that is not ours to kill, None when the tests start their own."""
    elsewhere = _elsewhere(request.config)
    return str(request.getfixturevalue("docker_url")) if elsewhere == "docker" else elsewhere


@pytest.fixture(scope="session")
def docker_compose_file() -> str:
    """The file that pytest-docker brings up."""
    return str(Path(__file__).parent.parent / "compose.yaml")


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    """Not pytest-docker's own ``up --build --wait``: it fails when the forming service ends."""
    return ["up -d"]


@pytest.fixture(scope="session")
def docker_compose_project_name() -> str:
    """Apart from the cluster that somebody may have brought up by hand, whose data is not for tests."""
    return "sharedstate-tests"


@pytest.fixture(scope="session")
def docker_url(request: pytest.FixtureRequest) -> str:
    """URL of the cluster of compose.yaml, brought up for this run."""
    if problem := docker_problem():
        pytest.skip(problem)
    services = request.getfixturevalue("docker_services")
    services.wait_until_responsive(
        timeout=90, pause=0.2, check=lambda: all(map(serves_all_slots, COMPOSE_PORTS))
    )
    return "redis://" + ",".join(f"127.0.0.1:{port}" for port in COMPOSE_PORTS)


@pytest.fixture(scope="session")
def own_cluster() -> Iterator[LocalCluster]:
    need_server()
    with LocalCluster(primaries=3, replicas=0, node_timeout_ms=5000) as started:
        yield started


@pytest.fixture
def cluster(request: pytest.FixtureRequest, external_url: str | None) -> LocalCluster:
    """Three primaries without replicas, shared by the run, empty; mended after a test hurt it."""
    assert external_url is None, "tests that take a cluster apart are left out on a given one"
    own: LocalCluster = request.getfixturevalue("own_cluster")
    hurt = [node for node in own.nodes if not node.alive]
    for node in own.nodes:
        own.resume(node)
    for node in hurt:
        own.restart(node)
    own.wait_healthy()
    own.flush_all()
    return own


@pytest.fixture
def url(request: pytest.FixtureRequest, external_url: str | None) -> str:
    """URL of an empty cluster."""
    if external_url is not None:
        flush_url(external_url)
        return external_url
    started: LocalCluster = request.getfixturevalue("cluster")
    return started.url


@pytest.fixture
def replicated_cluster() -> Iterator[LocalCluster]:
    """Three primaries with a replica each, for this test alone; replicas take over within about a second."""
    need_server()
    with LocalCluster(primaries=3, replicas=1, node_timeout_ms=500) as started:
        yield started


@pytest.fixture
def standalone() -> Iterator[LocalServer]:
    """One server without cluster mode, for this test alone."""
    need_server()
    with LocalServer() as started:
        yield started
