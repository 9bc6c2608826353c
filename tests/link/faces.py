"""Both links behind one face, so that one test covers both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sharedstate.link.aio import AsyncLink
from sharedstate.link.sync import Link
from sharedstate.link.url import parse_url
from tests.support import poll

if TYPE_CHECKING:
    from sharedstate.call import Call, Flow, Outcome
    from sharedstate.link.topology import Topology

T = TypeVar("T")


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60.0)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5.0)
        self.loop.close()


class Face:
    """What a test talks to: a sync link, or an asyncio one with the awaiting done."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._loop = Loop() if kind == "aio" else None
        self._links: list[OpenLink] = []

    def open(self, url: str, timeout: float = 5.0, **options: Any) -> OpenLink:
        endpoint = parse_url(url, **options)
        link: Link | AsyncLink
        if self._loop is None:
            link = Link.open(endpoint, timeout)
        else:
            link = self._loop.wait(AsyncLink.open(endpoint, timeout))
        opened = OpenLink(link, self._loop)
        self._links.append(opened)
        return opened

    def close(self) -> None:
        for link in self._links:
            link.close()
        if self._loop is not None:
            self._loop.close()


class OpenLink:
    def __init__(self, link: Link | AsyncLink, loop: Loop | None) -> None:
        self.link = link
        self._loop = loop

    def execute(self, calls: Sequence[Call[Any]], timeout: float = 5.0) -> list[Outcome]:
        if isinstance(self.link, Link):
            return self.link.execute(calls, timeout)
        assert self._loop is not None
        return self._loop.wait(self.link.execute(calls, timeout))

    def one(self, call: Call[Any], timeout: float = 5.0) -> Outcome:
        (outcome,) = self.execute([call], timeout)
        return outcome

    def run(self, flow: Flow[T], timeout: float | None = None) -> T:
        if isinstance(self.link, Link):
            return self.link.run(flow, timeout)
        assert self._loop is not None
        return self._loop.wait(self.link.run(flow, timeout))

    def wait_until_cut(self) -> None:
        """Wait until the kernel knows that the idle connections are closed; a FIN takes its time."""
        link = self.link
        if isinstance(link, Link):
            poll(lambda: all(wire.stale() for wires in link._idle.values() for wire in wires))
        else:
            poll(lambda: not link._lanes)

    @property
    def topology(self) -> Topology:
        return self.link.topology

    @property
    def disturbances(self) -> int:
        return self.link.disturbances

    def close(self) -> None:
        if isinstance(self.link, Link):
            self.link.close()
        else:
            assert self._loop is not None
            self._loop.wait(self.link.aclose())
