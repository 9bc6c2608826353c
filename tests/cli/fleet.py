"""The fleet behind the reference's transcripts, joined to a real cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import sharedstate

from .hands import DOMAIN_NODES, INBOUND_NODES, PIDS

#: The first stanza of the reference page, section 7.5.1.
STANZA = """
Logger cluster/ec_cluster ec_cluster {
  # ... other cluster config ...
  replicate [ type = inbound_cidr ]
  replicate [ type = outbound_cidr ]
  replicate [ type = outbound_domains ]
}
"""


def configuration(folder: Path) -> str:
    path = folder / "ecelerity.conf"
    path.write_text(STANZA)
    return str(path)


def hold(state: sharedstate.State, name: str, counts: Mapping[str, int]) -> None:
    """Make a member hold these counts; zero is a count that was there and went."""
    shared = state.shared(name)
    for item, count in counts.items():
        shared.increment(item, count or 1)
    state.flush()
    for item, count in counts.items():
        if not count:
            shared.decrement(item)
    state.flush()


@contextmanager
def joined(url: str, config: str, members: list[dict[str, Any]]) -> Iterator[list[sharedstate.State]]:
    """Members that join one after the other, as the options of `sharedstate.connect` say."""
    with ExitStack() as stack:
        yield [stack.enter_context(sharedstate.connect(url, config=config, **options)) for options in members]


@contextmanager
def relays(url: str, config: str) -> Iterator[None]:
    """relay-0-1 to relay-0-3 with what the transcripts of section 7.5.1 show."""
    with joined(url, config, [{"node": node, "pid": pid} for node, pid in PIDS.items()]) as states:
        for state, node in zip(states, PIDS, strict=True):
            hold(state, "inbound_cidr", INBOUND_NODES[node])
            hold(state, "outbound_domains", DOMAIN_NODES[node])
        yield
