"""asyncio: a thousand tasks on a few connections, and tasks that are cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from sharedstate.errors import AmbiguousError, ClosedError, UnreachableError
from sharedstate.link.aio import AsyncLink
from sharedstate.link.url import parse_url
from tests.support import apoll

from .calls import count, get, lua, spread
from .forks import in_child

if TYPE_CHECKING:
    from sharedstate.local import LocalCluster, LocalServer
    from tests.proxy import FaultProxy


@pytest.fixture
async def link(cluster: LocalCluster) -> AsyncIterator[AsyncLink]:
    opened = await AsyncLink.open(parse_url(cluster.url, client_name="mx"))
    yield opened
    await opened.aclose()


@pytest.fixture
async def through(proxy: FaultProxy) -> AsyncIterator[AsyncLink]:
    """A link through the proxy, connected and with the script loaded."""
    opened = await AsyncLink.open(parse_url(f"redis://{proxy.address}"))
    assert await opened.execute([count()]) == [1]
    yield opened
    await opened.aclose()


async def test_a_thousand_tasks_share_one_connection_per_node(link: AsyncLink, cluster: LocalCluster) -> None:
    keys = spread(1000)

    async def work(key: str) -> list[int]:
        return [answer for _ in range(5) for answer in await link.execute([count(key)], 20.0)]

    assert await asyncio.gather(*map(work, keys)) == [[1, 2, 3, 4, 5]] * 1000
    for node in cluster.nodes:
        assert str(node.call("CLIENT", "LIST")).count("name=mx ") == 1


async def test_tasks_of_one_turn_share_a_write(through: AsyncLink, proxy: FaultProxy) -> None:
    before = proxy.requests
    await asyncio.gather(*(through.execute([count()]) for _ in range(500)))
    assert proxy.requests - before <= 4, "25 kB in one or a few pieces"


async def test_each_task_gets_its_own_answer_while_others_are_cancelled(link: AsyncLink) -> None:
    async def work(number: int) -> None:
        for turn in range(10):
            text = f"{number}:{turn}".encode()
            key = f"ss:{{{number % 7}}}:n"
            assert await link.execute([lua("return ARGV[1]", key, text)], 20.0) == [text]

    async def nuisance(number: int) -> None:
        for turn in range(10):
            task = asyncio.create_task(link.execute([lua("return 'not yours'", f"ss:{{{number}}}:n")], 20.0))
            for _ in range(turn % 4):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    await asyncio.gather(*map(work, range(100)), *map(nuisance, range(50)))


async def test_a_call_cancelled_after_it_is_sent_keeps_the_stream_in_step(
    through: AsyncLink, proxy: FaultProxy
) -> None:
    proxy.delay = 0.1
    tasks = [asyncio.create_task(through.execute([lua(f"return {number}")])) for number in range(10)]
    await apoll(lambda: proxy.requests > 3)
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for number, outcome in enumerate(outcomes):
        if number % 2:
            assert outcome == [number]
        else:
            assert isinstance(outcome, asyncio.CancelledError)


async def test_wait_for_works(through: AsyncLink, proxy: FaultProxy) -> None:
    proxy.delay = 0.3
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(through.execute([lua("return 'late'")]), 0.05)
    proxy.delay = 0.0
    assert await through.execute([lua("return 'mine'")]) == [b"mine"]


async def test_deadlines_of_tasks_on_one_connection_are_their_own(
    through: AsyncLink, proxy: FaultProxy
) -> None:
    proxy.delay = 0.4
    short, long = await asyncio.gather(
        through.execute([count()], 0.1),
        through.execute([lua("return 'patient'")], 10.0),
    )
    assert isinstance(short[0], AmbiguousError)
    assert long == [b"patient"]
    proxy.delay = 0.0
    assert await through.execute([get()]) == [2]


async def test_what_was_not_sent_in_time_is_never_sent(proxy: FaultProxy, standalone: LocalServer) -> None:
    """It waits for a login that hangs; when that comes through, nobody waits any more."""
    standalone.node.call("CONFIG", "SET", "requirepass", "pw")
    standalone.node.password = "pw"
    link = await AsyncLink.open(parse_url(f"redis://:pw@{proxy.address}"))
    assert await link.execute([count()]) == [1]
    proxy.cut_all()
    await apoll(lambda: link.disturbances > 0)
    proxy.delay = 0.4
    cancelled = asyncio.create_task(link.execute([count()], 10.0))
    asyncio.get_running_loop().call_later(0.1, cancelled.cancel)
    short, long = await asyncio.gather(
        link.execute([count()], 0.1), link.execute([lua("return 'patient'")], 10.0)
    )
    assert cancelled.cancelled(), cancelled
    assert isinstance(short[0], UnreachableError)
    assert long == [b"patient"]
    assert await link.execute([get()]) == [1]
    await link.aclose()


async def test_a_hanging_server_gets_no_new_calls_on_the_old_connection(
    through: AsyncLink, proxy: FaultProxy
) -> None:
    proxy.drop_replies = True
    (lost,) = await through.execute([count()], 0.1)
    assert isinstance(lost, AmbiguousError)
    proxy.heal()
    before = proxy.accepted
    assert await through.execute([count()]) == [3]
    assert proxy.accepted == before + 1


async def test_closing_ends_calls_under_way(through: AsyncLink, proxy: FaultProxy) -> None:
    proxy.delay = 5.0
    task = asyncio.create_task(through.execute([count()], 10.0))
    await apoll(lambda: proxy.requests >= 4)
    await through.aclose()
    (outcome,) = await task
    assert isinstance(outcome, AmbiguousError)
    with pytest.raises(ClosedError):
        await through.execute([count()])


async def test_a_forked_child_is_told_to_open_its_own(through: AsyncLink) -> None:
    def work() -> bool:
        with pytest.raises(ClosedError, match="belongs to the parent process"):
            through.execute([count()]).send(None)
        return True

    assert in_child(work) == 0
    assert await through.execute([get()]) == [1]


async def test_open_twice_in_one_loop(cluster: LocalCluster) -> None:
    links = await asyncio.gather(*(AsyncLink.open(parse_url(cluster.url)) for _ in range(5)))
    for link in links:
        assert len(await link.execute([get(key) for key in spread(9)])) == 9
        await link.aclose()
