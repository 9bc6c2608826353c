"""Three mail nodes share who is connected to them, on a Redis Cluster that lives as long as this program.

    make demo

Each node is a process of its own, a member of the fleet, that replays the real Postfix log of its name
(examples/logs) at full speed. Then the console shows each node's part and the sum. Nothing is left running.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import sharedstate
from sharedstate.errors import SharedStateError
from sharedstate.ingest import PostfixLog, blocks
from sharedstate.local import LocalCluster

EXAMPLES = Path(__file__).resolve().parent
CONFIG = EXAMPLES / "config" / "sharedstate.toml"
NODES = ("relay-0-1", "relay-0-2", "relay-0-3")
CONSOLE = Path(sys.executable).with_name("sharedstate-cli")

#: How long a node may take, in seconds; it takes a fraction of one.
PATIENCE = 30.0

_DELIVERY = re.compile(rb"/smtp\[(\d+)\]: \w+: to=<[^>]*@([^@>]+)>, relay=[^\[,]+\[([^\]]+)\]")


@dataclass(frozen=True)
class Replayed:
    """What a node says when its log is read and published."""

    node: str
    lines: int
    seconds: float
    inbound: int
    outbound: int


class OutboundConnections:
    """Outbound connections as the delivery lines suggest them.

    A process of smtp(8) talks to one server at a time: its connection lasts from the first delivery to a
    domain to the first one to another.
    """

    def __init__(self, state: sharedstate.State) -> None:
        self._events = state.events
        self.open: dict[bytes, tuple[str, str]] = {}

    def feed(self, block: bytes) -> None:
        for process, domain, address in _DELIVERY.findall(block):
            connection = (address.decode(), domain.decode())
            before = self.open.get(process)
            if before == connection:
                continue
            if before is not None:
                self._events.outbound_disconnect(*before)
            self._events.outbound_connect(*connection)
            self.open[process] = connection


def run_node(node: str, url: str, parent: Connection) -> None:
    """One mail node: join, replay, publish, stay in the fleet until the parent hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it hangs up
    try:
        with sharedstate.connect(url, node=node, config=str(CONFIG)) as state:
            log, outbound = PostfixLog(state.events), OutboundConnections(state)
            began = time.perf_counter()
            for block in blocks(EXAMPLES / "logs" / f"{node}.log"):
                log.feed(block)
                outbound.feed(block)
            state.flush()
            seconds = time.perf_counter() - began
            parent.send(
                Replayed(node, log.summary.lines, seconds, len(log.open_sessions), len(outbound.open))
            )
            parent.poll(None)
    except SharedStateError as error:
        parent.send(f"{node}: {error}")


@contextmanager
def running_nodes(url: str) -> Iterator[list[Replayed]]:
    """Every node, with its log replayed; they leave the fleet at the end."""
    # Spawned, so that a node inherits no end of another one's pipe: it then sees ours close, however we end.
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        reports = []
        for node in NODES:
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=run_node, args=(node, url, theirs), daemon=True)
            process.start()
            theirs.close()
            stack.callback(process.join, PATIENCE)
            stack.callback(ours.close)
            reports.append(replayed(node, ours))
        yield reports


def replayed(node: str, pipe: Connection) -> Replayed:
    """What the node reports, or the end of the demo when it reports a failure or nothing."""
    try:
        report = pipe.recv() if pipe.poll(PATIENCE) else f"{node} did not finish within {PATIENCE:.0f} s."
    except EOFError:
        report = f"{node} ended before its log was read."
    if isinstance(report, Replayed):
        return report
    raise SystemExit(f"demo: {report}")


def console(url: str, arguments: str) -> None:
    """Run the real console, as an operator would."""
    print(f"\n$ sharedstate-cli {arguments}", flush=True)
    environment = {**os.environ, "SHAREDSTATE_URL": url, "SHAREDSTATE_CONFIG": str(CONFIG)}
    if not sys.stdout.isatty():
        environment["COLUMNS"] = "100"
    done = subprocess.run([CONSOLE, *arguments.split()], env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"demo: sharedstate-cli {arguments} ended with status {done.returncode}.")


def compare(url: str, nodes: list[Replayed]) -> None:
    """The fleet's count of inbound connections beside what each node's log says is open."""
    with sharedstate.observe(url, config=str(CONFIG)) as fleet:
        shared = fleet.shared("inbound_cidr")

        def connected(node: str | None) -> int:
            return shared.count("0.0.0.0/0", node=node) + shared.count("::/0", node=node)

        counted = {node.node: connected(node.node) for node in nodes}
        total = connected(None)
    print("\nOpen inbound connections, counted in Redis and in the logs:")
    for node in nodes:
        print(f"  {node.node}  {counted[node.node]:>4}  {node.inbound:>4}")
    print(f"  the fleet  {total:>4}  {sum(node.inbound for node in nodes):>4}")
    if [total, *counted.values()] != [sum(node.inbound for node in nodes), *(node.inbound for node in nodes)]:
        raise SystemExit("demo: the counts differ, which is a defect of sharedstate.")


def next_steps() -> None:
    command, examples = os.path.relpath(CONSOLE), os.path.relpath(EXAMPLES)
    print(
        f"""
The cluster and the nodes of this demo are gone. To go on by hand, with a cluster that stays:

  {command} local up                  # prints the next line with its ports
  export SHAREDSTATE_URL=redis://127.0.0.1:17000,127.0.0.1:17001,127.0.0.1:17002
  export SHAREDSTATE_CONFIG={examples}/config/sharedstate.toml
  {command} ingest postfix {examples}/logs/relay-0-1.log --node relay-0-1 --hold &
  {command} shared show inbound_cidr --watch
  kill %1; {command} local down

README.md has the first five minutes from Python, docs/ingest.md how to watch your own Postfix."""
    )


def main() -> int:
    began = time.perf_counter()
    with LocalCluster(primaries=3, replicas=1) as cluster:
        print(
            f"A Redis Cluster of 3 primaries and 3 replicas is up ({time.perf_counter() - began:.1f} s), "
            f"{cluster.url}"
        )
        with running_nodes(cluster.url) as nodes:
            for node in nodes:
                print(
                    f"{node.node} joined and read {node.lines:,} lines of its Postfix log in "
                    f"{node.seconds:.2f} s: {node.inbound} inbound and {node.outbound} outbound connections "
                    "are open."
                )
            print(
                "(Postfix logs no outbound connects: those are replayed from its delivery lines. An MTA's "
                "hook sees the real ones.)"
            )
            console(cluster.url, "membership --format table")
            console(cluster.url, "shared list --format table")
            console(cluster.url, "shared show inbound_cidr --by-node --top 16 --sort name --format table")
            console(cluster.url, "shared show outbound_domains --by-node --format table")
            console(cluster.url, "shared show inbound_cidr from relay-0-1 --match 10.0.0.0/24 --format plain")
            compare(cluster.url, nodes)
    next_steps()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except SharedStateError as error:
        sys.exit(f"demo: {error}")
