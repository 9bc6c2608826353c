"""How fast an audit series becomes a file, beside reading the same rows plainly, and how much memory that takes.

    python benchmarks/audit_export.py [--rows 1000000] [--rounds 3]

One closed window of distinct addresses on three primaries. Beside it: every address as a key of its own, read as
`redis-cli --scan` with a GET for each would, here with SCAN pages of 1000 and an MGET for each, written to a file
without any name or time beside it. The peak is what the process grows by during the export (its resident set, in a
process of its own).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _load import Pipe, clustered_v4, uniform_v4

import sharedstate
from sharedstate.exports.job import Exporter
from sharedstate.local import LocalCluster, LocalServer

STEP = 50_000


def fill(url: str, rows: list[str]) -> None:
    with sharedstate.connect(url, node="n", timeout=60.0) as state:
        state.audit.define("spam", "86400,3", "cidr", "cluster")
        for first in range(0, len(rows), STEP):
            state.audit.adjust_many("spam", dict.fromkeys(rows[first : first + STEP], 1), 1)


def exported(url: str, format_: str, packed: str) -> None:
    """In a process of its own: export once and tell rows, seconds and by how many KB it grew."""
    with tempfile.TemporaryDirectory() as folder, sharedstate.observe(url, timeout=60.0) as observer:
        if format_ == "parquet":
            import duckdb

            duckdb.connect().close()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew; else it is that of the parent
        before = peak()
        begun = time.perf_counter()
        job = f"{format_}-{packed}-{time.time_ns()}"
        exporter = Exporter(
            observer.audit, Path(folder), format=format_, gzip=packed == "gzip", settle=0, job=job
        )
        report = exporter.export(observer.audit.series())
        seconds = time.perf_counter() - begun
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        print(report.rows, seconds, peak() - before, size)


def peak() -> int:
    """Largest resident set so far, KB. Linux."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def scanned(pipe: Pipe) -> tuple[int, float]:
    """Rows and seconds of reading one key for each address."""
    begun = time.perf_counter()
    number, cursor = 0, b"0"
    with tempfile.TemporaryFile("w") as file:
        while True:
            cursor, keys = pipe.call("SCAN", cursor, "COUNT", 1000)
            if keys:
                values = pipe.call("MGET", *keys)
                file.writelines(
                    f"{key.decode()},{value.decode()}\n" for key, value in zip(keys, values, strict=True)
                )
                number += len(keys)
            if cursor == b"0":
                return number, time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        exported(*options.child)
        return
    half = options.rows // 2
    rows = list(dict.fromkeys(clustered_v4(half) + uniform_v4(options.rows - half)))
    with LocalCluster(primaries=3, replicas=0) as cluster, LocalServer() as server:
        fill(cluster.url, rows)
        host, _, port = server.url.removeprefix("redis://").partition("/")[0].rpartition(":")
        pipe = Pipe(host, int(port))
        pipe.send(("SET", f"ss:{row}", 1) for row in rows)
        kinds = (("csv", "plain"), ("csv", "gzip"), ("jsonl", "plain"), ("parquet", "plain"))
        seen: dict[tuple[str, str], list[list[float]]] = {kind: [] for kind in kinds}
        plain: list[float] = []
        for _ in range(options.rounds):
            number, seconds = scanned(pipe)
            assert number == len(rows)
            plain.append(seconds)
            for kind in kinds:
                words = [sys.executable, __file__, "--child", cluster.url, *kind]
                told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
                assert int(told[0]) == len(rows), told
                seen[kind].append([float(one) for one in told])
        base = len(rows) / min(plain)
        print(f"{len(rows):,} rows, best of {options.rounds}")
        print(f"  {'SCAN and MGET, one key each':30}{base:12,.0f} rows/s")
        for kind, found in seen.items():
            speed = len(rows) / min(one[1] for one in found)
            peak, size = max(one[2] for one in found) / 1024, found[0][3] / len(rows)
            print(
                f"  {'export ' + ' '.join(kind):30}{speed:12,.0f} rows/s  {speed / base:5.2f} times that"
                f"   grew by {peak:6.1f} MB   {size:5.1f} bytes a row"
            )


if __name__ == "__main__":
    main()
