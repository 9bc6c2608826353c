"""What the throttle commands print, of answers made by hand."""

import csv
import io
import json

import pytest

from sharedstate.errors import UnreachableError
from sharedstate.objects.throttle import Holder

from .hands import bucket, fleet, golden, member, run

WIDTHS = (30, 40, 60, 80, 100, 132)
HOSTILE = "\x1b[2J\u202ex"


def typed(*words, **options):
    status, environment = run("throttle", *words, **options)
    assert (status, environment.messages) == (0, "")
    return environment.output


def table(*words, width=80, observer=None):
    output = typed(*words, "--format", "table", width=width, observer=observer)
    return [line.rstrip() for line in output.splitlines()]


def rows(text):
    return list(csv.reader(io.StringIO(text)))


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("list", "throttle_list"),
        ("show domain:yahoo.com", "throttle_show"),
        ("show domain:yahoo.com --processes from relay-0-1", "throttle_show_processes_from_relay-0-1"),
        ("reset tenant:7 domain:yahoo.com", "throttle_reset"),
    ],
)
def test_plain(words, name):
    assert typed(*words.split()) == golden(name)


def test_a_plain_row_is_told_apart_by_blanks():
    """For awk: as many words in each row as in the headings."""
    for words, first in ((("list",), 0), (("show", "domain:yahoo.com"), 9)):
        lines = typed(*words).splitlines()[first:]
        assert len({len(line.split()) for line in lines}) == 1


def test_list_as_a_table():
    assert table("list") == [
        "3 throttles, 2024-05-17 14:05:09",
        "",
        "Throttle          Spec                  Left    Used  Leased  Holders  Refused",
        "─" * 78,
        "domain:yahoo.com  1000/hr                853   14.7%      80        2        3",
        "tenant:7          30/min                   0  100.0%       0        0       12",
        "tenant:9          1000/hr,max_burst=50    50    0.0%       0        0        0",
    ]
    assert table("list", "tenant:*", "--top", "1")[-2:] == [
        "tenant:7  30/min     0  100.0%  ███████████       0        0          2       12",
        "1 of 2 throttles; --top 2 shows all.",
    ]


def test_show_as_a_table():
    assert table("show", "domain:yahoo.com") == [
        "domain:yahoo.com  1000/hr, set by hand, view global, 2024-05-17 14:05:09",
        "",
        "Left        853 of 1,000",
        "Used        14.7%  ███",
        "Leased out  80 to 2 processes",
        "Full again  in 4 min",
        "",
        "Node       Processes  Taken   Share             Held  Lease ends  Refused   Idle",
        "─" * 80,
        "relay-0-1          2     61   83.6%  █████████    64       2.3 s        3  0.0 s",
        "relay-0-2          1     12   16.4%  █▊           16       1.9 s        0  0.0 s",
        "",
        "Total              3     73  100.0%               80                    3",
    ]


def test_a_throttle_nobody_used():
    assert table("show", "tenant:9")[-1] == "Nobody has taken any of it lately."
    assert table("show", "tenant:7", "from", "relay-0-3")[-1] == "relay-0-3 has taken none of it lately."


def test_nodes_that_are_gone_and_nodes_that_never_were():
    observer = fleet(live=[member("relay-0-9")])
    assert "relay-0-1" in typed("show", "tenant:7", "from", "relay-0-1", observer=observer)
    status, environment = run("throttle", "show", "tenant:7", "from", "relay-0-8", observer=observer)
    assert (status, environment.output) == (4, "")
    assert "unknown node 'relay-0-8': did you mean 'relay-0-9'?" in environment.messages


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("words", [("list",), ("show", "t"), ("show", "t", "--processes")])
def test_tables_fit_and_keep_names_whole(width, words):
    name = "a-rather-long-name.of-a.node.of.some-provider.example.net"
    holders = (Holder(f"{name}#4711#0a1b2c3d", 10**9, 10**6, 2.5, 10**6, 99.0), Holder("b#1#x", 1))
    many = bucket("1000000000/day", -(10**9), *holders, by_hand=True, reset_after=86400.0)
    lines = table(*words, width=width, observer=fleet(buckets={"t": many}))
    assert max(map(len, lines)) <= width
    if words[0] == "show" and width >= 40:
        start = next(number for number, line in enumerate(lines) if line.startswith("──")) + 1
        folded = "".join(line.split(" ")[0] for line in lines[start:])
        assert name in folded


def test_many_throttles_in_a_table():
    observer = fleet(buckets={f"t{number:04}": bucket("100", 100 - number % 100) for number in range(1000)})
    lines = table("list", observer=observer)
    assert lines[-1] == "500 of 1,000 throttles; --top 1000 shows all."
    shown = [line.split()[0] for line in lines[4:-1]]
    assert shown == sorted(shown)
    assert len(typed("list", observer=observer).splitlines()) == 1001


