"""The throttle commands on a real cluster."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from sharedstate_cli.main import cli

import sharedstate

from .fleet import joined


@pytest.fixture
def nodes(url):
    members = [{"node": "relay-0-1"}, {"node": "relay-0-1"}, {"node": "relay-0-2"}]
    with joined(url, None, members) as states:
        yield states


def typed(url, *words, form="plain", status=0, node="desk"):
    done = CliRunner().invoke(
        cli, ["--url", url, "--node", node, "--format", form, "cluster", "throttle", *words]
    )
    assert (done.exit_code, done.stderr) == (status, ""), done.stderr
    return done.stdout


def refused(url, *words):
    done = CliRunner().invoke(cli, ["--url", url, "throttle", *words])
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.exit_code, done.stderr.removeprefix("sharedstate-cli: ").strip()


def fields(text):
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)


def document(url, *words):
    return json.loads(typed(url, *words, form="json"))


def test_who_took_what(url, nodes):
    first, second, third = (state.throttle("tenant:7", "100/hr") for state in nodes)
    for throttle, times in ((first, 3), (second, 4), (third, 5)):
        for _ in range(times):
            assert throttle.check()
    leased = nodes[2].throttle("domain:aol.com", "1000/hr", mode="leased")
    assert leased.check()

    found = document(url, "list")
    assert [one["name"] for one in found["throttles"]] == ["domain:aol.com", "tenant:7"]
    aol, tenant = found["throttles"]
    assert (tenant["left"], tenant["used"], tenant["taken"]) == (88, 0.12, 12)
    assert (tenant["processes"], tenant["holders"], tenant["leased"]) == (3, 0, 0)
    assert aol["left"] + aol["leased"] <= 1000
    assert aol["leased"] > 0
    assert (aol["holders"], aol["processes"]) == (1, 1)
    assert document(url, "list", "tenant:*")["matched"] == 1

    found = document(url, "show", "tenant:7")
    assert [(node["node"], node["processes"], node["taken"]) for node in found["nodes"]] == [
        ("relay-0-1", 2, 7),
        ("relay-0-2", 1, 5),
    ]
    found = document(url, "show", "tenant:7", "--processes", "from", "relay-0-1")
    assert sorted(one["taken"] for one in found["processes"]) == [3, 4]
    assert document(url, "show", "tenant:7", "--node", "relay-0-2")["taken"] == 5
    (holder,) = document(url, "show", "domain:aol.com")["nodes"]
    assert holder["held"] > 0
    assert 0 < holder["lease_left"] <= 3


def test_check_takes_and_peek_looks(url):
    first = fields(typed(url, "check", "tenant:7", "3/hr"))
    assert (first["Allowed"], first["Limit"], first["Remaining"]) == ("yes", "3", "2")
    assert (first["Retry After"], first["Decided By"]) == ("0.000000", "redis")
    assert fields(typed(url, "check", "tenant:7", "--peek"))["Remaining"] == "2"
    assert fields(typed(url, "check", "tenant:7", "--cost", "2"))["Remaining"] == "0"
    for words in (("--peek",), (), ("--cost", "2"), ("--peek", "--cost", "2")):
        answer = fields(typed(url, "check", "tenant:7", *words, status=11))
        assert answer["Allowed"] == "no"
        assert 0 < float(answer["Retry After"]) <= 2 * 1200
    # All checks of a node are in one record, however many processes made them.
    (node,) = document(url, "show", "tenant:7", "--processes")["processes"]
    assert (node["process"], node["taken"]) == ("desk#console", 3)
    for form, sign in (("json", '"allowed": false'), ("csv", ",false,"), ("table", "refused")):
        assert sign in typed(url, "check", "tenant:7", form=form, status=11)


def test_check_makes_a_throttle_and_peek_makes_none(url):
    assert fields(typed(url, "check", "new", "5/min", "--peek"))["Remaining"] == "5"
    assert refused(url, "check", "new", "--peek")[0] == 4
    typed(url, "check", "new", "5/min")
    assert [one["name"] for one in document(url, "list")["throttles"]] == ["new"]
    # The fleet's spec stays, whatever a check comes with.
    assert fields(typed(url, "check", "new", "100/min"))["Limit"] == "5"


def test_set_tells_before_and_after(url, nodes):
    throttle = nodes[0].throttle("tenant:7", "30/hr")
    for _ in range(10):
        throttle.check()
    assert typed(url, "set", "tenant:7", "100/hr") == "tenant:7: was 30/hr, is 100/hr, 90 left.\n"
    assert "Set By Hand: yes\n" in typed(url, "show", "tenant:7")
    assert document(url, "set", "tenant:7", "1,000/hr") == {
        "name": "tenant:7",
        "before": "100/hr",
        "spec": "1000/hr",
        "left": 990,
        "leased": 0,
    }
    assert throttle.check().limit == 1000
    status, sentence = refused(url, "set", "tenat:7", "5")
    assert status == 4
    assert sentence == "unknown throttle 'tenat:7': did you mean 'tenant:7'? To make a new one, add --create."
    assert typed(url, "set", "tenat:7", "5", "--create") == "tenat:7: was not there, is 5/1, 5 left.\n"
    assert typed(url, "set", "tenant:7", "30/hr", form="csv").startswith("name,before,spec,left,leased\n")


def test_reset_fills(url, nodes):
    for name in ("a", "b", "c"):
        nodes[0].throttle(name, "2/hr").check(2)
    assert typed(url, "reset", "a", "b", "a") == "a: 2 of 2 left.\nb: 2 of 2 left.\n"
    assert [one["left"] for one in document(url, "list")["throttles"]] == [2, 2, 0]
    assert typed(url, "reset", "--all", "--yes").count("2 of 2 left") == 3
    assert nodes[0].throttle("c").check()


def test_bad_input_changes_nothing(url):
    typed(url, "check", "tenant:7", "30/min")
    before = document(url, "show", "tenant:7")["taken"]
    for words, status, sentence in (
        (("show", "tenat:7"), 4, "unknown throttle 'tenat:7': did you mean 'tenant:7'?"),
        (("check", "tenat:7"), 4, "unknown throttle 'tenat:7': did you mean 'tenant:7'?"),
        (("watch", "tenat:7"), 4, "unknown throttle 'tenat:7': did you mean 'tenant:7'?"),
        (("reset", "tenant:7", "x"), 4, "unknown throttle 'x'"),
        (("show", "tenant:7", "from", "relay"), 4, "unknown node 'relay'"),
        (("set", "tenant:7", "3/0"), 5, "'3/0' is not a throttle: its period is zero"),
        (("check", "tenant:7", "often"), 5, "'often' is not a throttle"),
        (("check", "a b", "30"), 5, "throttle name 'a b' is not usable"),
        (("check", "tenant:7", "--cost", "31"), 5, "never has 31 tokens at once: ask for at most 30"),
        (("check", "tenant:7", "90/min", "--cost", "31"), 5, "(30/min) never has 31 tokens at once"),
    ):
        assert refused(url, *words)[0] == status, words
        assert sentence in refused(url, *words)[1], words
    found = document(url, "show", "tenant:7")
    assert (found["taken"], found["spec"], found["by_hand"]) == (before, "30/min", False)


def test_nobody_there():
    for words in (("list",), ("show", "x"), ("check", "x", "30"), ("set", "x", "30"), ("reset", "x")):
        done = CliRunner().invoke(
            cli, ["--url", "redis://127.0.0.1:1", "--timeout", "0.5", "throttle", *words]
        )
        assert (done.exit_code, done.stdout) == (6, ""), words


def test_as_a_hook(url):
    """In a shell, by its exit status alone."""
    program = f"{sys.executable} -m sharedstate_cli.main throttle check tenant:7 2/hr >/dev/null"
    script = f'for i in 1 2 3; do if {program}; then echo pass; else echo "stop $?"; fi; done'
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "SHAREDSTATE_URL": url},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("pass\npass\nstop 11\n", "")


def test_completion(url):
    typed(url, "check", "tenant:7", "30")
    with sharedstate.observe(url) as observer:
        assert observer.throttle_names() == ["tenant:7"]
    done = subprocess.run(
        [sys.executable, "-m", "sharedstate_cli.main"],
        env={
            **os.environ,
            "SHAREDSTATE_URL": url,
            "_SHAREDSTATE_CLI_COMPLETE": "bash_complete",
            "COMP_WORDS": "sharedstate-cli throttle show ten",
            "COMP_CWORD": "3",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["plain,tenant:7"]


def test_what_a_check_does_not_import(url):
    """A hook that starts it for each message pays for no table, grammar or event loop."""
    script = (
        "import sys\n"
        "from sharedstate_cli.main import cli\n"
        "try:\n    cli.main(['throttle', 'check', 'tenant:7', '30'])\n"
        "finally:\n    print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "SHAREDSTATE_URL": url, "SHAREDSTATE_FORMAT": "plain"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "Allowed: yes" in done.stdout
    assert not {"rich", "lark", "idna", "asyncio"} & set(done.stderr.split())
