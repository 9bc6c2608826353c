"""Where a state's settings come from: arguments first, then the environment, then the configuration file."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .audit.traffic import TrafficPlan, plan_of
from .errors import InvalidUrlError, InvalidValueError
from .keys import Keys
from .link.url import Endpoint, parse_url
from .specs import ObjectSpec, check_name
from .throttle.defaults import Defaults

if TYPE_CHECKING:
    from .config import Limit, Site

__all__ = ["DEFAULT_OBJECTS", "Settings", "node_name", "resolve"]

#: What is counted when no configuration says otherwise: the three objects of the reference's first example.
DEFAULT_OBJECTS = tuple(
    ObjectSpec(name=name, cls=name) for name in ("inbound_cidr", "outbound_cidr", "outbound_domains")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a state needs to know before it connects."""

    endpoint: Endpoint
    node: str
    keys: Keys
    control_group: str
    member_timeout: float
    objects: tuple[ObjectSpec, ...]
    sites: tuple[Site, ...]
    limits: tuple[Limit, ...] = ()
    throttles: Defaults = field(default_factory=Defaults)
    traffic: TrafficPlan = field(default_factory=TrafficPlan)


def node_name(node: str | None = None, configured: str | None = None) -> str:
    """This node's name: argument, SHAREDSTATE_NODE, EC_NODE_NAME, configuration, host name up to the first dot.

    Raises:
        InvalidNameError: the name is not usable.
    """
    name = (
        node
        or os.environ.get("SHAREDSTATE_NODE")
        or os.environ.get("EC_NODE_NAME")
        or configured
        or socket.gethostname().partition(".")[0]
    )
    return check_name(name, "node")


def resolve(
    url: str | None,
    *,
    node: str | None,
    config: str | Path | None,
    cluster: str | None,
    member_timeout: float | None,
    **link_options: Any,
) -> Settings:
    """Put the settings together.

    Raises:
        InvalidUrlError: no URL is given anywhere, or it is wrong.
        ConfigError: the configuration file is wrong.
        InvalidNameError: node or cluster name is not usable.
    """
    path = config or os.environ.get("SHAREDSTATE_CONFIG")
    loaded = None
    if path:
        from .config import load  # deferred: its parser is not needed without a file

        loaded = load(path)
    target = url or os.environ.get("SHAREDSTATE_URL") or (loaded.url if loaded else None)
    if not target:
        raise InvalidUrlError(
            "no server URL is given: pass url= (--url for the console), set SHAREDSTATE_URL (such as "
            "redis://host:6379), or set redis_url in the configuration's cluster section."
        )
    timeout = member_timeout or (loaded.member_timeout if loaded else 15.0)
    if not 0.3 <= timeout <= 86_400:
        raise InvalidValueError(f"member_timeout {timeout!r} is not usable: give 0.3 to 86400 seconds.")
    return Settings(
        endpoint=parse_url(target, **link_options),
        node=node_name(node, loaded.node if loaded else None),
        keys=Keys(cluster or (loaded.cluster if loaded else "ec_cluster")),
        control_group=loaded.control_group if loaded else "ec_console",
        member_timeout=timeout,
        objects=loaded.objects if loaded else DEFAULT_OBJECTS,
        sites=loaded.sites if loaded else (),
        limits=loaded.limits if loaded else (),
        throttles=loaded.throttles if loaded else Defaults(),
        traffic=plan_of(loaded) if loaded else TrafficPlan(),
    )
