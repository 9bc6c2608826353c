"""Calls the tests send."""

from __future__ import annotations

import hashlib
from typing import Any

from sharedstate.call import Call, command, key_slot, run_script
from sharedstate.scripts import Script


def script(text: str, name: str = "probe", key_count: int = 1) -> Script:
    return Script(name, text, hashlib.sha1(text.encode()).hexdigest(), key_count)


#: Not idempotent on purpose: the value tells how often it ran.
COUNT = script("return redis.call('INCR', KEYS[1])", "count")


def count(key: str = "ss:{t}:n", *, resend: bool = False) -> Call[int]:
    """Add one and tell the sum."""
    return run_script(COUNT, [key], [], decode=int, resend=resend)


def lua(text: str, key: str = "ss:{t}:n", *args: Any, resend: bool = False) -> Call[Any]:
    """Any script."""
    return run_script(script(text), [key], list(args), decode=lambda reply: reply, resend=resend)


def get(key: str = "ss:{t}:n") -> Call[int]:
    """How often `count` ran."""
    return command("GET", key, key=key, decode=lambda reply: int(reply or 0), resend=True)


def spread(number: int) -> list[str]:
    """Keys over all of the cluster."""
    return [f"ss:{{{index}}}:n" for index in range(number)]


SLOT = key_slot("ss:{t}:n")
