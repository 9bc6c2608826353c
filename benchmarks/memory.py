"""Redis memory of published counts: for each address and each domain.

    python benchmarks/memory.py [--items 1000000]

One node counts every item once; what Redis then holds of each is the node's own copy and the sum. The second
number is for an item that three nodes count: three copies and one sum. Of one server (used_memory, replicas and
persistence not included), with 16 shards, all block levels in it.
"""

from __future__ import annotations

import argparse

from _load import Pipe, Publisher, clustered_v4, clustered_v6, domains, uniform_v4, uniform_v6

from sharedstate.local import LocalCluster
from sharedstate.specs import ObjectSpec

#: Items published at a time: bounds what this program holds ready.
STEP = 50_000


def publish(pipe: Pipe, spec: ObjectSpec, incarnation: str, items: list[str]) -> None:
    publisher = Publisher(pipe, spec, incarnation)
    for first in range(0, len(items), STEP):
        for item in items[first : first + STEP]:
            publisher.store.increment(item)
        publisher.send(publisher.prepare())


def used(pipe: Pipe) -> int:
    """Memory in use, without what the connection of this program holds."""
    memory = pipe.info("memory")
    return int(memory["used_memory"]) - int(memory["mem_clients_normal"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument(
        "--items6", type=int, default=None, help="IPv6 addresses, as many as --items by default"
    )
    parser.add_argument("--nodes", type=int, default=1, help="2 or more also measures that many copies")
    options = parser.parse_args()
    count = options.items
    six = count if options.items6 is None else options.items6
    with LocalCluster(primaries=1, replicas=0) as cluster:
        pipe = Pipe(cluster.nodes[0].host, cluster.nodes[0].port)
        print(
            "bytes of Redis memory for each item: one node's copy and the sum, and each further node's copy"
        )
        for title, cls, items in (
            ("domains", "outbound_domains", domains(count)),
            ("IPv4 in networks", "inbound_cidr", clustered_v4(count)),
            ("IPv4 uniform", "inbound_cidr", uniform_v4(count)),
            ("IPv6 in networks", "inbound_cidr", clustered_v6(six)),
            ("IPv6 uniform", "inbound_cidr", uniform_v6(six)),
        ):
            pipe.call("FLUSHALL", "SYNC")
            pipe.load_scripts()
            spec = ObjectSpec(name="o", cls=cls)
            before = used(pipe)
            publish(pipe, spec, "a" * 32, items)
            first = used(pipe) - before
            line = f"  {title:18}{len(items):>10,} items  {first / len(items):7.0f} bytes"
            if options.nodes > 1:
                for number in range(1, options.nodes):
                    publish(pipe, spec, f"{number:x}" * 32, items)
                further = (used(pipe) - before - first) / (options.nodes - 1)
                line += f"  {further / len(items):7.0f} bytes"
            print(line, flush=True)


if __name__ == "__main__":
    main()