def test_json():
    found = json.loads(typed("list", "tenant:7", "--format", "json"))
    assert found == {
        "time": "2024-05-17T14:05:09+00:00",
        "throttles": [
            {
                "name": "tenant:7",
                "spec": "30/min",
                "limit": 30,
                "period": 60.0,
                "burst": 30,
                "by_hand": False,
                "left": 0,
                "used": 1.0,
                "leased": 0,
                "reset_after": 59.2,
                "holders": 0,
                "processes": 2,
                "taken": 30,
                "refused": 12,
            }
        ],
        "matched": 1,
    }
    found = json.loads(typed("show", "tenant:7", "--format", "json"))
    nodes = found.pop("nodes")
    assert found == {
        "throttle": "tenant:7",
        "node": None,
        "time": "2024-05-17T14:05:09+00:00",
        "spec": "30/min",
        "limit": 30,
        "period": 60.0,
        "burst": 30,
        "by_hand": False,
        "left": 0,
        "used": 1.0,
        "leased": 0,
        "reset_after": 59.2,
        "taken": 30,
        "refused": 12,
    }
    first = {"taken": 19, "held": 0, "lease_left": 0.0, "refused": 12, "idle": 1.2}
    assert nodes[0] == {"node": "relay-0-1", "processes": 1, **first}
    found = json.loads(typed("show", "tenant:7", "--processes", "--format", "json"))
    assert found["processes"][0] == {"process": "relay-0-1#411#6f1c", "node": "relay-0-1", **first}


def test_csv():
    head, *found = rows(typed("list", "--format", "csv"))
    assert ",".join(head) == (
        "name,spec,limit,period,burst,by_hand,left,used,leased,reset_after,holders,processes,taken,refused"
    )
    assert [row[0] for row in found] == ["domain:yahoo.com", "tenant:7", "tenant:9"]
    assert found[0][5] == "true"
    assert rows(typed("show", "tenant:7", "--format", "csv")) == [
        ["node", "processes", "taken", "held", "lease_left", "refused", "idle"],
        ["relay-0-1", "1", "19", "0", "0.0", "12", "1.2"],
        ["relay-0-2", "1", "11", "0", "0.0", "0", "40.0"],
    ]
    head, *_ = rows(typed("show", "tenant:7", "--processes", "--format", "csv"))
    assert head == ["process", "node", "taken", "held", "lease_left", "refused", "idle"]
    assert rows(typed("reset", "tenant:7", "--format", "csv")) == [
        ["name", "spec", "left", "leased"],
        ["tenant:7", "30/min", "30", "0"],
    ]


@pytest.mark.parametrize("form", ["table", "plain", "json", "csv"])
def test_names_cannot_drive_the_terminal(form):
    hostile = fleet(buckets={HOSTILE: bucket("30", 3, Holder(f"{HOSTILE}#1#x", taken=2))})
    for words in (("list",), ("show", HOSTILE), ("show", HOSTILE, "--processes"), ("reset", HOSTILE)):
        output = typed(*words, "--format", form, observer=hostile)
        assert "\x1b" not in output
        assert "\u202e" not in output
    status, environment = run("throttle", "list", f"{HOSTILE}?")
    assert status == 0
    assert environment.messages.isprintable() or environment.messages.count("\n") == 1
    assert "\x1b" not in environment.messages


def test_nothing_in_use():
    for words, sentence in (
        (("list",), "no throttle is in use."),
        (("list", "zz*"), "no throttle in use is like 'zz*'."),
    ):
        observer = fleet(buckets={}) if len(words) == 1 else fleet()
        for form in ("plain", "table"):
            status, environment = run("throttle", *words, "--format", form, observer=observer)
            assert (status, environment.messages) == (0, f"sharedstate-cli: {sentence}\n")
        assert json.loads(typed(*words, "--format", "json", observer=observer))["throttles"] == []
        assert len(rows(typed(*words, "--format", "csv", observer=observer))) == 1


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("answer", "filled"), [("y\n", True), ("YES\n", True), ("n\n", False), ("", False)])
def test_reset_all_asks(answer, filled):
    observer = fleet()
    status, environment = run("throttle", "reset", "--all", observer=observer, stdin=Terminal(answer))
    assert environment.messages.startswith("Reset 3 throttles? [y/N] ")
    assert status == (0 if filled else 130)
    assert (observer.buckets["tenant:7"].left == 30) == filled
    assert ("nothing was reset." in environment.messages) != filled
    assert (environment.output != "") == filled


def test_reset_all_without_asking():
    observer = fleet()
    assert len(typed("reset", "--all", "--yes", observer=observer).splitlines()) == 3
    assert observer.buckets["tenant:7"].left == 30
    status, environment = run("throttle", "reset", "--all", "--yes", observer=fleet(buckets={}))
    assert (status, environment.messages) == (0, "sharedstate-cli: no throttle is in use.\n")


def test_reset_of_a_name_that_is_not_known_resets_nothing():
    observer = fleet()
    status, environment = run("throttle", "reset", "tenant:7", "tenat:9", observer=observer)
    assert (status, environment.output) == (4, "")
    assert environment.messages == "sharedstate-cli: unknown throttle 'tenat:9': did you mean 'tenant:9'?\n"
    assert observer.buckets["tenant:7"].left == 0


def test_redis_is_down():
    observer = fleet(error=UnreachableError("nobody there."))
    for words in (("list",), ("show", "x"), ("reset", "x"), ("reset", "--all", "--yes"), ("watch",)):
        status, environment = run("throttle", *words, observer=observer)
        assert (status, environment.output) == (6, ""), words
