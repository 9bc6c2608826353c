"""Who owns which slot: detect Cluster, Sentinel or a single server, check it, and look again when it changed.

Nothing here does I/O. The functions are generators of *steps* that both runners carry out: a list of batches
to bring to their nodes side by side, or a number of seconds to wait.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

from hiredis import ReplyError

from sharedstate.errors import LinkError, PermissionDeniedError, UnreachableError, UnsuitableServerError

from .batch import Batch
from .faults import CLOSED_UNHEARD, Verdict, refusal, split, verdict
from .suitability import Info, check_eviction, check_version, parse_info, server_name
from .url import Address, Endpoint

__all__ = ["SLOTS", "Steps", "Topology", "View", "back_off", "discover", "look_again"]

SLOTS = 16384
#: Seconds one node gets to tell what it knows, before another is asked.
ASK_LIMIT = 0.5

R = TypeVar("R")
Steps: TypeAlias = Generator[Sequence[Batch] | float, None, R]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """What the link is connected to.

    Attributes:
        mode: ``cluster``, ``sentinel`` or ``standalone``.
        server: server name and version, such as ``valkey 9.1.2``; empty when the ACL user may not see it.
        primaries: ``host:port`` of every primary, in order of their slots.
        replicas: ``host:port`` of every replica known.
    """

    mode: str
    server: str
    primaries: tuple[str, ...]
    replicas: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One answer to "who owns which slot".

    Attributes:
        mode: as in `Topology`.
        server: as in `Topology`.
        owners: the primary of each slot, None where nobody owns it.
        primaries: all primaries, in order of their first slot.
        replicas: all replicas.
    """

    mode: str
    server: str = ""
    owners: list[Address | None] = field(repr=False)
    primaries: tuple[Address, ...]
    replicas: tuple[Address, ...] = ()


def back_off(attempt: int) -> float:
    """Seconds before another attempt: a few ms growing to 100 ms, jittered so that a fleet spreads out."""
    return min(0.1, 0.004 * 2.0 ** min(attempt, 5)) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def single(mode: str, primary: Address, server: str = "") -> View:
    """The view of one primary that has it all."""
    return View(mode=mode, server=server, owners=[primary] * SLOTS, primaries=(primary,))


def parse_slots(reply: Iterable[Any], asked: Address) -> View:
    """Read a CLUSTER SLOTS reply; `asked` stands for nodes that do not know their own host.

    Raises:
        TypeError, ValueError, LookupError: the reply is none.
    """
    owners: list[Address | None] = [None] * SLOTS
    primaries: dict[Address, None] = {}
    replicas: dict[Address, None] = {}
    for first, last, *nodes in sorted(reply, key=lambda entry: int(entry[0])):
        addresses = [_node_address(node, asked) for node in nodes]
        owners[first : last + 1] = [addresses[0]] * (last + 1 - first)
        primaries[addresses[0]] = None
        replicas.update(dict.fromkeys(addresses[1:]))
    if len(owners) != SLOTS:
        raise ValueError("slot numbers beyond 16383")
    return View(mode="cluster", owners=owners, primaries=tuple(primaries), replicas=tuple(replicas))


def _node_address(node: Sequence[Any], asked: Address) -> Address:
    host = (node[0] or b"").decode()
    if host == "?" and len(node) > 3:
        # The node is to be known by a host name that its peers have not heard yet: take its IP meanwhile.
        details = dict(zip(node[3][::2], node[3][1::2], strict=False))
        host = details.get(b"ip", b"").decode()
    return Address(host if host not in ("", "?") else asked.host, int(node[1]))


# -- opening ---------------------------------------------------------------------------------------------


