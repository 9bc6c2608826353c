"""Broken connections: what is sent again, what never is, and when the caller gets back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from sharedstate.errors import AmbiguousError, ServerRefusedError, UnreachableError
from sharedstate.local import LocalCluster, LocalServer
from tests.proxy import FaultProxy, proxied
from tests.support import poll

from .calls import SLOT, count, get, lua, spread

if TYPE_CHECKING:
    from .faces import Face, OpenLink

#: A call must be back this long after its deadline even on a busy machine; without the deadline it never is.
SCHEDULING = 1.5


@pytest.fixture
def link(face: Face, proxy: FaultProxy) -> OpenLink:
    """A link through the proxy, with one connection open and the script loaded."""
    opened = face.open(f"redis://{proxy.address}")
    assert opened.one(count()) == 1
    return opened


@pytest.mark.parametrize("repeats", [1, 2, 5])
def test_a_script_that_may_not_run_twice_never_does(link: OpenLink, proxy: FaultProxy, repeats: int) -> None:
    for number in range(repeats):
        proxy.cut_replies(1)
        error = link.one(count())
        assert isinstance(error, AmbiguousError)
        assert "script count may or may not have been carried out" in str(error)
        assert proxy.address in str(error)
        assert link.one(get()) == number + 2


def test_a_script_that_may_is_sent_again(link: OpenLink, proxy: FaultProxy) -> None:
    proxy.cut_replies(3)
    assert link.one(count(resend=True)) == 5, "three runs whose answer was lost, and the one that got through"
    assert proxy.cuts == 3


def test_a_request_that_the_server_never_saw_is_ambiguous_too(link: OpenLink, proxy: FaultProxy) -> None:
    """It left this machine: nobody here can know."""
    proxy.cut_requests(1)
    assert isinstance(link.one(count()), AmbiguousError)
    assert link.one(get()) == 1
    proxy.cut_requests(2)
    assert link.one(count(resend=True)) == 2


def test_half_a_reply_is_no_reply(link: OpenLink, proxy: FaultProxy) -> None:
    proxy.cut_replies(1, after_bytes=2)
    assert isinstance(link.one(count()), AmbiguousError)
    assert link.one(count()) == 3


def test_answered_calls_of_a_cut_pipeline_keep_their_answers(link: OpenLink, proxy: FaultProxy) -> None:
    proxy.cut_replies(1, after_bytes=len(b":2\r\n:3\r\n:"))
    outcomes = link.execute([count() for _ in range(5)])
    assert outcomes[:2] == [2, 3]
    assert [type(outcome) for outcome in outcomes[2:]] == [AmbiguousError] * 3
    assert link.one(get()) == 6, "each ran once"


def test_in_a_cut_pipeline_only_what_may_be_is_sent_again(link: OpenLink, proxy: FaultProxy) -> None:
    proxy.cut_replies(1)
    outcomes = link.execute([count("ss:{t}:a"), count("ss:{t}:b", resend=True), get()])
    assert isinstance(outcomes[0], AmbiguousError)
    assert outcomes[1:] == [2, 1]
    assert link.one(get("ss:{t}:a")) == 1


def test_a_dropped_reply_ends_at_the_deadline(link: OpenLink, proxy: FaultProxy) -> None:
    proxy.drop_replies = True
    begun = time.monotonic()
    error = link.one(count(), 0.2)
    assert time.monotonic() - begun < 0.2 + SCHEDULING
    assert isinstance(error, AmbiguousError)
    assert "gave no answer in time" in str(error)
    proxy.heal()
    assert link.one(get()) == 2


def test_a_dripping_reply_ends_at_the_deadline(link: OpenLink, proxy: FaultProxy) -> None:
    """Every byte comes in time, the whole answer does not: a timeout per read would never end."""
    proxy.drip = True
    begun = time.monotonic()
    error = link.one(lua("return string.rep('x', 10000)"), 0.3)
    assert time.monotonic() - begun < 0.3 + SCHEDULING
    assert isinstance(error, AmbiguousError)


def test_a_late_reply_answers_nobody(link: OpenLink, proxy: FaultProxy) -> None:
    proxy.delay = 0.15
    for number in range(5):
        assert isinstance(link.one(lua("return 'late'"), 0.05), AmbiguousError), number
    proxy.delay = 0.0
    for number in range(20):
        assert link.one(lua(f"return {number}")) == number


def test_a_black_hole_ends_at_the_deadline(link: OpenLink, proxy: FaultProxy) -> None:
    proxy.hold_requests = True
    begun = time.monotonic()
    assert isinstance(link.one(count(), 0.2), AmbiguousError)
    assert isinstance(link.one(count(resend=True), 0.2), AmbiguousError)
    assert time.monotonic() - begun < 0.4 + 2 * SCHEDULING


def test_a_stopped_server_ends_at_the_deadline(face: Face, standalone: LocalServer) -> None:
    link = face.open(standalone.url)
    assert link.one(count()) == 1
    standalone.pause()
    try:
        begun = time.monotonic()
        error = link.one(count(), 0.3)
        assert time.monotonic() - begun < 0.3 + SCHEDULING
        assert isinstance(error, AmbiguousError)
    finally:
        standalone.resume()
    assert link.one(count(resend=True)) == 3, "what was sent before runs when the server wakes up"


def test_a_login_that_is_not_answered_was_not_executed(face: Face, tmp_path: object) -> None:
    with LocalServer(password="secret") as server, FaultProxy("127.0.0.1", server.node.port) as proxy:
        link = face.open(f"redis://:secret@{proxy.address}")
        proxy.cut_all()
        link.wait_until_cut()
        proxy.drop_replies = True
        error = link.one(count(), 0.3)
        assert isinstance(error, UnreachableError)
        assert "did not answer our login in time" in str(error)
        proxy.heal()
        assert link.one(get()) == 0


def test_refused_connections_are_not_executed(link: OpenLink, proxy: FaultProxy) -> None:
    proxy.refuse()
    proxy.cut_all()
    link.wait_until_cut()
    begun = time.monotonic()
    error = link.one(count(), 0.4)
    assert 0.3 < time.monotonic() - begun < 0.4 + SCHEDULING, "it goes on trying until the deadline"
    assert isinstance(error, UnreachableError)
    assert str(error) == (
        f"script count was not carried out within 0.4 s: {proxy.address} refused the connection."
    )
    proxy.allow()
    assert link.one(count()) == 2


def test_connections_cut_at_rest_cost_nothing(link: OpenLink, proxy: FaultProxy) -> None:
    """Not even an ambiguous call, because the link looks before it sends."""
    for number in range(20):
        proxy.cut_all()
        link.wait_until_cut()
        assert link.one(count()) == number + 2


def test_a_restarted_server_is_found_again(face: Face, standalone: LocalServer) -> None:
    link = face.open(standalone.url)
    assert link.one(count()) == 1
    before = link.disturbances
    standalone.kill()
    standalone.launch()
    link.wait_until_cut()
    assert link.one(count()) == 1, "it kept nothing"
    assert link.disturbances > before


def test_disturbances_stay_put_while_nothing_happens(link: OpenLink) -> None:
    for _ in range(50):
        link.one(count())
    assert link.disturbances == 0


@pytest.mark.parametrize("trouble", ["cut", "refuse", "drop"])
def test_every_trouble_is_a_disturbance(link: OpenLink, proxy: FaultProxy, trouble: str) -> None:
    if trouble == "cut":
        proxy.cut_replies(1)
    elif trouble == "refuse":
        proxy.refuse()
        proxy.cut_all()
    else:
        proxy.drop_replies = True
    link.one(count(), 0.1)
    assert link.disturbances > 0


def test_a_server_full_of_clients_is_waited_for(face: Face, standalone: LocalServer) -> None:
    """Its refusal comes as the first reply on the new connection: nothing was executed, and it may pass."""
    link = face.open(standalone.url)
    with standalone.node.admin() as admin:
        admin.call("CONFIG", "SET", "maxclients", "1")
        admin.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        link.wait_until_cut()
        told: list[object] = []

        def refused() -> bool:
            # An attempt that begins just before the deadline is of unknown fate: ask again.
            told.append(link.one(count(), 0.3))
            return isinstance(told[-1], UnreachableError)

        poll(refused)
        assert "has reached its maxclients" in str(told[-1])
        assert admin.call("GET", "ss:{t}:n") is None
        admin.call("CONFIG", "SET", "maxclients", "1000")
    assert link.one(count()) == 1


def test_a_busy_script_is_waited_out(face: Face, standalone: LocalServer) -> None:
    link = face.open(standalone.url)
    standalone.node.call("CONFIG", "SET", "busy-reply-threshold", "20")
    with standalone.node.admin() as admin:
        admin._socket.sendall(b'EVAL "while true do end" 0\r\n')
        poll(lambda: "answered BUSY" in str(link.one(count(), 0.2)))
        standalone.node.call("SCRIPT", "KILL")
    assert isinstance(link.one(count()), int)


def test_a_refusal_is_not_repeated(link: OpenLink, proxy: FaultProxy) -> None:
    sent = proxy.requests
    assert isinstance(link.one(lua("return redis.error_reply('SSNO no.')", resend=True)), ServerRefusedError)
    assert proxy.requests <= sent + 2, "EVALSHA, and EVAL because the script was new"


def test_one_dead_node_does_not_hold_up_the_others(face: Face, cluster: LocalCluster) -> None:
    link = face.open(cluster.url)
    keys = spread(60)
    assert link.execute([count(key) for key in keys]) == [1] * 60
    victim = cluster.primary_of(SLOT)
    cluster.pause(victim)
    try:
        outcomes = link.execute([count(key) for key in keys], 0.4)
    finally:
        cluster.resume(victim)
    assert {type(outcome) for outcome in outcomes} == {int, AmbiguousError}
    answered = [outcome for outcome in outcomes if outcome == 2]
    assert len(answered) > 20
    values = link.execute([get(key) for key in keys])
    assert values == [2] * 60, "each ran once, answered or not"


def test_a_cluster_through_proxies(face: Face, cluster: LocalCluster) -> None:
    with proxied(cluster) as through:
        link = face.open(through.url)
        assert sorted(link.topology.primaries) == sorted(proxy.address for proxy in through.proxies)
        assert link.one(count()) == 1
        through.proxy_for(SLOT).cut_replies(1)
        assert isinstance(link.one(count()), AmbiguousError)
        assert link.one(get()) == 2
