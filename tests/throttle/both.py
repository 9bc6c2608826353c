"""Both faces behind one, so that one test covers both."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import sharedstate
from sharedstate import aio
from sharedstate.outbound.aio import AsyncOutbound
from sharedstate.throttle.aio import AsyncThrottle
from tests.link.faces import Loop

__all__ = ["Fleet", "fleet"]


class Waited:
    """An object whose awaiting is done for it."""

    def __init__(self, inner: Any, loop: Loop) -> None:
        self.inner = inner
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if isinstance(found, AsyncOutbound):
            return Waited(found, self._loop)
        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            told = [
                [(one.inner if isinstance(one, Waited) else one, n) for one, n in arg]
                if isinstance(arg, list)
                else arg
                for arg in args
            ]
            answer = found(*told, **options)
            if inspect.isawaitable(answer):
                answer = self._loop.wait(answer)  # type: ignore[arg-type]
            return Waited(answer, self._loop) if isinstance(answer, AsyncThrottle) else answer

        return call


class Fleet:
    """Members of a fleet, of either face; closed at the end."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._loop = Loop() if kind == "aio" else None
        self._members: list[Any] = []

    def connect(self, url: str, node: str = "a", **options: Any) -> Any:
        member: Any
        if self._loop is None:
            member = sharedstate.connect(url, node=node, **options)
        else:
            member = Waited(self._loop.wait(aio.connect(url, node=node, **options)), self._loop)
        self._members.append(member)
        return member

    def close(self) -> None:
        for member in self._members:
            member.close(1.0)
        if self._loop is not None:
            self._loop.close()


@pytest.fixture(params=["sync", "aio"])
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    opened = Fleet(request.param)
    yield opened
    opened.close()
