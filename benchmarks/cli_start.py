"""Cold start of the console: ``sharedstate-cli shared list`` beside ``python -c "import redis, click"``.

Both are started in turn, round by round, so that whatever else the machine does falls on both alike.
The target is a ratio of the medians of at most 2.5.

    python benchmarks/cli_start.py [--rounds 15] [--url URL]

Without --url a cluster of three primaries is started for the run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

TARGET = 2.5


def spent(command: Sequence[str], environment: dict[str, str]) -> float:
    """Seconds of wall clock from start to end of a process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE)
    return time.perf_counter() - start


def register(url: str) -> None:
    """Give ``shared list`` something to list: the objects stay registered when the member has left."""
    import sharedstate

    with sharedstate.connect(url, node="bench"):
        pass


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--url")
    options = parser.parse_args()
    with ExitStack() as stack:
        url = options.url
        if url is None:
            from sharedstate.local import LocalCluster

            url = stack.enter_context(LocalCluster(primaries=3, replicas=0)).url
        register(url)
        commands = {
            "import redis, click": [sys.executable, "-c", "import redis, click"],
            "shared list": [sys.executable, "-m", "sharedstate_cli.main", "shared", "list"],
        }
        environment = {**os.environ, "SHAREDSTATE_URL": url, "SHAREDSTATE_FORMAT": "plain"}
        for command in commands.values():  # byte code and file cache
            spent(command, environment)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, command in commands.items():
                times[name].append(spent(command, environment))

    print(f"Python {sys.version.split()[0]}, {options.rounds} rounds, interleaved")
    print(f"{'':24}{'median':>10}{'min':>10}")
    for name, measured in times.items():
        print(f"{name:24}{statistics.median(measured) * 1e3:>7.0f} ms{min(measured) * 1e3:>7.0f} ms")
    base, ours = times.values()
    by_median = statistics.median(ours) / statistics.median(base)
    print(f"{'ratio':24}{by_median:>10.2f}{min(ours) / min(base):>10.2f}   target: at most {TARGET}")
    return 0 if by_median <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
