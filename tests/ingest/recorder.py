"""Events, remembered."""

from __future__ import annotations

from collections import Counter

from sharedstate.ingest import PostfixLog


class Recorder:
    """What a log reader told, in order, and what follows from it."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.connections: Counter[str] = Counter()

    def inbound_connect(self, ip: str) -> None:
        self.told.append(("connect", ip))
        self.connections[ip] += 1

    def inbound_disconnect(self, ip: str) -> None:
        self.told.append(("disconnect", ip))
        self.connections[ip] -= 1
        assert self.connections[ip] >= 0, f"more disconnects than connects of {ip}"

    def reception(self, ip: str) -> None:
        self.told.append(("reception", ip))

    def rejection(self, ip: str) -> None:
        self.told.append(("rejection", ip))

    def delivery(self, domain: str, seconds: float) -> None:
        self.told.append(("delivery", domain, seconds))

    def transfail(self, domain: str) -> None:
        self.told.append(("transfail", domain))

    def permfail(self, domain: str) -> None:
        self.told.append(("permfail", domain))

    def count(self, kind: str) -> Counter[object]:
        return Counter(event[1] for event in self.told if event[0] == kind)


def told(*lines: str) -> list[tuple[object, ...]]:
    """What these lines tell a reader that knows nothing else."""
    recorder = Recorder()
    PostfixLog(recorder).feed("\n".join(lines).encode())
    return recorder.told
