"""Real input: what an MTA logged, turned into events.

::

    from sharedstate.ingest import PostfixLog, blocks

    log = PostfixLog(state.events)
    for block in blocks("/var/log/mail.log"):
        log.feed(block)
    print(log.summary.lines, log.open_sessions)

A log is second best for open connections: a process that is killed logs no disconnect, and outbound
connections are not in it at all. The reader repairs what can be repaired.
"""

from .follow import Begin, Follower, follow
from .postfix import DEFAULT_SESSION_TIMEOUT, DeliveryTime, PostfixLog
from .sink import MailEvents, NoEvents
from .source import blocks, stream_blocks
from .summary import Summary

__all__ = [
    "DEFAULT_SESSION_TIMEOUT",
    "Begin",
    "DeliveryTime",
    "Follower",
    "MailEvents",
    "NoEvents",
    "PostfixLog",
    "Summary",
    "blocks",
    "follow",
    "stream_blocks",
]
