"""From real log lines to the views of a real cluster."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import sharedstate
from sharedstate.ingest import PostfixLog, blocks

from ..support import poll

LOGS = Path(__file__).parents[2] / "examples" / "logs"
EXPECTED = json.loads((LOGS / "expected.json").read_text())


def test_three_nodes_replay_their_logs(url: str):
    states = {node: sharedstate.connect(url, node=node) for node in EXPECTED}
    try:
        for node, state in states.items():
            log = PostfixLog(state.events)
            for block in blocks(LOGS / f"{node}.log"):
                log.feed(block)
            state.flush()
        total: Counter[str] = Counter()
        with sharedstate.observe(url) as observer:
            inbound = observer.shared("inbound_cidr")
            for node, expected in EXPECTED.items():
                counts = inbound.view(node).counts
                assert {ip: count for ip, count in counts.items() if count} == expected["open"]
                total.update(expected["open"])
            view = inbound.view()
            assert {ip: count for ip, count in view.counts.items() if count} == total
            assert inbound.count("0.0.0.0/0") + inbound.count("::/0") == total.total() == 135
    finally:
        for state in states.values():
            state.close()


def test_a_follower_takes_its_counts_with_it(url: str, tmp_path: Path):
    log = tmp_path / "mail.log"
    log.write_bytes((LOGS / "relay-0-1.log").read_bytes())
    command = [sys.executable, "-m", "sharedstate_cli.main", "ingest", "postfix", "--follow", str(log)]
    environment = {**os.environ, "SHAREDSTATE_URL": url, "SHAREDSTATE_NODE": "relay-0-1"}
    with (
        sharedstate.observe(url) as observer,
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process,
    ):
        poll(lambda: observer.members(), what="the follower to join")
        inbound = observer.shared("inbound_cidr")
        poll(lambda: inbound.view("relay-0-1").total == 36, what="the open sessions of the log")
        with log.open("a") as file:
            file.write("Nov 23 04:30:00 relay-0-1 postfix/smtpd[9]: connect from unknown[192.0.2.250]\n")
        poll(lambda: inbound.count("192.0.2.250") == 1, what="a new line to count")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert inbound.view().total == 0
        assert observer.members() == []
