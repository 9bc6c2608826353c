"""The core of `execute`: where each call goes next, and what each answer or failure means for it.

No I/O and no waiting here: `Pursuit.steps` yields batches to carry or seconds to wait, and the runners
(`sync`, `aio`) do that. Both therefore decide everything in the same way, deadline included.

Rule: a call that may not run twice is never in a second batch once all of it was sent and no answer came.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from hiredis import ReplyError

from sharedstate.errors import AmbiguousError, ServerRefusedError, SharedStateError, UnreachableError

from .batch import Batch, pack
from .faults import Verdict, refusal, verdict
from .topology import SLOTS, Steps, Topology, View, back_off, look_again
from .url import Address, Endpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharedstate.call import Call, Outcome

__all__ = ["PATIENCE", "Pursuit", "Routes", "decoded", "packed"]

#: Seconds the first attempt of a repeatable call may hang on a silent node; doubles with each attempt.
PATIENCE = 1.0
#: Redirections followed without a pause; more means that nodes disagree, and time settles that.
REDIRECTS = 5
#: Seconds between two looks at the topology, so that a long outage is no storm of questions.
LOOK_INTERVAL = 0.05
#: Seconds during which a node that failed is asked for the topology only after all others.
SUSPICION = 2.0


def packed(call: Call[Any], evaluate: bool = False) -> bytes:
    """A call as bytes: a script by its SHA, or with its whole text to load and run it at once."""
    script = call.script
    if script is None:
        return pack(call.args)
    if evaluate:
        return pack(("EVAL", script.text, *call.args))
    return pack(("EVALSHA", script.sha, *call.args))


class Routes:
    """What a link knows about its servers; shared by all of its threads or tasks.

    Attributes:
        owners: the primary of each slot.
        disturbances: grows whenever something may have lost acknowledged writes.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.disturbances = 0
        self._view = View(mode="standalone", owners=[None] * SLOTS, primaries=())
        self.owners = self._view.owners
        self._turn = 0
        self._stale = False
        self._looking = threading.Lock()
        self._next_look = 0.0
        self._hint: Address | None = None
        self._suspects: dict[Address, float] = {}

    def install(self, view: View) -> None:
        """Go by this view from now on."""
        self._view, self.owners = view, view.owners

    @property
    def topology(self) -> Topology:
        """The present view, for people."""
        view = self._view
        return Topology(
            mode=view.mode,
            server=view.server,
            primaries=tuple(map(str, view.primaries)),
            replicas=tuple(map(str, view.replicas)),
        )

    def owner(self, slot: int | None) -> Address | None:
        """Where a call of this slot goes; a call without one goes to each primary in turn."""
        if slot is not None:
            return self.owners[slot]
        primaries = self._view.primaries
        self._turn += 1
        return primaries[self._turn % len(primaries)] if primaries else None

    def moved(self, slot: int, address: Address) -> None:
        """A node said that this slot lives elsewhere now."""
        self.owners[slot] = address
        self._hint = address
        self.disturbed()

    def suspect(self, address: Address) -> None:
        """A node failed us."""
        self._suspects[address] = time.monotonic()
        self.disturbed()

    def disturbed(self) -> None:
        """Something is not as it was: look again, and let members check what they published."""
        self.disturbances += 1
        self._stale = True

    def claim_look(self) -> bool:
        """True when the caller is the one to look again now; it then calls `release_look`."""
        if not self._stale or time.monotonic() < self._next_look:
            return False
        return self._looking.acquire(blocking=False)

    def release_look(self) -> None:
        """The look is over, whatever came of it."""
        self._next_look = time.monotonic() + LOOK_INTERVAL
        self._looking.release()

    def look(self, until: float) -> Steps[None]:
        """Ask the servers who owns what, and use that."""
        now = time.monotonic()
        self._suspects = {who: when for who, when in self._suspects.items() if when > now - SUSPICION}
        self._stale = False
        hint = () if self._hint is None else (self._hint,)
        self._hint = None
        view = yield from look_again(self.endpoint, self._view, hint, set(self._suspects), until)
        if view.owners != self.owners:
            self.disturbances += 1
        self.install(view)

    def after_fork(self) -> None:
        """In a forked child: another thread of the parent may have held the lock."""
        self._looking = threading.Lock()


