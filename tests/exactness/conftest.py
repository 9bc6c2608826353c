"""The minute without Redis passes in a process of its own, beside the other tests: else a worker would wait for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MINUTE = "test_away_for_a_minute"
_ROOT = Path(__file__).parents[2]
_started: list[subprocess.Popen[bytes]] = []


def minute_result(base: Path) -> Path:
    """Where the program tests.exactness.minute tells what it found; all workers of a run have the same place."""
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "minute.json"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The minute is asked for last, when it is over."""
    items.sort(key=lambda item: item.name == MINUTE)


def pytest_collection_finish(session: pytest.Session) -> None:
    """The first worker lets the minute begin, if it is among the tests chosen."""
    first = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
    controls = session.config.getoption("numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ
    chosen = any(item.name == MINUTE for item in session.items)
    if first and not controls and chosen and not session.config.option.collectonly:
        place = minute_result(session.config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]
        _started.append(
            subprocess.Popen([sys.executable, "-m", "tests.exactness.minute", str(place)], cwd=_ROOT)
        )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The worker that began it leaves after it; in a run that was broken off nobody waits."""
    for process in _started:
        if session.exitstatus == pytest.ExitCode.INTERRUPTED or session.shouldstop:
            process.kill()
        process.wait(150)
