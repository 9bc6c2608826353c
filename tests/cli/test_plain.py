"""The reference's transcripts from answers made by hand; `test_goldens` has them from a real cluster."""

import pytest

from .hands import fleet, golden, member, run


@pytest.mark.parametrize("mount", [(), ("cluster",)])
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("shared list", "shared_list"),
        ("shared show inbound_cidr", "show_inbound_cidr"),
        ("shared show inbound_cidr from relay-0-1", "show_inbound_cidr_from_relay-0-1"),
        ("shared show inbound_cidr from relay-0-2", "show_inbound_cidr_from_relay-0-2"),
        ("shared show inbound_cidr --node relay-0-2", "show_inbound_cidr_from_relay-0-2"),
        ("shared show outbound_domain", "show_outbound_domain"),
        ("shared show outbound_domain from relay-0-1", "show_outbound_domain_from_relay-0-1"),
    ],
)
def test_shared_objects(mount, command, expected):
    status, environment = run(*mount, *command.split())
    assert (status, environment.messages) == (0, "")
    assert environment.output == golden(expected)


LABRAT = fleet(
    live=[
        member("labrat-3", 1, role="Manager", version="2.2.2.35 r(26875/26878M)", groups=("ec_cluster",)),
        member("labrat-4", 24573, address="10.80.116.204:4802"),
        member("labrat-1", 22787, address="10.80.116.201:4802"),
    ],
    node="labrat-1",
)


@pytest.mark.parametrize("mount", [(), ("cluster",)])
@pytest.mark.parametrize("command", ["membership", "info", "nodeaddr"])
def test_membership(mount, command):
    status, environment = run(*mount, command, observer=LABRAT)
    assert (status, environment.messages) == (0, "")
    assert environment.output == golden(command)


def test_an_object_without_counts_is_its_header():
    _, environment = run("shared", "show", "outbound_cidr")
    assert environment.output == golden("show_inbound_cidr_of_nothing").replace("inbound", "outbound")


def test_nodename():
    assert run("nodename")[1].output == "relay-0-1\n"


def test_reset():
    assert run("reset")[1].output == "1 member of relay-0-1 leaves and joins anew.\n"
    assert run("reset", observer=fleet(told=3))[1].output == "3 members of relay-0-1 leave and join anew.\n"


@pytest.mark.parametrize("command", ["info", "nodeaddr", "reset"])
def test_a_node_without_a_live_member_is_told_so(command):
    status, environment = run(command, observer=fleet(node="relay-0-9", told=0))
    assert (status, environment.output) == (4, "")
    assert environment.messages == (
        "sharedstate-cli: node 'relay-0-9' has no live member in cluster 'ec_cluster': "
        "did you mean --node relay-0-3?\n"
    )


def test_a_host_that_is_no_mail_node_is_told_who_is():
    _, environment = run("info", observer=fleet(node="desk"))
    assert "name a live node with --node: relay-0-1, relay-0-2, relay-0-3." in environment.messages


def test_an_empty_fleet_is_no_error():
    status, environment = run("membership", observer=fleet(live=[]))
    assert (status, environment.output) == (0, "")
    assert environment.messages == "sharedstate-cli: no member is live.\n"
    assert "no node is live there" in run("info", observer=fleet(live=[]))[1].messages
