"""Can this server hold our state? Version, eviction policy and name, as INFO tells them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from sharedstate.errors import UnsuitableServerError

if TYPE_CHECKING:
    from .url import Address

__all__ = ["Info", "check_eviction", "check_version", "parse_info", "server_name"]

#: Field name to text; empty when the ACL user may not run INFO.
Info: TypeAlias = Mapping[str, str]

REDIS_MINIMUM = (7, 0)
VALKEY_MINIMUM = (7, 2)


def parse_info(reply: Any) -> Info | None:
    """INFO's reply as a dict, or None when this is no such reply."""
    if not isinstance(reply, bytes) or b"redis_version:" not in reply:
        return None
    lines = reply.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def _identity(info: Info) -> tuple[str, str]:
    # Every Valkey calls itself redis_version 7.2.4, for the sake of old clients.
    if "valkey_version" in info:
        return "valkey", info["valkey_version"]
    return info.get("server_name", "redis"), info["redis_version"]


def server_name(info: Info) -> str:
    """Name and version, such as ``valkey 9.1.2``; empty without INFO."""
    return " ".join(_identity(info)) if info else ""


def check_version(info: Info, address: Address) -> None:
    """Refuse a server without what the scripts need.

    Raises:
        UnsuitableServerError: it is older than Redis 7.0 or Valkey 7.2.
    """
    name, version = _identity(info)
    parts = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    needed = VALKEY_MINIMUM if name == "valkey" else REDIS_MINIMUM
    if parts < needed:
        raise UnsuitableServerError(
            f"{address} runs {name} {version}, which is too old: Redis 7.0 or Valkey 7.2 or newer is needed."
        )


def check_eviction(info: Info, address: Address) -> None:
    """Refuse a server that would throw our keys away to make room: counts would go wrong in silence.

    Raises:
        UnsuitableServerError: memory is limited and the policy evicts keys without a TTL.
    """
    policy = info.get("maxmemory_policy", "")
    if policy.startswith("allkeys") and info.get("maxmemory", "0") != "0":
        raise UnsuitableServerError(
            f"{address} has maxmemory-policy {policy} and would evict shared state: "
            "set it to noeviction, or to a volatile one."
        )
