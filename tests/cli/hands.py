"""Answers made by hand, for views and choices; the tests on a real cluster are in `test_goldens`."""

from __future__ import annotations

import datetime as dt
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Self, TextIO

import pytest
from sharedstate_cli.context import Environment

from sharedstate.errors import UnknownObjectError, UnknownThrottleError
from sharedstate.objects.throttle import BucketView, Holder
from sharedstate.results import FleetInfo, Member, NodeCounts, View
from sharedstate.specs import ObjectSpec
from sharedstate.throttle.spec import parse_spec

NOW = dt.datetime(2024, 5, 17, 14, 5, 9, tzinfo=dt.UTC)

INBOUND = ObjectSpec(name="inbound_cidr", cls="inbound_cidr")
OUTBOUND = ObjectSpec(name="outbound_cidr", cls="outbound_cidr")
DOMAINS = ObjectSpec(name="outbound_domains", cls="outbound_domains")

#: What each node of the reference's transcripts holds. The zeros are addresses it remembers.
INBOUND_NODES = {
    "relay-0-1": {
        "10.200.0.1": 0,
        "10.0.0.1": 0,
        "10.0.0.161": 0,
        "10.0.0.177": 0,
        "10.0.0.180": 4,
        "10.0.0.181": 1,
    },
    "relay-0-2": {"10.200.0.1": 0, "10.0.0.161": 0, "10.0.0.103": 3, "10.0.0.180": 2, "10.0.0.181": 2},
    "relay-0-3": {"10.0.0.103": 1, "10.0.0.180": 8, "10.0.0.181": 10},
}
DOMAIN_NODES = {
    "relay-0-1": {"aol.com": 1, "bellsouth.net": 4, "hotmail.com": 26, "yahoo.com": 30},
    "relay-0-2": {"aol.com": 9, "bellsouth.net": 19, "hotmail.com": 220},
    "relay-0-3": {"omniti.com": 5, "yahoo.com": 35},
}
PIDS = {"relay-0-1": 12137, "relay-0-2": 48616, "relay-0-3": 7}


def bucket(spec: str = "30/min", left: int | None = None, *holders: Holder, **changes: Any) -> BucketView:
    found = parse_spec(spec)
    values: dict[str, Any] = {
        "spec": found,
        "left": found.burst if left is None else left,
        "leased": sum(holder.held for holder in holders),
        "reset_after": 0.0,
        "by_hand": False,
        "at": 1_700_000_000.0,
        "holders": holders,
    }
    return BucketView(**(values | changes))


#: Throttles as the console's manual shows them.
BUCKETS = {
    "tenant:7": bucket(
        "30/min",
        0,
        Holder("relay-0-1#411#6f1c", taken=19, refused=12, idle=1.2),
        Holder("relay-0-2#97#b0a2", taken=11, idle=40.0),
        reset_after=59.2,
    ),
    "domain:yahoo.com": bucket(
        "1000/hr",
        853,
        Holder("relay-0-1#411#6f1c", taken=41, held=64, lease_left=2.31, refused=3),
        Holder("relay-0-1#412#11d0", taken=20, idle=7200.0),
        Holder("relay-0-2#97#b0a2", taken=12, held=16, lease_left=1.9),
        reset_after=241.2,
        by_hand=True,
    ),
    "tenant:9": bucket("1000/hr,max_burst=50", 50),
}


def member(node: str, pid: int = 1, **changes: Any) -> Member:
    values: dict[str, Any] = {
        "incarnation": f"{node}-{pid}",
        "node": node,
        "pid": pid,
        "version": "2.2.2.35 r(26825/26848M)",
        "groups": ("ec_cluster", "ec_console"),
    }
    return Member(**(values | changes))


def golden(name: str) -> str:
    return (Path(__file__).parent / "goldens" / f"{name}.txt").read_text()


@dataclass
class HandMadeObject:
    spec: ObjectSpec
    nodes: Mapping[str, Mapping[str, int]]
    pages_read: list[str | None] = field(default_factory=list)

    def counts(self, node: str | None) -> dict[str, int]:
        if node is not None:
            return dict(self.nodes[node])
        total: Counter[str] = Counter()
        for part in self.nodes.values():
            total.update(part)
        return dict(total)

    def view(self, node: str | None = None) -> View:
        label = "global" if node is None else member(node, PIDS.get(node, 1)).shared_name
        return View(spec=self.spec, label=label, node=node, counts=self.counts(node))

    def by_node(self) -> NodeCounts:
        return NodeCounts(fleet=self.view(), nodes={node: self.view(node) for node in self.nodes})

    def pages(self, node: str | None = None) -> Iterator[dict[str, int]]:
        self.pages_read.append(node)
        items = list(self.counts(node).items())
        for start in range(0, len(items), 2):
            yield dict(items[start : start + 2])


