"""compose.yaml itself, without an engine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import COMPOSE_PORTS, docker_problem

FILE = Path(__file__).parents[2] / "compose.yaml"


@pytest.fixture(scope="module")
def compose() -> Any:
    """The parsed file, with its merge keys resolved."""
    return pytest.importorskip("yaml").safe_load(FILE.read_text())


def test_nodes_are_those_that_are_published(compose: Any) -> None:
    services = compose["services"]
    nodes = {name: service for name, service in services.items() if name.startswith("node-")}
    published = [re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in services["net"]["ports"]]
    assert [int(match[1]) for match in published if match] == list(COMPOSE_PORTS)
    assert [int(service["environment"]["PORT"]) for service in nodes.values()] == list(COMPOSE_PORTS)
    assert [service["command"][-2:] for service in nodes.values()] == [
        ["--port", str(port)] for port in COMPOSE_PORTS
    ]
    assert services["form"]["environment"]["PORTS"].split() == [str(port) for port in COMPOSE_PORTS]
    assert services["form"]["depends_on"] == list(nodes)


def test_each_node_has_health_and_data_of_its_own(compose: Any) -> None:
    volumes: list[str] = []
    for name, service in compose["services"].items():
        if name.startswith("node-"):
            assert "cluster_state:ok" in service["healthcheck"]["test"][1]
            assert service["network_mode"] == "service:net"
            volumes += [volume.removesuffix(":/data") for volume in service["volumes"]]
    assert volumes == list(compose["volumes"])
    assert "announce-ip 127.0.0.1" in compose["configs"]["node"]["content"]


def test_images_are_pinned(compose: Any) -> None:
    images = {service["image"] for service in compose["services"].values()}
    assert len(images) == 1
    assert re.fullmatch(r"\$\{SHAREDSTATE_COMPOSE_IMAGE:-[\w./-]+:\d+(\.\d+)*\}", images.pop())


def test_nothing_is_published_beyond_the_loopback_address() -> None:
    assert "0.0.0.0" not in FILE.read_text()


def test_compose_accepts_it() -> None:
    problem = docker_problem()
    if problem and "plugin" in problem:
        pytest.skip(problem)
    done = subprocess.run(
        ["docker", "compose", "-f", FILE, "config", "-q"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
