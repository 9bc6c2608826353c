"""Tables at fixed widths, without colour."""

import dataclasses
import datetime as dt

import pytest
from sharedstate_cli.views.drawing import bar, duration, share

from .hands import DOMAINS, NOW, HandMadeObject, fleet, member, run

WIDTHS = (40, 60, 80, 100, 132, 200)


def table(*args, width=80, observer=None):
    status, environment = run(*args, "--format", "table", observer=observer, width=width)
    assert (status, environment.messages) == (0, "")
    return [line.rstrip() for line in environment.output.splitlines()]


def test_a_tree_with_a_column_for_each_node():
    assert table("shared", "show", "inbound_cidr", "--by-node") == [
        "inbound_cidr  cidrtree, view global, 2024-05-17 14:05:09",
        "",
        "Block               Fleet   Share                relay-0-1  relay-0-2  relay-0-3",
        "─" * 80,
        "10.0.0.0/8             31  100.0%  ████████████          5          7         19",
        " 10.0.0.0/24           31  100.0%  ████████████          5          7         19",
        "  10.0.0.0/25           4   12.9%  █▌                    0          3          1",
        "   10.0.0.103/32        4   12.9%  █▌                    0          3          1",
        "  10.0.0.160/27        27   87.1%  ██████████▌           5          4         18",
        "   10.0.0.176/29       27   87.1%  ██████████▌           5          4         18",
        "    10.0.0.180/31      27   87.1%  ██████████▌           5          4         18",
        "     10.0.0.180/32     14   45.2%  █████▍                4          2          8",
        "     10.0.0.181/32     13   41.9%  █████                 1          2         10",
        "",
        "Total                  31  100.0%                        5          7         19",
    ]


def test_one_node():
    assert table("shared", "show", "outbound_domains", "from", "relay-0-1", "--top", "2") == [
        "outbound_domains  gauge table, view #ec1-12137#relay-0-1, 2024-05-17 14:05:09",
        "",
        "Name         Count   Share",
        "─" * 58,
        "yahoo.com       30   49.2%  ██████████████████████████████",
        "hotmail.com     26   42.6%  ██████████████████████████",
        "",
        "Total           61  100.0%",
        "2 of 4 rows; --top 4 shows all.",
    ]


def test_a_wide_terminal_has_columns_for_nodes_unasked():
    assert "relay-0-3" not in table("shared", "show", "inbound_cidr", width=99)[2]
    assert "relay-0-3" in table("shared", "show", "inbound_cidr", width=100)[2]
    assert "relay-0-3" not in table("shared", "show", "inbound_cidr", "from", "relay-0-1", width=100)[2]


def test_chosen_nodes_and_the_sum_of_the_others():
    lines = table("shared", "show", "outbound_domains", "--nodes", "relay-0-3,*-2")
    assert lines[2].split() == ["Name", "Fleet", "Share", "relay-0-2", "relay-0-3", "1", "other"]
    assert lines[4].split()[-3:] == ["9", "0", "1"]
    assert lines[-1].split()[-3:] == ["248", "40", "61"]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_hundred_nodes_fit(width):
    nodes = {
        f"relay-{node // 20}-{node % 20}": {f"d{node % 7}.example": node * 1000, "all.example": 1}
        for node in range(100)
    }
    observer = fleet(held=[HandMadeObject(DOMAINS, nodes)], live=[member(node) for node in nodes])
    lines = table("shared", "show", "outbound_domains", "--by-node", width=width, observer=observer)
    assert max(map(len, lines)) <= width
    headings = next(line for line in lines if "Share" in line).split("Share")[1]
    shown = [word for word in headings.split() if word.startswith("relay-")]
    if width >= 80:
        # The busiest are shown, in order of joining, and every row adds up.
        assert shown == list(nodes)[-len(shown) :]
        assert f"{100 - len(shown)} others" in headings
        for line in lines[4:]:
            numbers = [int(word.replace(",", "")) for word in line.split() if word.replace(",", "").isdigit()]
            if numbers:
                assert numbers[0] == sum(numbers[1:])


