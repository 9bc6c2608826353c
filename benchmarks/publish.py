"""What publishing costs the server, beside plain pipelined HINCRBYs for the same changes.

    python benchmarks/publish.py [--items 50000] [--changes 20000] [--rounds 7]

Items are known to the server already; each round every contestant gets the same changes of different items. The
first plain one counts the item alone: HINCRBY in the node's own hash and in the sum. The second counts, for
each change, the same block levels as well. The third adds the levels up first, as ours does, and sends one pair
of HINCRBYs for each field. None of the plain ones can be sent again after a lost answer, and none fences.

A large flush is what a flood makes of it, 500 changes are a publish of a member that counts some 1,000 a second, and
100 the first after a pause (16 shards get six fields each).

CPU is the server's own used_cpu (reading and answering included), commands its commandstats. The smallest round
counts, rounds are interleaved; read the ratios.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

from _load import Command, Pipe, Publisher, clustered_v4, clustered_v6, domains, fields_of, uniform_v4

from sharedstate import cidr
from sharedstate.local import LocalCluster
from sharedstate.objects.fields import gauge_field, shard_of_field
from sharedstate.specs import Kind, ObjectSpec

TARGET = 2.0


def server_time(pipe: Pipe, work: Callable[[], object]) -> tuple[float, float]:
    """Microseconds of the server's CPU and of its commands that `work` costs."""
    pipe.call("CONFIG", "RESETSTAT")
    before = cpu(pipe)
    work()
    spent = cpu(pipe) - before
    stats = pipe.info("commandstats")
    used = 0.0
    for name in ("evalsha", "hincrby"):  # what a script calls is in its own time already
        if text := stats.get(f"cmdstat_{name}"):
            used += float(dict(part.split("=") for part in text.split(","))["usec"])
    return spent, used


def cpu(pipe: Pipe) -> float:
    usage = pipe.info("cpu")
    return (float(usage["used_cpu_user"]) + float(usage["used_cpu_sys"])) * 1e6


def plain(spec: ObjectSpec, way: str, fields: list[bytes], step: int) -> list[Command]:
    """HINCRBYs for the same changes."""
    tree = spec.kind is Kind.CIDR_TREE
    amounts: list[tuple[bytes, int, int]] = []
    if way == "item":
        amounts = [(field, shard_of_field(spec, field), step) for field in fields]
    elif way == "levels":
        for field in fields:
            shard = shard_of_field(spec, field)
            amounts += [(level, shard, step) for level in (*(cidr.levels(field) if tree else ()), field)]
    else:
        totals: Counter[tuple[bytes, int]] = Counter()
        for field in fields:
            shard = shard_of_field(spec, field)
            for level in (*(cidr.levels(field) if tree else ()), field):
                totals[level, shard] += step
        amounts = [(field, shard, change) for (field, shard), change in totals.items()]
    commands: list[Command] = []
    for field, shard, change in amounts:
        tag = f"plain:{way}:{{{spec.name}:{shard}}}"
        commands.append(("HINCRBY", f"{tag}:of:{'a' * 32}", field, change))
        commands.append(("HINCRBY", f"{tag}:sum", field, change))
    return commands


def compare(pipe: Pipe, title: str, cls: str, items: list[str], changes: int, rounds: int) -> None:
    spec = ObjectSpec(name=title.replace(" ", "-"), cls=cls)
    ways = ("item", "levels", "folded") if spec.kind is Kind.CIDR_TREE else ("item",)
    publisher = Publisher(pipe, spec)
    known = [gauge_field(spec, item) for item in items]
    for item in items:
        publisher.store.increment(item)
    publisher.send(publisher.prepare())
    for way in ways:
        pipe.send(plain(spec, way, known, 1))
    rng = random.Random(4)
    seen: dict[str, list[tuple[float, float]]] = {"published": [], **{way: [] for way in ways}}
    fields = 0
    for _ in range(rounds):
        chosen = rng.sample(range(len(items)), changes)
        for index in chosen:
            publisher.store.increment(items[index])
        calls = publisher.prepare()
        fields += fields_of(calls)
        seen["published"].append(server_time(pipe, partial(publisher.send, calls)))
        for way in ways:
            commands = plain(spec, way, [known[index] for index in chosen], 1)
            seen[way].append(server_time(pipe, partial(pipe.send, commands)))
    ours = [min(values) for values in zip(*seen["published"], strict=True)]
    print(
        f"{title}, {changes:,} changes at a time ({fields / changes / rounds:.2f} fields published for each)"
    )
    print(f"  {'published':34}{ours[0] / changes:8.2f}{ours[1] / changes:10.2f}")
    names = {
        "item": "plain: the item alone",
        "levels": "plain: the same levels",
        "folded": "plain: levels added up first",
    }
    for way in ways:
        theirs = [min(values) for values in zip(*seen[way], strict=True)]
        print(
            f"  {names[way]:34}{theirs[0] / changes:8.2f}{theirs[1] / changes:10.2f}"
            f"   published is {ours[0] / theirs[0]:.2f} and {ours[1] / theirs[1]:.2f} times that"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--changes", type=int, default=20_000, help="of a large flush; a small one has 100")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(f"microseconds of the server for each change (target: at most {TARGET:g} times the plain ones)")
    print(f"  {'':34}{'CPU':>8}{'commands':>10}")
    with LocalCluster(primaries=1, replicas=0) as cluster:
        pipe = Pipe(cluster.nodes[0].host, cluster.nodes[0].port)
        for title, cls, items in (
            ("domains", "outbound_domains", domains(options.items)),
            ("IPv4 in networks", "inbound_cidr", clustered_v4(options.items)),
            ("IPv4 uniform", "inbound_cidr", uniform_v4(options.items)),
            ("IPv6", "inbound_cidr", clustered_v6(options.items)),
        ):
            for changes, rounds in (
                (options.changes, options.rounds),
                (500, options.rounds * 5),
                (100, options.rounds * 10),
            ):
                pipe.call("FLUSHALL", "SYNC")
                pipe.load_scripts()
                compare(pipe, title, cls, items, min(changes, len(items)), rounds)


if __name__ == "__main__":
    main()
