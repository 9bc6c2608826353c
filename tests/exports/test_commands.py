"""``audit export``, ``prune`` and ``query`` as an operator types them, and as the examples for cron and systemd do."""

from __future__ import annotations

import configparser
import csv
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sharedstate_cli.commands.audit_query import moment
from sharedstate_cli.context import Environment
from sharedstate_cli.main import cli

import sharedstate
from sharedstate.call import command
from sharedstate.errors import InvalidValueError
from sharedstate.exports.files import export_files

from .runs import rows_of

ROOT = Path(__file__).parents[2]
CRONTAB = ROOT / "examples" / "cron" / "sharedstate-audit"
UNITS = sorted((ROOT / "examples" / "systemd").iterdir())


@pytest.fixture
def counted(url: str) -> str:
    """A fleet with two series, two windows closed for long and one counting."""
    with sharedstate.connect(url, node="a") as state:
        for name in ("spam", "virus"):
            state.audit.define(name, "300,6", "cidr", "cluster")
            for window in (0, 2, 3):
                state.audit.adjust_many(name, {"192.0.2.1": 3, "192.0.2.2": 1}, window)
        state.audit.define("words", "300,6", "string", "cluster")
        state.audit.adjust("words", "free money", 7, 2)
    return url


def typed(*words: str, status: int = 0, silent: bool = False) -> str:
    """What a command prints; of a failure what it says."""
    out, err = io.StringIO(), io.StringIO()
    environment = Environment(stdout=out, stderr=err, environ={}, width=100, tty=False)
    with pytest.raises(SystemExit) as leave:
        cli.main(list(words), obj=environment)
    assert leave.value.code == status, err.getvalue()
    if silent:
        assert (out.getvalue(), err.getvalue()) == ("", "")
    return err.getvalue() if status else out.getvalue()


def test_export_prune_query(counted: str, tmp_path: Path) -> None:
    folder = str(tmp_path)
    typed("--url", counted, "audit", "export", "--dir", folder, silent=True)
    typed("--url", counted, "audit", "export", "--dir", folder, silent=True)
    assert sorted({file.series for _, file in export_files(tmp_path)}) == ["spam", "virus", "words"]
    assert len(rows_of(tmp_path)) == 9
    assert typed(
        "audit", "query", "--dir", folder, "--series", "spam", "--series", "virus", "--limit", "1"
    ) == (f"{12:>12}  192.0.2.1\n")
    assert typed("audit", "query", "--dir", folder, "--series", "words") == f"{7:>12}  free money\n"
    rows = csv.DictReader(
        io.StringIO(
            typed(
                "audit",
                "query",
                "--dir",
                folder,
                "--block",
                "192.0.2.0/30",
                "--mask",
                "24",
                "--by-series",
                "--format",
                "csv",
            )
        )
    )
    assert list(rows) == [
        {"series": "spam", "key": "192.0.2.0/24", "count": "8"},
        {"series": "virus", "key": "192.0.2.0/24", "count": "8"},
    ]
    found = json.loads(
        typed("audit", "query", "--dir", folder, "--series", "spam", "--order", "start", "--format", "json")
    )
    assert found["files"] == 2
    assert [row["count"] for row in found["rows"]] == [3, 1, 3, 1]
    table = typed(
        "audit", "query", "--dir", folder, "--series", "spam", "--threshold", "3", "--format", "table"
    )
    assert "192.0.2.1" in table
    assert "192.0.2.2" not in table
    assert "1 rows from 2 files" in table
    assert typed("audit", "query", "--dir", folder, "--since", "1m") == ""
    typed("audit", "prune", "--dir", folder, "--compress-days", "0", silent=True)
    assert {path.suffix for path, _ in export_files(tmp_path)} == {".gz"}
    assert "5 files removed" in typed("audit", "prune", "--dir", folder, "--keep-days", "0", "--verbose")
    assert list(tmp_path.iterdir()) == []


def test_which_series(counted: str, tmp_path: Path) -> None:
    for words, names in (
        (("--series", "s.*|virus", "--exclude", "virus"), {"spam"}),
        (("--mask", "24"), {"spam", "virus"}),
        (("--format", "parquet", "--job", "parquet"), {"spam", "virus", "words"}),
    ):
        folder = tmp_path / words[-1]
        folder.mkdir()
        typed("--url", counted, "audit", "export", "--dir", str(folder), *words, silent=True)
        assert {file.series for _, file in export_files(folder)} == names