@dataclass
class HandMadeObserver:
    held: list[HandMadeObject]
    live: list[Member]
    node: str = "relay-0-1"
    cluster: str = "ec_cluster"
    error: Exception | None = None
    told: int = 1
    buckets: dict[str, BucketView] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        pass

    def objects(self) -> list[ObjectSpec]:
        if self.error:
            raise self.error
        return [one.spec for one in self.held]

    def members(self) -> list[Member]:
        return self.live

    def shared(self, name: str) -> HandMadeObject:
        if self.error:
            raise self.error
        wanted = "outbound_domains" if name == "outbound_domain" else name
        for one in self.held:
            if one.spec.name == wanted:
                return one
        raise UnknownObjectError(name, [one.spec.name for one in self.held])

    def info(self) -> FleetInfo:
        mail = [one for one in self.live if one.role != "Manager"]
        return FleetInfo(
            server_port=4803,
            member=next((one for one in mail if one.node == self.node), None),
            cluster=self.cluster,
            control_group="ec_console",
            leader=mail[0] if mail else None,
            topology="cluster",
            server="valkey 9.1.2",
            primaries=("127.0.0.1:4803", "127.0.0.1:4804"),
        )

    def reset(self, node: str | None = None) -> int:
        return self.told

    def throttles(self, match: str | None = None) -> dict[str, BucketView]:
        if self.error:
            raise self.error
        return {name: view for name, view in self.buckets.items() if match is None or fnmatch(name, match)}

    def throttle_names(self) -> list[str]:
        return sorted(self.throttles())

    def throttle_view(self, name: str) -> BucketView:
        if name not in self.throttles():
            raise UnknownThrottleError(name, self.buckets)
        return self.buckets[name]

    def reset_throttle(self, name: str) -> BucketView:
        view = self.throttle_view(name)
        self.buckets[name] = replace(view, left=view.spec.burst - view.leased, reset_after=0.0)
        return self.buckets[name]


def fleet(**changes: Any) -> HandMadeObserver:
    values: dict[str, Any] = {
        "held": [
            HandMadeObject(INBOUND, INBOUND_NODES),
            HandMadeObject(OUTBOUND, {node: {} for node in INBOUND_NODES}),
            HandMadeObject(DOMAINS, DOMAIN_NODES),
        ],
        "live": [member(node, pid) for node, pid in PIDS.items()],
        "buckets": dict(BUCKETS),
    }
    return HandMadeObserver(**(values | changes))


class HandMadeEnvironment(Environment):
    """An environment that catches its output and asks `observer`."""

    def __init__(
        self,
        observer: HandMadeObserver | None = None,
        *,
        tty: bool = False,
        width: int = 80,
        stdin: TextIO | None = None,
    ) -> None:
        self.caught = io.StringIO()
        self.caught_messages = io.StringIO()
        super().__init__(
            stdin=stdin or io.StringIO(),
            stdout=self.caught,
            stderr=self.caught_messages,
            environ={},
            width=width,
            tty=tty,
            now=NOW,
        )
        self.observer = observer or fleet()

    def observe(self, **options: Any) -> Any:
        return self.observer

    @property
    def output(self) -> str:
        return self.caught.getvalue()

    @property
    def messages(self) -> str:
        return self.caught_messages.getvalue()


def run(
    *args: str,
    observer: HandMadeObserver | None = None,
    tty: bool = False,
    width: int = 80,
    stdin: TextIO | None = None,
) -> tuple[int, HandMadeEnvironment]:
    """Run one command and give back its status and its environment."""
    from sharedstate_cli.main import cli

    environment = HandMadeEnvironment(observer, tty=tty, width=width, stdin=stdin)
    with pytest.raises(SystemExit) as leave:
        cli.main(list(args), obj=environment)
    assert isinstance(leave.value.code, int)
    return leave.value.code, environment
