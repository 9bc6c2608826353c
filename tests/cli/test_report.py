"""Choosing and ordering rows."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharedstate_cli.report import Selection, collect

from sharedstate.names import canonical_address

from .hands import DOMAIN_NODES, DOMAINS, INBOUND, NOW, HandMadeObject, fleet, member, run


def show(*args, observer=None):
    status, environment = run("shared", "show", *args, "--format", "csv", observer=observer)
    assert (status, environment.messages) == (0, "")
    return list(csv.reader(io.StringIO(environment.output)))


def items(*args):
    return [row[0] for row in show(*args)[1:]]


def test_order():
    by_name = ["aol.com", "bellsouth.net", "hotmail.com", "omniti.com", "yahoo.com"]
    by_count = ["hotmail.com", "yahoo.com", "bellsouth.net", "aol.com", "omniti.com"]
    assert items("outbound_domains") == by_name
    assert items("outbound_domains", "--reverse") == by_name[::-1]
    assert items("outbound_domains", "--sort", "count") == by_count
    assert items("outbound_domains", "--sort", "count", "--reverse") == by_count[::-1]
    assert sorted(items("outbound_domains", "--sort", "none")) == by_name


def test_top_is_always_the_largest_whatever_the_order():
    assert items("outbound_domains", "--top", "2") == ["hotmail.com", "yahoo.com"]
    assert items("outbound_domains", "--top", "3", "--sort", "name") == [
        "bellsouth.net",
        "hotmail.com",
        "yahoo.com",
    ]
    assert items("outbound_domains", "--top", "2", "--reverse") == ["yahoo.com", "hotmail.com"]
    assert items("inbound_cidr", "--top", "2", "--leaves") == ["10.0.0.180/32", "10.0.0.181/32"]
    assert items("inbound_cidr", "--top", "3", "--sort", "name") == [
        "10.0.0.0/8",
        "10.0.0.0/24",
        "10.0.0.160/27",
    ]


def test_names_match_by_glob():
    assert items("outbound_domains", "--match", "*.NET") == ["bellsouth.net"]
    assert items("outbound_domains", "--match", "[ay]*l*.com") == ["aol.com"]
    assert items("outbound_domains", "--match", "nobody") == []


def test_an_idn_matches_as_typed():
    held = {"relay-0-1": {"xn--mnchen-3ya.example": 2, "xn--mnchen-3ya.test": 1}}
    observer = fleet(held=[HandMadeObject(DOMAINS, held)], live=[member("relay-0-1")])
    assert show("outbound_domains", "--match", "münchen.*", observer=observer)[1:] == [
        ["xn--mnchen-3ya.example", "2"],
        ["xn--mnchen-3ya.test", "1"],
    ]


def test_addresses_match_by_block():
    held = {"relay-0-1": {"10.0.0.1": 1, "10.0.0.200": 2, "10.9.0.1": 4, "2001:db8::1": 8, "2001:db8::2": 16}}
    observer = fleet(held=[HandMadeObject(INBOUND, held)], live=[member("relay-0-1")])

    def matching(block):
        return {
            item: int(count) for item, count in show("inbound_cidr", "--match", block, observer=observer)[1:]
        }

    assert matching("10.0.0.0/24") == {"10.0.0.0/24": 3, "10.0.0.1/32": 1, "10.0.0.200/32": 2}
    assert matching("10.9.0.1") == {"10.9.0.1/32": 4}
    assert matching("2001:db8::/32") == {"2001:db8::/126": 24, "2001:db8::1/128": 8, "2001:db8::2/128": 16}
    assert matching("::/0") == matching("2001:db8::/32")


@pytest.mark.parametrize("form", ["plain", "json", "csv", "table"])
def test_a_pattern_that_is_no_block(form):
    status, environment = run("shared", "show", "inbound_cidr", "--match", "*.example", "--format", form)
    assert (status, environment.output) == (5, "")
    assert "'*.example' is not an IP address" in environment.messages


addresses = st.ip_addresses().map(str).map(canonical_address)  # as views have them
parts = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), st.dictionaries(addresses, st.integers(0, 9), max_size=8), min_size=1
)


@given(parts)
def test_the_nodes_columns_of_a_tree_add_up_in_every_row(nodes):
    observer = fleet(held=[HandMadeObject(INBOUND, nodes)], live=[member(node) for node in nodes])
    report = collect(observer, "inbound_cidr", node=None, selection=Selection(), by_node=True)
    for row in report.rows:
        assert row.total == sum(row.nodes)
    assert report.total == sum(report.node_totals)


@given(
    st.dictionaries(st.text("abc", min_size=1), st.integers(0, 5), max_size=30),
    st.integers(1, 10),
    st.sampled_from(["name", "count"]),
)
def test_top_streams_and_agrees_with_sorting_everything(counts, top, sort):
    held = HandMadeObject(DOMAINS, {"relay-0-1": counts})
    observer = fleet(held=[held], live=[member("relay-0-1")])
    report = collect(observer, "outbound_domains", node=None, selection=Selection(top=top, sort=sort))
    rows = [(row.item, row.total) for row in report.rows]
    largest = sorted(
        ((name, count) for name, count in counts.items() if count), key=lambda row: (-row[1], row[0])
    )
    expected = largest[:top]
    assert rows == (expected if sort == "count" else sorted(expected))
    assert report.total == sum(counts.values())
    assert report.matched == len(largest)
    assert held.pages_read == [None]


def test_unsorted_rows_come_while_pages_are_read():
    held = HandMadeObject(DOMAINS, DOMAIN_NODES)
    observer = fleet(held=[held])
    report = collect(observer, "outbound_domains", node=None, selection=Selection(sort="none"))
    assert held.pages_read == []
    first = next(report.rows)
    assert (report.matched, report.total) == (1, first.total)
    assert len(list(report.rows)) == 4
    assert report.total == 349


def test_json():
    _, environment = run("shared", "show", "outbound_domain", "--format", "json", "--top", "1", "--by-node")
    assert json.loads(environment.output) == {
        "object": "outbound_domains",
        "class": "outbound_domains",
        "kind": "gauge table",
        "view": "global",
        "node": None,
        "time": NOW.isoformat(),
        "nodes": ["relay-0-1", "relay-0-2", "relay-0-3"],
        "rows": [
            {
                "item": "hotmail.com",
                "count": 246,
                "nodes": {"relay-0-1": 26, "relay-0-2": 220, "relay-0-3": 0},
            }
        ],
        "matched": 5,
        "total": 349,
        "node_totals": {"relay-0-1": 61, "relay-0-2": 248, "relay-0-3": 40},
    }
    # A row on each line, so that line tools can cut it too.
    assert len(environment.output.splitlines()) == 3


def test_json_of_nothing_and_of_one_node():
    _, environment = run("shared", "show", "outbound_cidr", "from", "relay-0-2", "--format", "json")
    answer = json.loads(environment.output)
    assert answer["node"] == "relay-0-2"
    assert answer["view"] == "#ec1-48616#relay-0-2"
    assert (answer["rows"], answer["nodes"], answer["total"]) == ([], [], 0)
    assert "node_totals" not in answer


def test_csv_with_columns_for_nodes():
    assert show("outbound_domains", "--by-node", "--top", "1") == [
        ["item", "count", "relay-0-1", "relay-0-2", "relay-0-3"],
        ["hotmail.com", "246", "26", "220", "0"],
    ]


def test_other_commands_as_json_and_csv():
    _, environment = run("shared", "list", "--format", "json")
    assert [one["name"] for one in json.loads(environment.output)["objects"]] == [
        "inbound_cidr",
        "outbound_cidr",
        "outbound_domains",
    ]
    _, environment = run("membership", "--format", "json")
    first = json.loads(environment.output)["members"][0]
    assert (first["private_name"], first["groups"]) == ("#ec0-12137#relay-0-1", ["ec_cluster", "ec_console"])
    _, environment = run("info", "--format", "json")
    assert json.loads(environment.output)["leader"] == "relay-0-1"
    for command, columns in (("membership", 9), ("info", 11), ("nodename", 1), ("nodeaddr", 1)):
        _, environment = run(command, "--format", "csv")
        head, *rows = csv.reader(io.StringIO(environment.output))
        assert len(head) == columns
        assert rows
        assert all(len(row) == columns for row in rows)
    assert json.loads(run("nodename", "--format", "json")[1].output) == {"node": "relay-0-1"}
    assert json.loads(run("nodeaddr", "--format", "json")[1].output) == {"address": "0.0.0.0:0"}
