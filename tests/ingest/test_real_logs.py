"""The logs that the project ships, and what the clients that made them know."""

import json
from collections import Counter
from pathlib import Path

import pytest

from sharedstate.ingest import PostfixLog, blocks

from .recorder import Recorder

LOGS = Path(__file__).parents[2] / "examples" / "logs"
EXPECTED = json.loads((LOGS / "expected.json").read_text())


@pytest.mark.parametrize("node", EXPECTED)
def test_a_replay_agrees_with_the_clients(node: str):
    """The load generator wrote down which of its messages were accepted and which sessions it kept open."""
    recorder = Recorder()
    log = PostfixLog(recorder)
    for block in blocks(LOGS / f"{node}.log"):
        log.feed(block)
    log.expire()
    assert Counter(log.open_sessions) == Counter(EXPECTED[node]["open"])
    assert recorder.count("reception") == Counter(EXPECTED[node]["accepted"])
    assert +recorder.connections == Counter(EXPECTED[node]["open"])
    assert log.summary.killed == 1
    assert log.summary.leaks == 1


def test_special_cases():
    """Before-queue filter, XCLIENT, forged recipients, SMTPUTF8, BDAT, postscreen, a stop."""
    recorder = Recorder()
    log = PostfixLog(recorder)
    for block in blocks(Path(__file__).parent / "postfix-special.log"):
        log.feed(block)
    summary = log.summary
    assert recorder.count("reception") == {"127.0.0.1": 5, "198.51.100.99": 1}
    assert recorder.count("permfail") == {"xn--bcher-kva.example": 1, "example.org": 1}
    assert recorder.count("delivery") == {"example.com": 5}
    assert (summary.readdressed, summary.stopped, summary.disconnected) == (1, 2, 12)
    # The last client was there when the master was killed, log service and all: nothing can be known.
    assert log.open_sessions == ["127.0.0.1"]
