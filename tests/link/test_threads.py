"""Threads and forks: one link, many hands."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sharedstate.link.sync import MAX_IDLE, Link
from sharedstate.link.url import parse_url
from sharedstate.local import LocalCluster, LocalServer, TlsFiles
from tests.support import poll

from .calls import count, get, lua, spread
from .forks import in_child

if TYPE_CHECKING:
    from .conftest import Certificates


def clients(server: LocalServer) -> int:
    return str(server.node.call("CLIENT", "LIST")).count("name=mx ")


def test_many_threads_get_their_own_answers(cluster: LocalCluster) -> None:
    link = Link.open(parse_url(cluster.url))
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(100):
            expected = f"{number}:{turn}".encode()
            (answer,) = link.execute([lua("return ARGV[1]", f"ss:{{{number}{turn}}}:n", expected)], 10.0)
            if answer != expected:
                wrong.append(answer)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    link.close()
    assert wrong == []


def test_idle_connections_are_bounded_and_closed(standalone: LocalServer) -> None:
    link = Link.open(parse_url(standalone.url, client_name="mx"))
    barrier = threading.Barrier(MAX_IDLE + 8)

    def work() -> None:
        barrier.wait()
        link.execute([lua("for i = 1, 100000 do redis.sha1hex('x') end return 1")], 30.0)

    threads = [threading.Thread(target=work) for _ in range(barrier.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    poll(lambda: clients(standalone) <= MAX_IDLE)
    link.close()
    poll(lambda: clients(standalone) == 0)


def test_one_thread_needs_one_connection_per_node(standalone: LocalServer) -> None:
    link = Link.open(parse_url(standalone.url, client_name="mx"))
    for key in spread(50):
        link.execute([count(key)])
    assert clients(standalone) == 1
    link.close()


def test_a_forked_child_leaves_the_parents_connections_alone(standalone: LocalServer) -> None:
    link = Link.open(parse_url(standalone.url, client_name="mx"))
    assert link.execute([count()]) == [1]
    mine = str(standalone.node.call("CLIENT", "LIST", "TYPE", "normal")).splitlines()

    def work() -> bool:
        return link.execute([count() for _ in range(3)]) == [2, 3, 4]

    for _ in range(3):
        assert in_child(work) == 0
        standalone.node.call("SET", "ss:{t}:n", 1)
    assert link.execute([get()]) == [1]
    still = str(standalone.node.call("CLIENT", "LIST", "TYPE", "normal")).splitlines()
    own = [line.split()[0] for line in mine if "name=mx" in line]
    assert own == [line.split()[0] for line in still if "name=mx" in line], "the same connection as before"
    link.close()


def test_a_fork_does_not_end_the_parents_tls(
    debian_server: str, certificates: Certificates, tmp_path: Path
) -> None:
    files = TlsFiles(certificates.server, certificates.server_key, certificates.authority)
    with LocalServer(server=debian_server, tls=files) as server:
        link = Link.open(parse_url(server.url, ssl_ca_certs=certificates.authority))
        assert link.execute([count()]) == [1]

        def work() -> bool:
            done = link.execute([count()]) == [2]
            link.close()
            gc.collect()
            return done

        assert in_child(work) == 0
        before = link.disturbances
        assert link.execute([count()]) == [3]
        assert link.disturbances == before
        link.close()


def test_a_fork_while_another_thread_is_in_a_call(standalone: LocalServer) -> None:
    link = Link.open(parse_url(standalone.url))
    link.execute([count()])
    begun = threading.Event()
    outcome: list[object] = []

    def wait() -> None:
        begun.set()
        outcome.extend(
            link.execute([lua("for i = 1, 3000000 do redis.sha1hex('x') end return 'done'")], 30.0)
        )

    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait()
    assert in_child(lambda: link.execute([get()], 30.0) == [1]) == 0
    thread.join()
    assert outcome == [b"done"]
    link.close()


def test_closing_lets_calls_under_way_finish(standalone: LocalServer) -> None:
    link = Link.open(parse_url(standalone.url, client_name="mx"))
    text = "for i = 1, tonumber(ARGV[1]) do redis.sha1hex('x') end return 'done'"
    link.execute([lua(text, "ss:{t}:n", 1)])
    outcome: list[object] = []
    slow = lua(text, "ss:{t}:n", 500_000)
    thread = threading.Thread(target=lambda: outcome.extend(link.execute([slow], 30.0)))
    thread.start()
    poll(lambda: not link._idle[link._routes.owner(0)])  # type: ignore[index]  # it has an owner
    link.close()
    thread.join()
    assert outcome == [b"done"]
    poll(lambda: clients(standalone) == 0)


@pytest.mark.parametrize("signal_like", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_call_spoils_nothing(
    standalone: LocalServer, signal_like: type[BaseException]
) -> None:
    """Ctrl-C in the middle of a call: its connection is not used again."""
    import signal

    link = Link.open(parse_url(standalone.url))
    link.execute([count()])

    def interrupt(*_: object) -> None:
        raise signal_like

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(signal_like):
            link.execute([lua("for i = 1, 1000000 do redis.sha1hex('x') end return 'late'")], 30.0)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert link.execute([lua("return 'mine'")], 30.0) == [b"mine"]
    link.close()
