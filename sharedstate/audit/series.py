"""What an audit series is: its name, what it counts, over which windows, and who sees it."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from sharedstate.config.model import Monitor
from sharedstate.errors import InvalidAddressError, InvalidValueError, ServerRefusedError
from sharedstate.names import V4, V6, address_field, field_text
from sharedstate.specs import DEFAULT_SHARDS, MAX_SHARDS, check_name

__all__ = ["EVERYTHING", "MERGED", "Monitor", "Replicate", "SeriesSpec", "SeriesType", "parse_monitors"]

#: Key of a domain series that counts the events of all domains.
EVERYTHING = "*"
#: Key under which a string series counts what was merged because too much waited; see `store`.
MERGED = "~merged"

#: Added to the last window's end before Redis forgets it: late flushes and exports still find it.
_GRACE = 60

_MONITOR = re.compile(r"([0-9]{1,8}) *, *([0-9]{1,5})\Z")
_YEAR = 366 * 86_400


class SeriesType(enum.StrEnum):
    """What the keys of a series are."""

    CIDR = "cidr"  # IPv4 addresses
    CIDR_IPV6 = "cidr_ipv6"
    CIDR_ANY = "cidr_any"  # both; the built-in series of mail events
    STRING = "string"
    TIME = "time"  # strings, with a number of seconds each: mean and quantiles

    @property
    def is_cidr(self) -> bool:
        """Whether keys are addresses and blocks can be asked for."""
        return self in _FAMILIES


_FAMILIES = {SeriesType.CIDR: (V4,), SeriesType.CIDR_IPV6: (V6,), SeriesType.CIDR_ANY: (V4, V6)}


class Replicate(enum.StrEnum):
    """Who sees what is counted."""

    NONE = "none"  # this process
    CLUSTER = "cluster"  # everybody
    MANAGER = "manager"  # managers and observers


def parse_monitors(monitors: str | Iterable[str | Monitor]) -> tuple[Monitor, ...]:
    """Monitors as written: ``"300,6"`` is six windows of 300 s; several in a list, or separated by blanks.

    Raises:
        InvalidValueError: it is no such thing; the sentence shows the form.
    """
    written = re.sub(r"\s*,\s*", ",", monitors).split() if isinstance(monitors, str) else monitors
    found: dict[int, Monitor] = {}
    for one in written:
        match = _MONITOR.match(one) if isinstance(one, str) else None
        monitor = Monitor(int(match[1]), int(match[2])) if match else one
        if (
            not isinstance(monitor, Monitor)
            or not 1 <= monitor.interval <= _YEAR
            or not 1 <= monitor.count <= 10_000
        ):
            raise InvalidValueError(
                f'a monitor is "seconds,windows", such as "300,6" for six windows of 300 s; found {one!r}.'
            )
        # Two monitors of one interval are one set of windows; the longer contains the shorter.
        known = found.get(monitor.interval)
        found[monitor.interval] = monitor if known is None or known.count < monitor.count else known
    if not found:
        raise InvalidValueError('a series needs a monitor, such as "300,6" for six windows of 300 s.')
    return tuple(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSpec:
    """One audit series.

    Attributes:
        name: letters, digits, ``. _ -``.
        type: what its keys are.
        monitors: its windows: one or several intervals in seconds, each with a number of windows.
        replicate: who sees the counts.
        shards: over how many hash tags the keys are spread; fixed once the fleet has it.
    """

    name: str
    type: SeriesType
    monitors: tuple[Monitor, ...]
    replicate: Replicate = Replicate.NONE
    shards: int = DEFAULT_SHARDS

    def __post_init__(self) -> None:
        check_name(self.name, "series")
        if not 1 <= self.shards <= MAX_SHARDS:
            raise InvalidValueError(
                f"series {self.name!r} has {self.shards} shards; allowed: 1 to {MAX_SHARDS}."
            )

    @classmethod
    def make(
        cls,
        name: str,
        monitor: str | Iterable[str | Monitor],
        type: str,  # noqa: A002 - the word of the configuration
        replicate: str,
        shards: int = DEFAULT_SHARDS,
    ) -> SeriesSpec:
        """A spec from texts.

        Raises:
            InvalidValueError: type, monitor, replicate, shards or name is not acceptable.
        """
        if type not in list(SeriesType):
            raise InvalidValueError(f"series {name!r} has type {type!r}; known: {', '.join(SeriesType)}.")
        if replicate not in list(Replicate):
            raise InvalidValueError(
                f"series {name!r} has replicate {replicate!r}; known: {', '.join(Replicate)}."
            )
        return cls(
            name=name,
            type=SeriesType(type),
            monitors=parse_monitors(monitor),
            replicate=Replicate(replicate),
            shards=shards,
        )

    def field(self, key: str) -> bytes:
        """Canonical form of a key to count.

        Raises:
            InvalidAddressError: the series counts addresses and this is none, or one of the other family.
            InvalidValueError: a text that is empty or too long.
        """
        if self.type.is_cidr:
            field = address_field(key)
            self.check_family(field[:1], key)
            return field
        if not isinstance(key, str) or not key or len(key) > 512 or not key.isprintable():
            raise InvalidValueError(
                f"{key!r} is not a key of series {self.name!r}: give a text of 1 to 512 printable characters."
            )
        return key.encode()

    def check_family(self, family: bytes, key: str) -> None:
        """Raise InvalidAddressError if addresses of this family are not counted here."""
        if family not in _FAMILIES[self.type]:
            wanted = "IPv4" if self.type is SeriesType.CIDR else "IPv6"
            raise InvalidAddressError(
                f"{key!r} is not counted by series {self.name!r}, whose type {self.type} takes {wanted}."
            )

    def text(self, field: bytes) -> str:
        """The key of a field."""
        return field_text(field) if self.type.is_cidr else field.decode("utf-8", "replace")

    def monitor(self, wanted: str | Monitor | int | None = None) -> Monitor:
        """The monitor asked for: by its text, its interval, or the first when nothing is said.

        Raises:
            InvalidValueError: the series has no such windows.
        """
        if wanted is None or wanted is self.monitors[0]:
            return self.monitors[0]
        interval = wanted if isinstance(wanted, int) else parse_monitors([wanted])[0].interval
        for monitor in self.monitors:
            if monitor.interval == interval:
                return monitor
        raise InvalidValueError(
            f"series {self.name!r} has no windows of {interval} s; it has {' '.join(map(str, self.monitors))}."
        )

    def ends(self, monitor: Monitor, window: int) -> int:
        """Server time in ms at which a window is over for good: it left the series some time ago."""
        return ((window + monitor.count + 1) * monitor.interval + _GRACE) * 1000

    def idle(self, monitor: Monitor) -> int:
        """Milliseconds after which no batch of a silent source could count any more."""
        return (monitor.interval * (monitor.count + 2) + 2 * _GRACE) * 1000

    def to_text(self) -> str:
        """As stored in Redis."""
        told = {
            "name": self.name,
            "type": self.type,
            "monitors": [str(monitor) for monitor in self.monitors],
            "replicate": self.replicate,
            "shards": self.shards,
        }
        return json.dumps(told, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: bytes) -> SeriesSpec:
        """The opposite of `to_text`.

        Raises:
            ServerRefusedError: something else is stored.
        """
        try:
            told = json.loads(text)
            return cls.make(
                told["name"], told["monitors"], told["type"], told["replicate"], int(told["shards"])
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ServerRefusedError(
                "SPEC", f"an audit series' spec in Redis is not ours: {error}."
            ) from error