class _ObstacleError(Exception):
    """Why one server does not do; another one, or a little time, may help.

    Attributes:
        error: what to raise in the end.
        fact: who did what, to be listed when several servers are silent.
        refused: the server's host says that nobody listens there.
        passing: waiting may help.
    """

    def __init__(
        self, error: LinkError, *, fact: str = "", refused: bool = False, passing: bool = False
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.fact = fact
        self.refused = refused
        self.passing = passing


def discover(endpoint: Endpoint, until: float) -> Steps[View]:
    """Find the primaries behind an endpoint and check that they can serve us.

    Asks one host after another; goes on until the deadline while they are silent or still loading, and stops
    at once when none can do: all refuse the connection, the login fails, or the server is unsuitable.

    Raises:
        LinkError: of the classes that `Link.open` lists.
    """
    survey = _survey_sentinel if endpoint.service else _survey_server
    attempt = 0
    last: _ObstacleError | None = None
    while True:
        problems: list[_ObstacleError] = []
        for number, address in enumerate(endpoint.hosts):
            share = (until - time.monotonic()) / (len(endpoint.hosts) - number)
            try:
                view = yield from survey(endpoint, address, time.monotonic() + share)
            except _ObstacleError as problem:
                problems.append(problem)
            else:
                return view
        worst = _most_telling(problems)
        if last is not None and time.monotonic() >= until:
            worst = last  # an attempt that the deadline cut off tells less than the one before
        last = worst
        pause = back_off(attempt)
        hopeless = not worst.passing or all(problem.refused for problem in problems)
        if hopeless or time.monotonic() + pause >= until:
            raise worst.error
        attempt += 1
        yield pause


def _most_telling(problems: Sequence[_ObstacleError]) -> _ObstacleError:
    """The problem to report: what a server said is worth more than that another was silent."""
    for problem in problems:
        if not isinstance(problem.error, UnreachableError):
            return problem
    if len(problems) == 1:
        return problems[0]
    facts = ", ".join(problem.fact for problem in problems)
    return _ObstacleError(UnreachableError(f"no server of the URL can be reached: {facts}."), passing=True)


def _unreachable(endpoint: Endpoint, batch: Batch) -> _ObstacleError:
    failure = batch.failure
    assert failure is not None
    if failure.error is not None:
        raise failure.error(failure.reason)
    hint = ""
    if failure is CLOSED_UNHEARD and not endpoint.tls:
        hint = " (if its port speaks TLS, use rediss://)"
    fact = f"{batch.address} {failure.reason}{hint}"
    error = UnreachableError(f"{fact}: check that Redis runs there and can be reached.")
    return _ObstacleError(error, fact=fact, refused=failure.refused, passing=True)


def _survey_server(endpoint: Endpoint, address: Address, until: float) -> Steps[View]:
    """Ask one server of a ``redis://`` URL what it is."""
    batch = Batch.pack(address, [("INFO",), ("CLUSTER", "SLOTS")], until)
    yield [batch]
    if batch.failure is not None:
        raise _unreachable(endpoint, batch)
    info = _read_info(batch.replies[0], address, endpoint.username)
    view = _read_slots(batch.replies[1], address, endpoint.username, info)
    if view is None:
        _check_primary(info, address)
        return single("standalone", address, server_name(info))
    missing = view.owners.count(None)
    if missing:
        raise _ObstacleError(
            UnsuitableServerError(
                f"the cluster at {address} has {missing} of {SLOTS} slots without a node: "
                "bring the missing nodes back or assign the slots (CLUSTER ADDSLOTS)."
            )
        )
    yield from _check_primaries(endpoint, view, until)
    return replace(view, server=server_name(info))


def _check_primaries(endpoint: Endpoint, view: View, until: float) -> Steps[None]:
    """Every primary has settings of its own; one that is away just now is not waited for."""
    limit = min(until, time.monotonic() + ASK_LIMIT)
    batches = [Batch.pack(address, [("INFO",)], limit) for address in view.primaries]
    yield batches
    for batch in batches:
        if batch.failure is None:
            info = _read_info(batch.replies[0], batch.address, endpoint.username)
            check_eviction(info, batch.address)


def _read_info(reply: Any, address: Address, user: str | None) -> Info:
    """INFO as a dict; empty when the ACL user may not ask, which then skips the checks."""
    if isinstance(reply, ReplyError):
        text = str(reply)
        if verdict(text) is not Verdict.REFUSED:
            raise _ObstacleError(_not_yet(address, text), passing=True)
        code, _ = split(text)
        if code == "NOPERM":
            return {}
        if code in ("NOAUTH", "WRONGPASS", "DENIED"):
            raise refusal(text, address, "INFO", user)
    info = parse_info(reply)
    if info is None:
        shown = str(reply.decode("ascii", "replace") if isinstance(reply, bytes) else reply)[:40]
        raise UnsuitableServerError(
            f"{address} answered {shown!r} to INFO, so it is no Redis server: check host and port."
        )
    if info.get("redis_mode") == "sentinel":
        raise UnsuitableServerError(
            f"{address} is a Sentinel: write redis+sentinel://{address}/SERVICE for the server it watches."
        )
    check_version(info, address)
    return info


def _not_yet(address: Address, text: str) -> LinkError:
    return UnsuitableServerError(f"{address} cannot serve yet ({text.rstrip('.')}): wait until it can.")


def _read_slots(reply: Any, address: Address, user: str | None, info: Info) -> View | None:
    """The cluster's slots, or None when the server is no part of a cluster."""
    if isinstance(reply, ReplyError):
        text = str(reply)
        if verdict(text) is not Verdict.REFUSED:
            raise _ObstacleError(_not_yet(address, text), passing=True)
        code, _ = split(text)
        if code == "NOPERM" and info.get("cluster_enabled") != "0":
            name = user or "default"
            raise PermissionDeniedError(
                f"{address} does not let user {name!r} run CLUSTER SLOTS: "
                f"grant it with ACL SETUSER {name} +cluster|slots."
            )
        if code in ("NOAUTH", "DENIED"):
            raise refusal(text, address, "CLUSTER SLOTS", user)
        return None
    try:
        return parse_slots(reply, address)
    except (TypeError, ValueError, LookupError) as error:
        raise UnsuitableServerError(
            f"{address} answered CLUSTER SLOTS with something else: check host and port."
        ) from error


def _check_primary(info: Info, address: Address) -> None:
    """A single server must be one that takes writes."""
    if info.get("loading") == "1":
        raise _ObstacleError(_not_yet(address, "loading its data"), passing=True)
    if info.get("role") == "slave":
        primary = f"{info.get('master_host')}:{info.get('master_port')}"
        raise _ObstacleError(
            UnsuitableServerError(
                f"{address} is a read-only replica of {primary}: give the primary's address or its Sentinels."
            )
        )
    check_eviction(info, address)


def _survey_sentinel(endpoint: Endpoint, address: Address, until: float) -> Steps[View]:
    """Ask one Sentinel for the primary, and that one whether it is."""
    primary = yield from _ask_sentinel(endpoint, address, until)
    batch = Batch.pack(primary, [("INFO",)], until)
    yield [batch]
    if batch.failure is not None:
        raise _unreachable(endpoint, batch)
    info = _read_info(batch.replies[0], primary, endpoint.username)
    if info.get("role") == "slave":
        text = f"Sentinel {address} still names it as the primary, it is a replica"
        raise _ObstacleError(_not_yet(primary, text), passing=True)
    _check_primary(info, primary)
    return single("sentinel", primary, server_name(info))


def _ask_sentinel(endpoint: Endpoint, address: Address, until: float) -> Steps[Address]:
    service = endpoint.service or ""
    batch = Batch.pack(address, [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)], until)
    yield [batch]
    if batch.failure is not None:
        raise _unreachable(endpoint, batch)
    reply = batch.replies[0]
    if isinstance(reply, ReplyError):
        text = str(reply)
        if verdict(text) is not Verdict.REFUSED:
            raise _ObstacleError(_not_yet(address, text), passing=True)
        code, _ = split(text)
        if code in ("NOAUTH", "WRONGPASS"):
            raise refusal(text, address, "SENTINEL", endpoint.sentinel_username)
        if code == "NOPERM":
            raise refusal(text, address, "SENTINEL GET-MASTER-ADDR-BY-NAME", endpoint.sentinel_username)
        raise UnsuitableServerError(f"{address} is no Sentinel: use redis:// for the server itself.")
    if reply is None:
        raise _ObstacleError(
            UnsuitableServerError(f"Sentinel {address} watches no service {service!r}: check the URL's path.")
        )
    host, port = reply
    return Address(host.decode(), int(port))


