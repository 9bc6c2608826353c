"""Every transcript of the reference, byte for byte, from the real command on a real cluster."""

import os
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner
from sharedstate_cli.main import cli

import sharedstate
from tests.support import poll

from .fleet import configuration, joined, relays
from .hands import golden

MAIL_NODE = {"version": "2.2.2.35 r(26825/26848M)", "groups": ("ec_cluster", "ec_console")}
LABRAT = [
    {"node": "labrat-3", "role": "Manager", "version": "2.2.2.35 r(26875/26878M)", "groups": ("ec_cluster",)},
    {"node": "labrat-4", "pid": 24573, "address": "10.80.116.204:4802", **MAIL_NODE},
    {"node": "labrat-1", "pid": 22787, "address": "10.80.116.201:4802", **MAIL_NODE},
]

SHARED = {
    "shared list": "shared_list",
    "shared show inbound_cidr": "show_inbound_cidr",
    "shared show inbound_cidr from relay-0-1": "show_inbound_cidr_from_relay-0-1",
    "shared show inbound_cidr from relay-0-2": "show_inbound_cidr_from_relay-0-2",
    "shared show outbound_domain": "show_outbound_domain",
    "shared show outbound_domain from relay-0-1": "show_outbound_domain_from_relay-0-1",
}


@pytest.fixture
def config(tmp_path):
    return configuration(tmp_path)


def typed(url, command):
    """What the command prints, run as the reference types it."""
    done = CliRunner().invoke(cli, ["--url", url, "cluster", *command.split()])
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


def test_shared_objects(url, config):
    with relays(url, config):
        for command, expected in SHARED.items():
            assert typed(url, command) == golden(expected), command


def test_an_object_without_counts(url, config):
    with joined(url, config, [{"node": "relay-0-1"}]):
        assert typed(url, "shared show inbound_cidr") == golden("show_inbound_cidr_of_nothing")


def test_membership(url, config):
    with joined(url, config, LABRAT):
        assert typed(url, "membership") == golden("membership")
        assert typed(url, "nodeaddr --node labrat-1") == golden("nodeaddr")
        assert typed(url, "nodename --node labrat-1") == "labrat-1\n"
        # The port of the transcript is the one its daemon happened to have.
        info = typed(url, "info --node labrat-1")
        port = re.match(r"Daemon: (\d+) ", info)
        assert port is not None
        assert port[1] in re.findall(r":(\d+)", url)
        assert info.replace(port[1], "4803", 1) == golden("info")


def test_as_a_process(url, config):
    with relays(url, config):
        done = subprocess.run(
            [sys.executable, "-m", "sharedstate_cli.main", "cluster", "shared", "show", "inbound_cidr"],
            env={**os.environ, "SHAREDSTATE_URL": url},
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == golden("show_inbound_cidr").encode()


def test_what_the_process_does_not_import(url, config):
    """Cold start: the real client, and no table, grammar or event loop."""
    with relays(url, config):
        script = (
            "import sys\n"
            "from sharedstate_cli.main import cli\n"
            "try:\n    cli.main(['shared', 'list'])\n"
            "finally:\n    print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "SHAREDSTATE_URL": url},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout == golden("shared_list")
        assert not {"rich", "lark", "idna", "asyncio"} & set(done.stderr.split())


def test_names_that_are_not_known(url, config):
    with relays(url, config):
        for command, sentence in (
            ("shared show inbound_cdir", "did you mean 'inbound_cidr'?"),
            ("shared show inbound_cidr from relay-0-9", "did you mean 'relay-0-"),
            ("info --node relay-0-9", "has no live member in cluster 'ec_cluster'"),
        ):
            done = CliRunner().invoke(cli, ["--url", url, *command.split()])
            assert (done.exit_code, done.stdout) == (4, ""), command
            assert done.stderr.startswith("sharedstate-cli: ")
            assert sentence in done.stderr


def test_nobody_there():
    done = CliRunner().invoke(cli, ["--url", "redis://127.0.0.1:1", "--timeout", "0.5", "shared", "list"])
    assert (done.exit_code, done.stdout) == (6, "")
    assert done.stderr.count("\n") == 1


def test_reset_keeps_the_counts(url, config):
    with joined(url, config, [{"node": "relay-0-1"}]) as (state,):
        state.shared("inbound_cidr").increment("10.0.0.1", 3)
        state.flush()
        with sharedstate.observe(url) as observer:
            before = observer.members()[0].incarnation
            assert typed(url, "reset --node relay-0-1") == "1 member of relay-0-1 leaves and joins anew.\n"
            poll(lambda: [one for one in observer.members() if one.incarnation != before], what="the rejoin")
            state.flush()
            assert observer.shared("inbound_cidr").count("0.0.0.0/0") == 3
