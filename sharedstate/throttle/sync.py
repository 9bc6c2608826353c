"""Throttles for ordinary (blocking) code: a thin runner of `sharedstate.throttle.flows`."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from sharedstate.errors import ClosedError
from sharedstate.link.sync import Link

from .bucket import Bucket, Tally
from .decision import DecidedBy, Decision
from .engine import ThrottleEngine
from .flows import Ask, Pause, Steps, ThrottleFlows
from .lease import LeasedBucket
from .spec import ThrottleSpec

__all__ = ["Throttle", "Throttles"]

_log = logging.getLogger("sharedstate")
R = TypeVar("R")


class Throttle:
    """A rate that the whole fleet keeps together: a token bucket in Redis.

    Safe to use from many threads. No check raises for what Redis does or leaves undone: within the throttle's timeout
    there is a decision, and `Decision.decided_by` says whose.
    """

    def __init__(self, throttles: Throttles, bucket: Bucket) -> None:
        self._throttles = throttles
        self._bucket = bucket
        self._spend = bucket.spend if isinstance(bucket, LeasedBucket) else _no_lease

    @property
    def name(self) -> str:
        """Its name."""
        return self._bucket.name

    @property
    def spec(self) -> ThrottleSpec:
        """The spec in force, as last seen; it may differ from the one this process came with."""
        return self._bucket.spec

    @property
    def counts(self) -> Mapping[DecidedBy, Tally]:
        """How many checks of this process each decider allowed and refused; a lease's tokens count when spent."""
        return self._bucket.counts()

    def check(self, cost: int = 1) -> Decision:
        """Take `cost` tokens if they are there.

        Strict: one round trip. Leased: none, but for one now and then that fetches many tokens.

        Raises:
            InvalidValueError: cost is not a whole number from 1 to the bucket's capacity.
            ClosedError: the state was closed.
        """
        spent = self._spend(cost)
        if spent is not None:
            return spent
        return self._throttles.run(self._throttles.flows.decide(self._bucket, cost))

    def peek(self) -> Decision:
        """What a check would be told now; nothing is taken. At most one round trip."""
        return self._throttles.run(self._throttles.flows.peek(self._bucket))

    def inc(self, n: int = 1) -> Decision:
        """Count n, whether or not they are there: for what has happened already. One round trip.

        The bucket may go below zero, by its capacity at most; later checks are refused until it has recovered.
        """
        return self._throttles.run(self._throttles.flows.inc(self._bucket, n))

    def dec(self, n: int = 1) -> None:
        """Give n back: for what was allowed and did not happen; a full bucket holds no more. One round trip."""
        self._throttles.run(self._throttles.flows.dec(self._bucket, n))

    def tarpit(self, max_wait: float, cost: int = 1) -> Decision:
        """Take tokens and wait until they are permissible; refused at once if that takes over `max_wait` seconds.

        Whoever waits has booked its tokens: the order is that of asking. One round trip, and the wait.
        """
        return self._throttles.run(self._throttles.flows.tarpit(self._bucket, max_wait, cost))


def _no_lease(_cost: int) -> None:
    return None


class Throttles:
    """All throttles of a state; made by it.

    Args:
        link: carries the calls.
        engine: the throttles.
        wake: set by the engine when a lease wants care.
    """

    def __init__(self, link: Link, engine: ThrottleEngine, wake: threading.Event) -> None:
        self.engine = engine
        self.flows = ThrottleFlows(engine, link.owner, self._tell)
        self._link = link
        self._wake = wake
        self._faces: dict[str, Throttle] = {}
        self._settled = threading.Condition()
        self._keeper: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False
        _all.add(self)

    def throttle(
        self, name: str, spec: str | ThrottleSpec, settings: dict[str, Any], *, define: bool = True
    ) -> Throttle:
        """A throttle by name, made if this process has none of it; see `State.throttle`."""
        face = self._faces.get(name)
        if face is None:
            bucket, made = self.engine.bucket(name, spec, **settings)
            if made and define:
                self.run(self.flows.define(bucket))
            self._start_keeper()
            face = self._faces.setdefault(name, Throttle(self, bucket))
        return face

    def check_all(
        self, wanted: Sequence[tuple[str | Throttle, int]], timeout: float | None = None
    ) -> Decision:
        """See `State.check_all`."""
        buckets = [
            (self.engine.find(entry) if isinstance(entry, str) else entry._bucket, cost)
            for entry, cost in wanted
        ]
        return self.run(
            self.flows.check_all(buckets, self.engine.defaults.timeout if timeout is None else timeout)
        )

    def run(self, flow: Steps[R]) -> R:
        """Drive a flow."""
        try:
            step = next(flow)
            while True:
                answer: Any = None
                if isinstance(step, Ask):
                    answer = self._link.execute(step.calls, step.timeout)
                elif isinstance(step, Pause):
                    time.sleep(step.seconds)
                else:
                    with self._settled:
                        self._settled.wait_for(step.over, step.seconds)
                step = flow.send(answer)
        except StopIteration as end:
            result: R = end.value
            return result
        finally:
            flow.close()

    def close(self) -> None:
        """Give back what is unspent."""
        self._closed = True
        self._wake.set()
        keeper = self._keeper
        if keeper is not None and keeper is not threading.current_thread():
            keeper.join(1.0)
        with contextlib.suppress(ClosedError):
            self.run(self.flows.settle(self.engine.leave()))
            self.run(self.flows.tell_news())
        self.engine.close("the state was closed; connect again.")

    def after_fork(self) -> None:
        """In a forked child: leases are the parent's, and are not spent twice."""
        self._closed = True
        self.engine.close("the throttle belongs to the parent of this forked process; connect in the child.")

    def _tell(self, _bucket: LeasedBucket) -> None:
        with self._settled:
            self._settled.notify_all()

    def _start_keeper(self) -> None:
        with self._starting:
            if self._keeper is None and not self._closed:
                self._keeper = threading.Thread(target=self._keep, name="sharedstate-throttles", daemon=True)
                self._keeper.start()

    def _keep(self) -> None:
        while not self._closed:
            self._wake.clear()
            wait = self.engine.due()
            if wait > 0:
                self._wake.wait(wait)
                continue
            try:
                self.run(self.flows.settle(self.engine.care()))
                self.run(self.flows.tell_news())
                self.run(self.flows.say_in_use())
            except ClosedError:
                return
            except Exception:  # noqa: BLE001 - the keeper must outlive everything; it tells and tries again
                _log.exception("looking after throttles failed unexpectedly")
                time.sleep(1.0)


_all: weakref.WeakSet[Throttles] = weakref.WeakSet()


def _forked() -> None:
    for throttles in list(_all):
        throttles.after_fork()


os.register_at_fork(after_in_child=_forked)
