"""What observers and members do with throttles, for asyncio; see `sharedstate.throttle.face`."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sharedstate.objects.throttle import BucketView

from .aio import AsyncThrottle, AsyncThrottles
from .decision import Decision
from .engine import ThrottleEngine, ThrottleStats
from .reading import change_flow, check_flow, list_flow, names_flow, reset_flow, view_flow
from .spec import ThrottleSpec, parse_spec

if TYPE_CHECKING:
    from sharedstate.call import Flow
    from sharedstate.keys import Keys
    from sharedstate.link.aio import AsyncLink
    from sharedstate.settings import Settings

__all__ = ["AsyncThrottling"]


class AsyncThrottling:
    """The part of an `AsyncObserver` and an `AsyncState` that is about throttles."""

    node: str
    _keys: Keys
    _link: AsyncLink
    _settings: Settings

    if TYPE_CHECKING:

        async def _run(self, flow: Flow[Any]) -> Any: ...

    async def throttle(
        self,
        name: str,
        spec: str | ThrottleSpec | None = None,
        *,
        mode: str | None = None,
        policy: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the throttle, not of this call
        epsilon: float | None = None,
    ) -> AsyncThrottle:
        """A rate that the whole fleet keeps together; arguments and errors as for `sharedstate.Observer.throttle`."""
        if spec is None:
            spec = (await self._run(view_flow(self._keys, name))).spec
        settings: dict[str, Any] = {"mode": mode, "policy": policy, "timeout": timeout, "epsilon": epsilon}
        return await self._throttles.throttle(name, spec, settings)

    async def check_all(
        self,
        wanted: Sequence[tuple[str | AsyncThrottle, int]],
        timeout: float | None = None,  # noqa: ASYNC109 - ends sent work, too
    ) -> Decision:
        """Take tokens of several throttles, all or nothing; as `sharedstate.Observer.check_all`."""
        return await self._throttles.check_all(wanted, timeout)

    async def throttles(self, match: str | None = None) -> dict[str, BucketView]:
        """Throttles in use lately, by name."""
        found: dict[str, BucketView] = await self._run(list_flow(self._keys, match))
        return found

    async def throttle_names(self) -> list[str]:
        """Names of the throttles in use lately, sorted."""
        found: list[str] = await self._run(names_flow(self._keys))
        return found

    async def throttle_view(self, name: str) -> BucketView:
        """One throttle as it is now; raises UnknownThrottleError."""
        view: BucketView = await self._run(view_flow(self._keys, name))
        return view

    async def check_throttle(
        self, name: str, spec: str | ThrottleSpec | None = None, *, cost: int = 1, peek: bool = False
    ) -> Decision:
        """Check once, strictly, for programs that end afterwards; as `sharedstate.Observer.check_throttle`."""
        decision: Decision = await self._run(
            check_flow(self._keys, self.node, name, spec, cost, peek, int(time.time()))
        )
        return decision

    async def set_throttle(self, name: str, spec: str | ThrottleSpec) -> BucketView:
        """Give a throttle another spec for the whole fleet; errors as for `sharedstate.Observer.set_throttle`."""
        wanted = spec if isinstance(spec, ThrottleSpec) else parse_spec(spec)
        view: BucketView = await self._run(change_flow(self._keys, name, wanted, int(time.time())))
        return view

    async def reset_throttle(self, name: str) -> BucketView:
        """Fill a throttle's bucket; raises UnknownThrottleError."""
        view: BucketView = await self._run(reset_flow(self._keys, name))
        return view

    def throttle_stats(self) -> ThrottleStats:
        """What this process's throttles decided so far: numbers to export. No I/O."""
        return self._throttles.engine.stats()

    @functools.cached_property
    def _throttles(self) -> AsyncThrottles:
        wake = asyncio.Event()
        engine = ThrottleEngine(
            self._keys, self.node, os.getpid(), self._settings.throttles, self._live_members, wake.set
        )
        return AsyncThrottles(self._link, engine, wake)

    def _live_members(self) -> int:
        return 1

    async def _close_throttles(self) -> None:
        if "_throttles" in self.__dict__:
            await self._throttles.close()