class _Pending:
    """One call on its way.

    Attributes:
        call: what to do.
        index: its place among the outcomes.
        due: monotonic time before which it is not sent again.
        tries: how often it failed.
        redirects: how often it was sent elsewhere.
        asking: where ASK sent it, for one attempt.
        evaluate: send the script's text.
        unsure: an earlier attempt may have been executed.
        trouble: who did what the last time, for the error.
    """

    __slots__ = ("asking", "call", "due", "evaluate", "index", "redirects", "tries", "trouble", "unsure")

    def __init__(self, call: Call[Any], index: int) -> None:
        self.call = call
        self.index = index
        self.due = 0.0
        self.tries = 0
        self.redirects = 0
        self.asking: Address | None = None
        self.evaluate = False
        self.unsure = False
        self.trouble = "there was no time to send it"

    @property
    def what(self) -> str:
        """The call's name for a sentence."""
        return f"script {self.call.script.name}" if self.call.script else str(self.call.args[0])

    def wait(self) -> None:
        """Not before a pause."""
        self.due = time.monotonic() + back_off(self.tries)
        self.tries += 1

    def redirected(self) -> None:
        """At once, unless nodes keep sending it around."""
        self.redirects += 1
        if self.redirects > REDIRECTS:
            self.wait()


class Pursuit:
    """The calls of one `execute`, until each has an outcome.

    Args:
        routes: where things are.
        calls: what to do; they may run side by side and in any order.
        timeout: seconds granted, for the sentences.
        until: monotonic deadline.
    """

    def __init__(self, routes: Routes, calls: Sequence[Call[Any]], timeout: float, until: float) -> None:
        self.outcomes: list[Outcome] = [None] * len(calls)
        self._routes = routes
        self._timeout = timeout
        self._until = until
        self._pending = {index: _Pending(call, index) for index, call in enumerate(calls)}
        self._cargo: list[tuple[Batch, list[_Pending], bool]] = []

    def adopt(self, batch: Batch) -> None:
        """Take over a batch that was carried already and holds the only call."""
        self._settle(batch, list(self._pending.values()), asking=False)

    def steps(self) -> Steps[None]:
        """What to do until every call has its outcome; see the module's text."""
        routes = self._routes
        while self._pending:
            if time.monotonic() >= self._until:
                self._give_up()
                return
            if routes.claim_look():
                try:
                    yield from routes.look(self._until)
                finally:
                    routes.release_look()
            batches = self._load()
            if batches:
                yield batches
                for batch, aboard, asking in self._cargo:
                    self._settle(batch, aboard, asking)
            if self._pending:
                now = time.monotonic()
                pause = min(min(one.due for one in self._pending.values()), self._until) - now
                if pause > 0:
                    yield pause

    def _load(self) -> list[Batch]:
        """Group what is due by node."""
        now = time.monotonic()
        groups: dict[tuple[Address, bool], list[_Pending]] = {}
        for one in self._pending.values():
            if one.due > now:
                continue
            address = one.asking or self._routes.owner(one.call.slot)
            if address is None:
                one.trouble = f"no node serves slot {one.call.slot}"
                one.wait()
                self._routes.disturbed()
                continue
            groups.setdefault((address, one.asking is not None), []).append(one)
        self._cargo = [
            (self._pack(address, aboard, asking, now, len(groups) == 1), aboard, asking)
            for (address, asking), aboard in groups.items()
        ]
        return [batch for batch, _, _ in self._cargo]

    def _pack(self, address: Address, aboard: list[_Pending], asking: bool, now: float, alone: bool) -> Batch:
        parts: list[bytes] = []
        ends: list[int] = []
        length = 0
        loaded: set[str] = set()
        for one in aboard:
            evaluate = False
            if one.evaluate and one.call.script is not None and one.call.script.sha not in loaded:
                # The first in the pipeline loads the script for the others.
                loaded.add(one.call.script.sha)
                evaluate = True
            if asking:
                parts.append(_ASKING)
                length += len(_ASKING)
                ends.append(length)
            part = packed(one.call, evaluate)
            parts.append(part)
            length += len(part)
            ends.append(length)
            one.asking = None
        until = self._until
        if all(one.call.resend for one in aboard):
            # A node that hangs may have been replaced meanwhile; whoever may ask twice need not wait for it.
            until = min(until, now + PATIENCE * 2.0 ** min(one.tries for one in aboard))
            if not alone:
                # Nor may it use up the time in which other nodes' calls go on (a script to load, a slot that moved).
                until = min(until, now + (self._until - now) / 2)
        return Batch(address, b"".join(parts), ends, until)

    def _settle(self, batch: Batch, aboard: list[_Pending], asking: bool) -> None:
        """Decide what becomes of each call of a batch that is done."""
        stride = 2 if asking else 1
        for number, one in enumerate(aboard):
            place = (number + 1) * stride - 1
            executed = batch.executed(place)
            if executed:
                reply = batch.replies[place]
                if (
                    asking
                    and isinstance(reply, ReplyError)
                    and isinstance(batch.replies[place - 1], ReplyError)
                ):
                    reply = batch.replies[place - 1]  # says more than that the call is in the wrong place
                self._answered(one, reply, batch.address)
            else:
                self._failed(one, batch, sent=executed is None)
        if batch.failure is not None:
            self._routes.suspect(batch.address)

    def _done(self, one: _Pending, outcome: Outcome) -> None:
        self.outcomes[one.index] = outcome
        del self._pending[one.index]

    def _answered(self, one: _Pending, reply: Any, address: Address) -> None:
        if not isinstance(reply, ReplyError):
            self._done(one, decoded(one.call, reply, address))
            return
        text = str(reply)
        kind = verdict(text)
        one.trouble = f"{address} answered {text.partition(' ')[0]}"
        if kind is Verdict.MOVED:
            slot, target = parse_redirect(text, address)
            self._routes.moved(slot, target)
            one.redirected()
        elif kind is Verdict.ASK:
            _, one.asking = parse_redirect(text, address)
            one.redirected()
        elif kind is Verdict.NOSCRIPT and one.call.script is not None:
            one.evaluate = True
            one.redirected()
        elif kind in (Verdict.WAIT, Verdict.REROUTE):
            one.wait()
            if kind is Verdict.REROUTE:
                self._routes.disturbed()
        else:
            user = self._routes.endpoint.username
            self._done(one, refusal(text, address, one.what, user))

    def _failed(self, one: _Pending, batch: Batch, *, sent: bool) -> None:
        failure = batch.failure
        assert failure is not None, "a batch without failure has every answer"
        one.trouble = f"{batch.address} {failure.reason}"
        one.unsure = one.unsure or sent
        if sent and not one.call.resend:
            self._done(one, self._ambiguous(one))
        elif failure.error is not None:
            self._done(one, self._ambiguous(one) if one.unsure else failure.error(failure.reason))
        else:
            one.wait()

    def _give_up(self) -> None:
        for one in list(self._pending.values()):
            if one.unsure:
                self._done(one, self._ambiguous(one))
            else:
                sentence = (
                    f"{one.what} was not carried out within {max(self._timeout, 0):g} s: {one.trouble}."
                )
                self._done(one, UnreachableError(sentence))

    def _ambiguous(self, one: _Pending) -> AmbiguousError:
        return AmbiguousError(f"{one.what} may or may not have been carried out: {one.trouble}.")


_ASKING = pack(("ASKING",))


def parse_redirect(text: str, sender: Address) -> tuple[int, Address]:
    """Slot and node of ``MOVED 3999 host:port`` or ``ASK ...``; a node without host is at the sender's."""
    _, slot, place = text.split()[:3]
    host, _, port = place.rpartition(":")
    return int(slot), Address(host.strip("[]") if host not in ("", "?") else sender.host, int(port))


def decoded(call: Call[Any], reply: Any, address: Address) -> Outcome:
    """The decoded answer, or an error instead of it: an odd answer must not take the caller down."""
    try:
        return call.decode(reply)
    except SharedStateError as error:
        return error
    except Exception as error:  # noqa: BLE001 - whatever a decoder trips over, the answer was not as documented
        what = f"script {call.script.name}" if call.script else str(call.args[0])
        sentence = (
            f"{address} answered {what} with something unexpected ({type(error).__name__}: {error}): "
            "another version of the software may share this Redis."
        )
        return ServerRefusedError("UNEXPECTED", sentence)
