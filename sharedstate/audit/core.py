"""What both faces of `state.audit` share: which series there are, and every question as a flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from sharedstate.call import Flow, only
from sharedstate.errors import InvalidValueError, UnknownNodeError, UnknownSeriesError
from sharedstate.keys import Keys
from sharedstate.objects import fleet

from . import calls, reading
from .clock import ServerClock
from .engine import AuditEngine, define_flow
from .local import LocalSeries
from .reading import Asked, Question
from .series import Monitor, Replicate, SeriesSpec, SeriesType
from .sketch import Durations
from .store import AuditMetrics, SeriesStore, check_count

__all__ = ["AuditCore", "MemberCore"]


class AuditCore:
    """The audit series as an observer sees them.

    Args:
        keys: key factory of the fleet.
        node: this process's node.
        manager: whether it sees what is replicated to managers only.
    """

    def __init__(self, keys: Keys, node: str, *, manager: bool = True) -> None:
        self.keys = keys
        self.node = node
        self.clock = ServerClock()
        self._manager = manager
        self._specs: dict[str, SeriesSpec] = {}
        self._nodes: set[str] = {node.lower()}
        self.locals: dict[str, LocalSeries] = {}

    # -- which series ---------------------------------------------------------------------------------------------

    def all_series(self) -> Flow[list[SeriesSpec]]:
        """Every series, those of this process alone included. One round trip."""
        self._specs.update((yield from only(calls.all_series(self.keys))))
        own = [local.spec for local in self.locals.values()]
        return sorted([*self._specs.values(), *own], key=lambda spec: spec.name)

    def spec(self, name: str) -> Flow[SeriesSpec]:
        """A series by name; no round trip once it is known.

        Raises:
            UnknownSeriesError: no such series; the message suggests the near name.
        """
        if name in self.locals:
            return self.locals[name].spec
        if name not in self._specs:
            known = yield from self.all_series()
            if name not in self._specs:
                raise UnknownSeriesError(name, [spec.name for spec in known])
        return self._specs[name]

    def visible(self, name: str) -> Flow[SeriesSpec]:
        """A series that this process may read."""
        spec = yield from self.spec(name)
        if spec.replicate is Replicate.MANAGER and not self._manager:
            raise InvalidValueError(
                f"series {name!r} is replicated to managers only: ask it with observe() or as a Manager."
            )
        return spec

    def node_names(self, name: str) -> Flow[list[str]]:
        """Nodes that counted in a series while its windows last, by name. One round trip, one call for each shard."""
        spec = yield from self.visible(name)
        if name in self.locals:
            return [self.node]
        return sorted((yield from reading.nodes_flow(self.keys, spec)))

    def _known_node(self, spec: SeriesSpec, node: str) -> Flow[None]:
        """Raise UnknownNodeError for a node that is not live and has no counts; each name is looked up once."""
        if node.lower() in self._nodes:
            return
        now = yield from only(fleet.look(self.keys))
        names = {*now.nodes}
        if node.lower() not in {name.lower() for name in names}:
            names |= yield from reading.nodes_flow(self.keys, spec)
        self._nodes |= {name.lower() for name in names}
        if node.lower() not in self._nodes:
            raise UnknownNodeError(node, names)

    # -- questions --------------------------------------------------------------------------------------------------

    def _ready(self, question: Question) -> Flow[Asked]:
        spec = yield from self.visible(question.series)
        asked = reading.plan(spec, question)
        if question.node is not None:
            if spec.name in self.locals:
                if question.node.lower() != self.node.lower():
                    raise InvalidValueError(
                        f"series {spec.name!r} is kept by this process alone, not by node {question.node!r}."
                    )
            else:
                yield from self._known_node(spec, question.node)
        return asked

    def counts(self, questions: Sequence[Question]) -> Flow[list[list[int]]]:
        """For each question, the count in each of its windows."""
        ready: list[Asked] = []
        for question in questions:
            spec = self._specs.get(question.series)
            if spec is None or question.node is not None or spec.replicate is Replicate.MANAGER:
                asked = yield from self._ready(question)
                ready.append(asked)
            else:
                ready.append(reading.plan(spec, question))
        if not self.locals:
            return (yield from reading.ask_flow(self.keys, self.clock, ready))
        return (yield from self._ask(questions, ready))

    def _ask(self, questions: Sequence[Question], ready: Sequence[Asked]) -> Flow[list[list[int]]]:
        shared = [one for one in ready if one.spec.name not in self.locals]
        found = iter((yield from reading.ask_flow(self.keys, self.clock, shared)) if shared else ())
        return [
            self.locals[one.spec.name].counts(question.key, one.monitor, one.windows)
            if one.spec.name in self.locals
            else next(found)
            for question, one in zip(questions, ready, strict=True)
        ]

    def smoothed(self, question: Question) -> Flow[float]:
        """The current window, and the one before weighted by how much of it a window-long look back still covers."""
        one = yield from self._ready(question)
        one = one._replace(windows=range(2))
        ((current, before),) = yield from self._ask([question], [one])
        past = self.clock.now() / one.monitor.interval % 1
        return float(current + before * (1 - past))

    def durations(self, question: Question) -> Flow[list[Durations]]:
        """The durations of a key in each of the windows asked for."""
        one = yield from self._ready(question)
        local = self.locals.get(question.series)
        if local is not None:
            return local.durations(question.key, one.monitor, one.windows)
        (found,) = yield from reading.durations_flow(self.keys, self.clock, [one])
        return found

    def reader(
        self, name: str, window: int, node: str | None, monitor: str | int | Monitor | None
    ) -> Flow[reading.WindowReader]:
        """A walk through one window of a series, counted back from the current one."""
        spec = yield from self.visible(name)
        if spec.type is SeriesType.TIME or name in self.locals:
            raise InvalidValueError(
                f"series {name!r} cannot be listed: durations and series of one process are asked for by key."
            )
        windows = Question(name, "", window, node=node, monitor=monitor).windows(spec.monitor(monitor))
        if node is not None:
            yield from self._known_node(spec, node)
        yield from self.know_time()
        chosen = spec.monitor(monitor)
        number = int(self.clock.now() // chosen.interval) - windows[0]
        return reading.WindowReader(self.keys, spec, chosen, number, node)

    def know_time(self) -> Flow[None]:
        """Ask the server's clock unless it is known."""
        if not self.clock.known:
            yield from define_flow(self.keys, self.clock, ())

    # -- corrections ------------------------------------------------------------------------------------------------

    def adjust(
        self,
        name: str,
        counts: Mapping[str, int],
        window: int,
        node: str | None,
        monitor: str | int | Monitor | None,
    ) -> Flow[None]:
        """Change counts by hand, in the window `window` of one monitor or (None) of every."""
        spec = yield from self.spec(name)
        if spec.type is SeriesType.TIME or name in self.locals:
            raise InvalidValueError(f"series {name!r} cannot be changed by hand.")
        fields: dict[bytes, int] = {}
        for key, count in counts.items():
            check_count(count)
            field = spec.field(key)
            fields[field] = fields.get(field, 0) + count
        chosen = spec.monitors if monitor is None else (spec.monitor(monitor),)
        for one in chosen:
            Question(name, "", window).windows(one)
        yield from self.know_time()
        now = self.clock.now()
        changes = [(one, int(now // one.interval) - window, fields) for one in chosen]
        yield from reading.adjust_flow(self.keys, self.clock, spec, node or self.node, changes)

    def remove(self, name: str, key: str, monitor: str | int | Monitor | None) -> Flow[int]:
        """Take a key out of every window of one monitor or (None) of every."""
        spec = yield from self.spec(name)
        chosen = spec.monitors if monitor is None else (spec.monitor(monitor),)
        if name in self.locals:
            return self.locals[name].remove(key, chosen)
        return (yield from reading.remove_flow(self.keys, self.clock, spec, key, chosen))

    def clear(self, name: str) -> Flow[None]:
        """Empty every window."""
        spec = yield from self.spec(name)
        if name in self.locals:
            self.locals[name].clear()
            return
        yield from self.know_time()
        yield from reading.clear_flow(self.keys, self.clock, spec)


class MemberCore(AuditCore):
    """The audit series as a member counts and sees them.

    Args:
        keys: key factory of the fleet.
        node: this member's node.
        manager: whether it sees what is replicated to managers only.
        wake: called when there is something to publish.
        replicate: who sees a series that is defined without saying so.
    """

    def __init__(
        self,
        keys: Keys,
        node: str,
        *,
        manager: bool,
        wake: Callable[[], None],
        replicate: Replicate = Replicate.NONE,
    ) -> None:
        super().__init__(keys, node, manager=manager)
        self.metrics = AuditMetrics()
        self.engine = AuditEngine(keys, node, self.metrics)
        self.clock = self.engine.clock
        self._wake = wake
        self._replicate = replicate

    def configured(self, specs: Iterable[tuple[SeriesSpec, float, int]]) -> None:
        """Take the configuration's series; the member's join registers them."""
        for spec, max_delay, max_pending in specs:
            self._take(spec, max_delay, max_pending)

    def _take(self, spec: SeriesSpec, max_delay: float, max_pending: int) -> None:
        if spec.replicate is Replicate.NONE:
            self.locals[spec.name] = LocalSeries(spec, self.clock)
            return
        self._specs[spec.name] = spec
        self.engine.stores[spec.name] = SeriesStore(
            spec, self.clock, self._wake, self.metrics, max_delay, max_pending
        )

    def define(
        self,
        name: str,
        monitor: str | Iterable[str | Monitor],
        type_: str,
        replicate: str | None,
        shards: int,
        max_delay: float,
        max_pending: int,
    ) -> Flow[SeriesSpec]:
        """Define a series, or find it defined alike."""
        spec = SeriesSpec.make(
            name, monitor, type_, self._replicate if replicate is None else replicate, shards
        )
        known = self.locals.get(name) or self.engine.stores.get(name)
        if known is not None and known.spec == spec:
            return spec
        if spec.replicate is not Replicate.NONE or name in self.engine.stores:
            yield from define_flow(self.keys, self.clock, [spec])
        elif known is not None:
            raise InvalidValueError(
                f"series {name!r} is defined otherwise in this process: give it a new name."
            )
        yield from self.know_time()
        self._take(spec, max_delay, max_pending)
        return spec

    def store(self, name: str) -> SeriesStore | LocalSeries:
        """This member's part of a series.

        Raises:
            UnknownSeriesError: it was not defined here.
        """
        found = self.engine.stores.get(name) or self.locals.get(name)
        if found is None:
            raise UnknownSeriesError(name, [*self.engine.stores, *self.locals])
        return found

    def close(self, reason: str) -> None:
        """Refuse every later event with ClosedError; what waits can still be published."""
        self.engine.close(reason)
        for local in self.locals.values():
            local.close(reason)
