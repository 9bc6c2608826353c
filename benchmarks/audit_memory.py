"""Redis memory of an audit series: for each distinct address and window.

    python benchmarks/audit_memory.py [--items 1000000]

One node counts every address once in one window. What Redis then holds is all that a series holds: the counts of the
node and those of all nodes together, every block included. "Next node" is what another node adds that counts the same
addresses. Beside it, the addresses as one flat hash and as one key for each, which hold one count, know no node and
answer no question about a block.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

from _load import Pipe, clustered_v4, clustered_v6, domains, evalsha, uniform_v4

from sharedstate.audit import calls
from sharedstate.audit.clock import ServerClock
from sharedstate.audit.series import SeriesSpec
from sharedstate.audit.store import AuditMetrics, SeriesStore
from sharedstate.clock import awake_clock
from sharedstate.keys import Keys
from sharedstate.local import LocalCluster
from sharedstate.names import address_field

#: Addresses counted between two publishes.
STEP = 50_000
TARGETS = {"IPv4 in networks": 16, "IPv4 uniform": 120}


def batches(store: SeriesStore, keys: Keys, node: str) -> list[calls.Call[tuple[int, int, int]]]:
    """Everything that is due, as calls to send in this order; taken as applied from now on."""
    store.fold()
    found = []
    for chain in store.chains.values():
        while chain.due:
            batch = chain.next()
            found.append(
                calls.add(
                    keys,
                    chain.spec,
                    chain.monitor,
                    chain.shard,
                    batch.window,
                    source=f"source-of-{node}",
                    before=chain.believed,
                    number=batch.number,
                    node=node,
                    changes=batch.args,
                )
            )
            chain.applied(batch, batch.number)
            chain.log.clear()
    return found


def new_store(pipe: Pipe, type_: str, monitor: str = "86400,2", shards: int = 16) -> SeriesStore:
    clock = ServerClock()
    began = awake_clock()
    seconds, micros = pipe.call("TIME")
    clock.sample(int(seconds) * 1000 + int(micros) // 1000, began, awake_clock())
    spec = SeriesSpec.make("series", monitor, type_, "cluster", shards)
    return SeriesStore(spec, clock, lambda: None, AuditMetrics())


def publish(pipe: Pipe, type_: str, items: list[str], node: str) -> float:
    """Count each item once and publish; returns the seconds that Redis was asked for."""
    store, keys = new_store(pipe, type_), Keys("benchmark")
    seconds = 0.0
    for first in range(0, len(items), STEP):
        for item in items[first : first + STEP]:
            store.add(item)
        sent = batches(store, keys, node)
        begun = time.perf_counter()
        replies = pipe.send(map(evalsha, sent), chunk=16)
        seconds += time.perf_counter() - begun
        assert all(reply[0] == 1 for reply in replies)
    return seconds


def used(pipe: Pipe) -> int:
    """Memory in use, without what the connection of this program holds."""
    memory = pipe.info("memory")
    return int(memory["used_memory"]) - int(memory["mem_clients_normal"])


def emptied(pipe: Pipe) -> int:
    pipe.call("FLUSHALL", "SYNC")
    pipe.load_scripts()
    return used(pipe)


def plain(pipe: Pipe, items: Iterable[bytes], *, flat: bool) -> float:
    before = emptied(pipe)
    fields = list(items)
    if flat:
        pipe.send(("HINCRBY", "flat", field, 1) for field in fields)
    else:
        pipe.send(("INCRBY", b"ss:{x}:" + field, 1) for field in fields)
    return (used(pipe) - before) / len(fields)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    options = parser.parse_args()
    count = options.items
    with LocalCluster(primaries=1, replicas=0) as cluster:
        pipe = Pipe(cluster.nodes[0].host, cluster.nodes[0].port)
        print("bytes of Redis memory for each distinct item and window")
        print(
            f"  {'':18}{'items':>10}{'series':>9}{'target':>8}{'next node':>11}{'flat hash':>11}{'own key':>9}"
        )
        for title, type_, items in (
            ("IPv4 in networks", "cidr", clustered_v4(count)),
            ("IPv4 uniform", "cidr", uniform_v4(count)),
            ("IPv6 in networks", "cidr_ipv6", clustered_v6(count)),
            ("domains", "string", domains(count // 10)),
        ):
            before = emptied(pipe)
            publish(pipe, type_, items, "node-1")
            first = used(pipe) - before
            publish(pipe, type_, items, "node-2")
            second = used(pipe) - before - first
            keys = [address_field(item) if type_ != "string" else item.encode() for item in items]
            flat, own = plain(pipe, keys, flat=True), plain(pipe, keys, flat=False)
            size = len(items)
            print(
                f"  {title:18}{size:>10,}{first / size:9.1f}{TARGETS.get(title, ''):>8}{second / size:11.1f}"
                f"{flat:11.1f}{own:9.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
