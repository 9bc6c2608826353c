"""Configuration: Momentum's language in both generations and native TOML, one model.

::

    configuration = sharedstate.config.load("/opt/msys/ecelerity/etc/conf/default/ecelerity.conf")
    configuration.cluster          # 'ec_cluster'
    configuration.objects          # (ObjectSpec(name='inbound_cidr', …), …)

Importing this package imports no parser; `load` does, when it is called.
"""

from __future__ import annotations

from .loading import load, loads
from .model import (
    Cache,
    Configuration,
    Datasource,
    InboundAudit,
    Limit,
    LimitKind,
    Monitor,
    OutboundAudit,
    Place,
    Rate,
    Replication,
    Scope,
    Site,
    Skipped,
)

__all__ = [
    "Cache",
    "Configuration",
    "Datasource",
    "InboundAudit",
    "Limit",
    "LimitKind",
    "Monitor",
    "OutboundAudit",
    "Place",
    "Rate",
    "Replication",
    "Scope",
    "Site",
    "Skipped",
    "load",
    "loads",
]
