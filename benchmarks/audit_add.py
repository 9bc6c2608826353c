"""What counting in an audit series costs: the caller, and the server.

    python benchmarks/audit_add.py [--addresses 20000] [--changes 20000] [--rounds 7]

The caller: one thread of a member whose publisher works in the background, beside a plain dict increment in the same
run; the second column is by the CPU time of the caller's thread alone. The server: one primary takes the published
batches of a fleet, beside plain pipelined HINCRBYs of the same changes, in a node's hash and in a sum: of the item
alone, and of the item and its blocks of 8, 16 and 24 bits (IPv6: 16, 32, 48 and 64), which answer some of what a series
answers. The items are known to the server already. CPU is the server's own used_cpu; rounds are interleaved, the
smallest counts.
"""

from __future__ import annotations

import argparse
import random
import statistics
from functools import partial

from _load import Command, Pipe, clustered_v4, clustered_v6, domains, evalsha, uniform_v4
from audit_memory import batches, emptied, new_store
from events import plain_dict, rate
from publish import server_time

import sharedstate
from sharedstate.keys import Keys
from sharedstate.local import LocalCluster

TARGET = 500_000


def caller(addresses: int, rounds: int) -> None:
    known = [(address,) for address in clustered_v4(addresses)] * 5
    series = [("spam", address) for (address,) in known]
    six = [("spam6", address) for address in clustered_v6(addresses)] * 5
    names = [("names", name) for name in domains(addresses)] * 5
    with (
        LocalCluster(primaries=3, replicas=0) as cluster,
        sharedstate.connect(cluster.url, node="n") as state,
    ):
        audit = state.audit
        audit.define("spam", "300,6", "cidr", "cluster")
        audit.define("spam6", "300,6", "cidr_ipv6", "cluster")
        audit.define("names", "300,6 3600,2", "string", "cluster")
        add, _ = plain_dict()
        ways = {
            "dict, add": (add, known),
            "IPv4 address": (audit.add, series),
            "IPv6 address": (audit.add, six),
            "text, two monitors": (audit.add, names),
        }
        for _, calls in (ways["IPv4 address"], ways["IPv6 address"], ways["text, two monitors"]):
            rate(audit.add, calls)
        seen: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, (work, calls) in ways.items():
                wall, own = rate(work, calls)
                seen[name].append((len(calls) / wall, len(calls) / own))
        base = statistics.median(wall for wall, _ in seen["dict, add"])
        print(f"add(), calls a second with the publisher at work; target: {TARGET:,}")
        print(f"  {'':22}{'calls/s':>12}{'by own CPU':>13}   dict add is")
        for name, rates in seen.items():
            middle, own = (statistics.median(column) for column in zip(*rates, strict=True))
            print(f"  {name:22}{middle:12,.0f}{own:13,.0f}{base / middle:8.1f} times that")


def plain(fields: list[bytes], ends: tuple[int, ...]) -> list[Command]:
    """HINCRBYs of the items, and of the blocks that end at these bytes."""
    found: list[Command] = []
    for field in fields:
        for level in (*(field[:end] for end in ends), field):
            found.append(("HINCRBY", "plain:node", level, 1))
            found.append(("HINCRBY", "plain:sum", level, 1))
    return found


def server(pipe: Pipe, title: str, type_: str, items: list[str], changes: int, rounds: int) -> None:
    emptied(pipe)
    store, keys = new_store(pipe, type_), Keys("benchmark")
    fields = [store.spec.field(item) for item in items]
    ends = {"cidr": (2, 3, 4), "cidr_ipv6": (3, 5, 7, 9), "string": ()}[type_]
    for item in items:
        store.add(item)
    pipe.send(map(evalsha, batches(store, keys, "n")), chunk=16)
    pipe.send(plain(fields, ends))
    rng = random.Random(4)
    seen: dict[str, list[float]] = {}
    sent = 0
    for _ in range(rounds):
        chosen = rng.sample(range(len(items)), changes)
        for index in chosen:
            store.add(items[index])
        calls = batches(store, keys, "n")
        sent += len(calls)
        commands = [evalsha(call) for call in calls]
        seen.setdefault("series", []).append(server_time(pipe, partial(pipe.send, commands, 16))[0])
        part = [fields[index] for index in chosen]
        seen.setdefault("item alone", []).append(server_time(pipe, partial(pipe.send, plain(part, ())))[0])
        if ends:
            spent = server_time(pipe, partial(pipe.send, plain(part, ends)))[0]
            seen.setdefault("same blocks", []).append(spent)
    ours = min(seen["series"])
    line = f"  {title:18}{changes:>7,}{sent / rounds:7.0f}{1e6 * changes / ours:12,.0f}{ours / changes:9.2f}"
    for name in ("item alone", "same blocks"):
        theirs = min(seen[name]) if name in seen else 0.0
        line += f"{theirs / changes:9.2f}{f' ({ours / theirs:.2f})':9}" if theirs else ""
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--addresses", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--changes", type=int, default=20_000, help="of a large flush; a small one has 100")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    caller(options.addresses, options.rounds)
    with LocalCluster(primaries=1, replicas=0) as cluster:
        pipe = Pipe(cluster.nodes[0].host, cluster.nodes[0].port)
        print(
            "\none primary, distinct items of a flush; microseconds of server CPU for each, (the series in times that)"
        )
        print(
            f"  {'':18}{'items':>7}{'calls':>7}{'items/s':>12}{'series':>9}{'item alone':>18}{'same blocks':>18}"
        )
        for title, type_, items in (
            ("IPv4 in networks", "cidr", clustered_v4(options.items)),
            ("IPv4 uniform", "cidr", uniform_v4(options.items)),
            ("IPv6 in networks", "cidr_ipv6", clustered_v6(options.items)),
            ("texts", "string", domains(options.items)),
        ):
            server(pipe, title, type_, items, options.changes, options.rounds)
            server(pipe, title, type_, items, 100, options.rounds * 10)


if __name__ == "__main__":
    main()