# -- looking again ---------------------------------------------------------------------------------------


def look_again(
    endpoint: Endpoint, view: View, first: Sequence[Address], last: set[Address], until: float
) -> Steps[View]:
    """Ask who owns which slot now; the old view when nobody can tell. Never raises.

    Args:
        endpoint: where we started.
        view: what we knew.
        first: who probably knows best, such as the node a MOVED pointed to.
        last: who failed lately; asked only when nobody else is left.
        until: monotonic deadline.
    """
    if view.mode == "standalone" and len(endpoint.hosts) == 1:
        return view
    known: dict[Address, None] = {}
    if view.mode == "cluster":
        known.update(dict.fromkeys(first))
        known.update(dict.fromkeys(view.primaries))
        known.update(dict.fromkeys(view.replicas))
    known.update(dict.fromkeys(endpoint.hosts))
    for address in sorted(known, key=lambda address: address in last):
        limit = min(until, time.monotonic() + ASK_LIMIT)
        if time.monotonic() >= until:
            break
        try:
            if view.mode == "cluster":
                found = yield from _ask_cluster(address, limit)
            elif view.mode == "sentinel":
                found = yield from _survey_sentinel(endpoint, address, limit)
            else:
                found = yield from _survey_server(endpoint, address, limit)
        except (_ObstacleError, LinkError):
            continue
        if found is not None:
            return replace(found, mode=view.mode, server=found.server or view.server)
    return view


def _ask_cluster(address: Address, until: float) -> Steps[View | None]:
    batch = Batch.pack(address, [("CLUSTER", "SLOTS")], until)
    yield [batch]
    if batch.failure is not None or isinstance(batch.replies[0], ReplyError):
        return None
    try:
        view = parse_slots(batch.replies[0], address)
    except (TypeError, ValueError, LookupError):
        return None
    return view if view.primaries else None