def test_windows_that_were_lost(url: str, tmp_path: Path) -> None:
    with sharedstate.connect(url, node="a") as state:
        state.audit.define("spam", "60,2", "cidr", "cluster")
        key = state._keys.audit_export("spam", 60, "default")
        past = int(state.audit._core.clock.now() // 60) - 100
        state._link.execute([command("HSET", key, "next", past, key=key, decode=int, resend=True)])
    said = typed("--url", url, "audit", "export", "--dir", str(tmp_path), status=12)
    assert re.search(r"9\d windows were over before any run of this export came to them", said)
    typed("--url", url, "audit", "export", "--dir", str(tmp_path), silent=True)


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("audit", "export"), 2, "--dir"),
        (("audit", "export", "--dir", "/nowhere/at/all"), 5, "is not a folder: make it first"),
        (("audit", "export", "--dir", "/tmp", "--series", "("), 5, "is not a regular expression"),
        (("audit", "prune", "--dir", "/tmp"), 2, "nothing to do"),
        (("audit", "query", "--dir", "/tmp", "--since", "yesterday"), 5, "is no moment"),
    ],
)
def test_mistakes(url: str, words: tuple[str, ...], status: int, sentence: str) -> None:
    assert sentence in typed("--url", url, *words, status=status)


def test_moments() -> None:
    assert moment("90m", 10_000) == 10_000 - 5400
    assert moment("2026-01-05", 0) == 1767571200
    assert moment("2026-01-05T14:00", 0) == moment("2026-01-05T15:00+01:00", 0) == 1767621600
    with pytest.raises(InvalidValueError, match="how long ago"):
        moment("soon", 0)


def environment_for(url: str, tmp_path: Path) -> dict[str, str]:
    """Where the examples' commands find what they name."""
    config = tmp_path / "sharedstate.toml"
    config.write_text(f'[cluster]\nredis_url = "{url}"\n')
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SHAREDSTATE_CONFIG": str(config),
    }


def test_the_crontab(counted: str, tmp_path: Path) -> None:
    """Its lines have the form of /etc/cron.d, and its commands work under a shell, in silence."""
    folder = tmp_path / "audit"
    folder.mkdir()
    settings: dict[str, str] = {}
    commands = []
    for line in CRONTAB.read_text().splitlines():
        if match := re.fullmatch(r"([A-Z_]+)=(.*)", line):
            settings[match[1]] = match[2]
        elif line and not line.startswith("#"):
            *times, user, what = line.split(None, 6)
            assert all(re.fullmatch(r"[0-9*/,-]+", one) for one in times)
            assert user == "mail"
            assert "%" not in what, "cron takes % for a line end"
            commands.append(what)
    assert settings["AUDIT_DIR"].startswith("/var/lib/")
    environ = {**environment_for(counted, tmp_path), "AUDIT_DIR": str(folder)}
    for what in commands:
        done = subprocess.run(
            ["/bin/sh", "-c", what], env=environ, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(rows_of(folder)) == 9


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_the_units(counted: str, tmp_path: Path, path: Path) -> None:
    """Services run the command they name; timers name a service that is there."""
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(path)
    if path.suffix == ".timer":
        assert path.with_suffix(".service").exists()
        assert unit["Install"]["WantedBy"] == "timers.target"
        calendar = unit["Timer"]["OnCalendar"]
        if shutil.which("systemd-analyze"):
            subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True, check=True)
        return
    folder = tmp_path / "audit"
    folder.mkdir()
    words = shlex.split(unit["Service"]["ExecStart"].replace("/var/lib/sharedstate/audit", str(folder)))
    assert unit["Service"]["Type"] == "oneshot"
    words[0] = Path(words[0]).name
    begun = time.time()
    done = subprocess.run(
        words, env=environment_for(counted, tmp_path), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    if "export" in path.name:
        assert len(rows_of(folder)) == 9
        assert all(file.start < begun for _, file in export_files(folder))
