"""What several benchmarks share: made-up items, a bare pipeline to one server, and publishing straight to it."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Sequence
from typing import Any

import hiredis

from sharedstate.call import Call
from sharedstate.keys import Keys
from sharedstate.objects import gauge
from sharedstate.objects.store import GaugeStore
from sharedstate.scripts import all_scripts
from sharedstate.specs import ObjectSpec

Command = Sequence[bytes | str | int]


def clustered_v4(count: int, seed: int = 1) -> list[str]:
    """Addresses as mail has them: networks of neighbours, about 100 addresses in a /24."""
    rng = random.Random(seed)
    networks = rng.sample(range(1 << 16, 223 << 16), count // 100 + 1)
    hosts = (network << 8 | host for network in networks for host in rng.sample(range(256), 100))
    return [dotted(value) for value, _ in zip(hosts, range(count), strict=False)]


def uniform_v4(count: int, seed: int = 2) -> list[str]:
    """Addresses with nothing in common: the worst case, which no real traffic reaches."""
    return [dotted(value) for value in random.Random(seed).sample(range(1 << 24, 223 << 24), count)]


def clustered_v6(count: int, seed: int = 3) -> list[str]:
    """Ten addresses in each /64, 100 /64s in each /48, the /48s in 200 /32s."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        provider = number // 1000 % 200
        found.append(
            f"2a{provider:02x}:{provider * 37 % 65536:x}:{number // 1000:x}:{number // 10 % 100:x}"
            f"::{rng.randrange(1, 1 << 16):x}:{number % 10:x}"
        )
    return found


def uniform_v6(count: int, seed: int = 6) -> list[str]:
    """A /48 of its own in 2000::/3 and a random host part for each address: the worst case."""
    rng = random.Random(seed)
    networks = rng.sample(range(1 << 45), count)
    return [
        socket.inet_ntop(socket.AF_INET6, (1 << 125 | network << 80 | rng.getrandbits(64)).to_bytes(16))
        for network in networks
    ]


def domains(count: int) -> list[str]:
    """Domain names of 12 to 30 characters."""
    words = ("mail", "example", "newsletter", "shop", "corp", "cloud", "university", "bank")
    return [
        f"{words[number % 8]}-{number:x}.{('com', 'org', 'co.uk', 'de')[number % 4]}"
        for number in range(count)
    ]


def dotted(value: int) -> str:
    return socket.inet_ntoa(value.to_bytes(4))


class Pipe:
    """A bare connection to one server that takes many commands at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), 60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()

    def call(self, *words: bytes | str | int) -> Any:
        (reply,) = self.send([words])
        return reply

    def send(self, commands: Iterable[Command], chunk: int = 1000) -> list[Any]:
        """Replies to all commands, `chunk` of them under way at a time."""
        packed = [hiredis.pack_command(tuple(command)) for command in commands]  # type: ignore[arg-type]  # its stub
        replies: list[Any] = []
        for first in range(0, len(packed), chunk):
            part = packed[first : first + chunk]
            self._socket.sendall(b"".join(part))
            wanted = len(replies) + len(part)
            while len(replies) < wanted:
                reply = self._reader.gets()
                if reply is False:
                    self._reader.feed(self._socket.recv(1 << 20))
                elif isinstance(reply, hiredis.ReplyError):
                    raise reply
                else:
                    replies.append(reply)
        return replies

    def info(self, section: str) -> dict[str, str]:
        lines = self.call("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def load_scripts(self) -> None:
        self.send([("SCRIPT", "LOAD", script.text) for script in all_scripts()])


class Publisher:
    """A member's store of one object, published to one server that owns all slots."""

    def __init__(self, pipe: Pipe, spec: ObjectSpec, incarnation: str = "a" * 32) -> None:
        self.store = GaugeStore(spec, lambda: None)
        self._pipe = pipe
        self._keys = Keys("benchmark")
        self._incarnation = incarnation

    def prepare(self) -> list[Call[Any]]:
        """Everything that is due, as calls to send in this order; taken as applied from now on."""
        self.store.fold()
        calls: list[Call[Any]] = []
        while dirty := [shard for shard in self.store.shards if shard.dirty]:
            for shard in dirty:
                believed = shard.acknowledged
                sequence, batch = shard.batch()
                name = self.store.spec.name
                calls.append(
                    gauge.publish(self._keys, name, shard.index, self._incarnation, believed, sequence, batch)
                )
                shard.applied(sequence, batch)
        return calls

    def send(self, calls: Sequence[Call[Any]]) -> None:
        replies = self._pipe.send(map(evalsha, calls), chunk=16)
        assert all(status == 1 for status, _ in replies), "the server refused a batch"


def fields_of(calls: Iterable[Call[Any]]) -> int:
    """How many fields some publishes carry."""
    return sum((len(call.args) - 7) // 2 for call in calls)


def evalsha(call: Call[Any]) -> Command:
    """A script call as the link sends it."""
    assert call.script is not None
    return ("EVALSHA", call.script.sha, *call.args)
