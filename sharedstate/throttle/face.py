"""What observers and members do with throttles, for ordinary (blocking) code."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sharedstate.objects.throttle import BucketView

from .decision import Decision
from .engine import ThrottleEngine, ThrottleStats
from .reading import change_flow, check_flow, list_flow, names_flow, reset_flow, view_flow
from .spec import ThrottleSpec, parse_spec
from .sync import Throttle, Throttles

if TYPE_CHECKING:
    from sharedstate.call import Flow
    from sharedstate.keys import Keys
    from sharedstate.link.sync import Link
    from sharedstate.settings import Settings

__all__ = ["Throttling"]


class Throttling:
    """The part of an `Observer` and a `State` that is about throttles."""

    node: str
    _keys: Keys
    _link: Link
    _settings: Settings

    if TYPE_CHECKING:

        def _run(self, flow: Flow[Any]) -> Any: ...

    def throttle(
        self,
        name: str,
        spec: str | ThrottleSpec | None = None,
        *,
        mode: str | None = None,
        policy: str | None = None,
        timeout: float | None = None,
        epsilon: float | None = None,
    ) -> Throttle:
        """A rate that the whole fleet keeps together. One round trip the first time, none later.

        Creating a throttle that the fleet has changes nothing: `Throttle.spec` tells the spec in force.

        Args:
            name: 1 to 1024 printable characters without blanks, such as ``tenant:7``.
            spec: ``30``, ``30/1``, ``1/60``, ``1,000/hr``, ``20/30min``, ``60/min,max_burst=1``; None takes what
                is in force.
            mode: ``strict`` asks Redis once for each check, ``leased`` fetches many tokens at a time; the
                configured one by default.
            policy: who decides when Redis cannot be asked in time: ``local`` (this process's share of the
                rate), ``open`` or ``closed``; the configured one by default.
            timeout: seconds one check may take; 0.05 unless configured.
            epsilon: share of the tokens left that one lease may take, 0.95 by default.

        Raises:
            InvalidThrottleError: the spec is none.
            InvalidValueError: another argument is not acceptable.
            UnknownThrottleError: no spec was given, and the fleet has no such throttle.
            LinkError: no spec was given, and Redis did not answer.
        """
        if spec is None:
            spec = self._run(view_flow(self._keys, name)).spec
        settings: dict[str, Any] = {"mode": mode, "policy": policy, "timeout": timeout, "epsilon": epsilon}
        return self._throttles.throttle(name, spec, settings)

    def check_all(
        self, wanted: Sequence[tuple[str | Throttle, int]], timeout: float | None = None
    ) -> Decision:
        """Take tokens of several throttles, all or nothing.

        They are asked in order; when one refuses, what was taken of those before goes back, and the decision is
        its own: `Decision.throttle` names it, `retry_after` says when to come back. When all allow, it is that of the
        one with the least left. One round trip for each strict throttle, and one for giving back.

        Args:
            wanted: throttles (or names of throttles this process has) with the tokens wanted.
            timeout: seconds for all of it; the configured one by default.

        Raises:
            UnknownThrottleError: this process has no throttle of that name.
            InvalidValueError: a number of tokens is not acceptable.
        """
        return self._throttles.check_all(wanted, timeout)

    def throttles(self, match: str | None = None) -> dict[str, BucketView]:
        """Throttles in use lately, by name; `match` is a pattern like ``tenant:*``. Two round trips for 500 of them."""
        found: dict[str, BucketView] = self._run(list_flow(self._keys, match))
        return found

    def throttle_names(self) -> list[str]:
        """Names of the throttles in use lately, sorted. One round trip."""
        found: list[str] = self._run(names_flow(self._keys))
        return found

    def throttle_view(self, name: str) -> BucketView:
        """One throttle as it is now: what is left, and who took what. One round trip.

        Raises:
            UnknownThrottleError: the fleet has none of this name; the message suggests the near one.
        """
        view: BucketView = self._run(view_flow(self._keys, name))
        return view

    def check_throttle(
        self, name: str, spec: str | ThrottleSpec | None = None, *, cost: int = 1, peek: bool = False
    ) -> Decision:
        """Check once, strictly, for programs that end afterwards. One round trip.

        One more without a spec, for more than one token, and for the first check of a node.

        Use `throttle` for everything that lives longer: it keeps the spec, can lease, and has a policy for when Redis
        does not answer. Here the error says so.

        Args:
            name: as for `throttle`.
            spec: what the throttle is made with if the fleet has none; None asks for one that is there.
            cost: tokens.
            peek: take nothing and make nothing, only tell what a check would be told; `retry_after` may then be too
                long by the time one token takes to come back.

        Raises:
            InvalidThrottleError: the spec is none.
            InvalidValueError: cost is not a whole number from 1 to the bucket's capacity.
            UnknownThrottleError: no spec was given, and the fleet has no such throttle.
            LinkError: Redis did not decide; after an `AmbiguousError` the tokens may be taken.
        """
        decision: Decision = self._run(
            check_flow(self._keys, self.node, name, spec, cost, peek, int(time.time()))
        )
        return decision

    def set_throttle(self, name: str, spec: str | ThrottleSpec) -> BucketView:
        """Give a throttle another spec for the whole fleet, at once; what was spent stays spent. Three round trips.

        The spec stays until it is set again, whatever members come with.

        Raises:
            InvalidThrottleError: the spec is none; nothing was changed.
            LinkError: Redis did not take it.
        """
        wanted = spec if isinstance(spec, ThrottleSpec) else parse_spec(spec)
        view: BucketView = self._run(change_flow(self._keys, name, wanted, int(time.time())))
        return view

    def reset_throttle(self, name: str) -> BucketView:
        """Fill a throttle's bucket; what is leased out stays out. Two round trips.

        Raises:
            UnknownThrottleError: as for `throttle_view`.
        """
        view: BucketView = self._run(reset_flow(self._keys, name))
        return view

    def throttle_stats(self) -> ThrottleStats:
        """What this process's throttles decided so far: numbers to export. No I/O."""
        return self._throttles.engine.stats()

    @functools.cached_property
    def _throttles(self) -> Throttles:
        wake = threading.Event()
        engine = ThrottleEngine(
            self._keys, self.node, os.getpid(), self._settings.throttles, self._live_members, wake.set
        )
        return Throttles(self._link, engine, wake)

    def _live_members(self) -> int:
        return 1

    def _close_throttles(self) -> None:
        if "_throttles" in self.__dict__:
            self._throttles.close()