@pytest.mark.parametrize("width", WIDTHS)
def test_long_names_are_folded_not_cut(width):
    name = "a-rather-long-name-for-a-host.in-a-deep.subdomain.of.some-provider.example.net"
    observer = fleet(held=[HandMadeObject(DOMAINS, {"relay-0-1": {name: 12}})], live=[member("relay-0-1")])
    lines = table("shared", "show", "outbound_domains", width=width, observer=observer)
    assert max(map(len, lines)) <= width
    rows = lines[lines.index("") + 3 : -2]
    assert "".join(row.split(" ")[0] for row in rows) == name


def test_rows_beyond_the_limit_are_left_out_and_counted():
    held = {"relay-0-1": {f"d{number}.example": number for number in range(1, 1001)}}
    observer = fleet(held=[HandMadeObject(DOMAINS, held)], live=[member("relay-0-1")])
    lines = table("shared", "show", "outbound_domains", observer=observer)
    assert lines[-1] == "500 of 1,000 rows; --top 1000 shows all."
    # The largest stay, in the order asked for: by name.
    names = [line.split()[0] for line in lines[4:-3]]
    assert names == sorted(f"d{number}.example" for number in range(501, 1001))
    assert (
        len(table("shared", "show", "outbound_domains", "--top", "1000", observer=observer)) == 4 + 1000 + 2
    )


def test_nothing_to_show():
    assert table("shared", "show", "outbound_cidr") == [
        "outbound_cidr  cidrtree, view global, 2024-05-17 14:05:09",
        "",
        "Nothing to show: no count is above zero.",
    ]


def test_objects():
    sites = dataclasses.replace(DOMAINS, name="by_site", count_by="site", binding_group="bulk", shards=4)
    observer = fleet(held=[HandMadeObject(DOMAINS, {}), HandMadeObject(sites, {})])
    assert table("shared", "list", observer=observer)[2:] == [
        "outbound_domains  gauge table  outbound, by domain                16  1 s or 100",
        "by_site           gauge table  outbound, by site, group bulk       4  1 s or 100",
    ]


def test_members():
    joined = (NOW - dt.timedelta(hours=3)).timestamp()
    observer = fleet(
        live=[member("relay-0-1", 12137, joined=joined, version="0.1.0", address="10.80.116.201:4802")]
    )
    assert table("membership", observer=observer) == [
        "Member                Type      Address              Up  Version  Groups",
        "─" * 80,
        "#ec0-12137#relay-0-1  Momentum  10.80.116.201:4802  3 h  0.1.0    ec_cluster,",
        f"{'':66}ec_console",
    ]


def test_info():
    assert table("info") == [
        "Node           relay-0-1",
        "Member         #ec0-12137#relay-0-1  #ec1-12137#relay-0-1",
        "Cluster group  ec_cluster (relay-0-1 is leader)",
        "Control group  ec_console",
        "Logger group   none",
        "Server         valkey 9.1.2, cluster, port 4803",
        "Primaries      127.0.0.1:4803 127.0.0.1:4804",
    ]


def test_bars():
    assert bar(8, 8, 4, ascii_only=False) == "████"
    assert bar(1, 1000, 4, ascii_only=False) == "▏"
    assert bar(1, 1000, 4, ascii_only=True) == "#"
    assert bar(0, 8, 4, ascii_only=False) == bar(1, 0, 4, ascii_only=False) == ""
    assert all(len(bar(part, 97, 13, ascii_only=False)) <= 13 for part in range(98))


def test_shares_and_durations():
    assert [share(1, 3), share(1, 10_000), share(0, 5), share(0, 0)] == ["33.3%", "<0.1%", "0.0%", "-"]
    assert [duration(seconds) for seconds in (-5, 59, 60, 7200, 200_000)] == [
        "0 s",
        "59 s",
        "1 min",
        "2 h",
        "2 d",
    ]
