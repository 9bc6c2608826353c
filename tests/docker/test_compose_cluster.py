"""The same tests on the cluster of compose.yaml: what ``pytest --docker`` runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import docker_problem

ROOT = Path(__file__).parents[2]


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_tests_that_run_on_any_cluster(request: pytest.FixtureRequest) -> None:
    if problem := docker_problem():
        pytest.skip(problem)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--docker", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=880,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20000:]
