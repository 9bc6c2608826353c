"""How fast a Postfix log becomes events, beside plain reading of the same file in the same run.

    python benchmarks/ingest.py [LINES]

The file is the shipped logs, repeated to LINES lines (default 500,000). Each way takes the best of three
rounds, and the rounds alternate, so that a busy machine is unfair to none.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sharedstate.ingest import NoEvents, PostfixLog, blocks

LOGS = sorted((Path(__file__).parent.parent / "examples" / "logs").glob("*.log"))
ROUNDS = 3


def count_lines(path: Path) -> None:
    """What ``wc -l`` does: read blocks, count line feeds."""
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 18):
            block.count(b"\n")


def iterate_lines(path: Path) -> None:
    """A Python loop over the lines that does nothing."""
    with path.open("rb") as file:
        for _ in file:
            pass


def ingest(path: Path) -> PostfixLog:
    """Parse, keep track of sessions, call an events object that does nothing."""
    log = PostfixLog(NoEvents())
    for block in blocks(path):
        log.feed(block)
    return log


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    sample = b"".join(path.read_bytes() for path in LOGS)
    repeats = -(-wanted // sample.count(b"\n"))
    ways: dict[str, Callable[[Path], object]] = {
        "count line feeds (wc -l)": count_lines,
        "iterate over lines": iterate_lines,
        "parse and track": ingest,
    }
    with tempfile.NamedTemporaryFile(suffix=".log") as file:
        for _ in range(repeats):
            file.write(sample)
        file.flush()
        path = Path(file.name)
        lines = repeats * sample.count(b"\n")
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(ROUNDS):
            for name, way in ways.items():
                began = time.perf_counter()
                way(path)
                best[name] = min(best[name], time.perf_counter() - began)
        summary = ingest(path).summary
    print(f"{lines:,} lines, {len(sample) * repeats / 1e6:.0f} MB; {summary.events:,} events")
    for name, seconds in best.items():
        ratio = seconds / best["iterate over lines"]
        print(f"{name:26} {lines / seconds:>14,.0f} lines/s   {ratio:6.1f} x the time of a plain loop")


if __name__ == "__main__":
    main()
