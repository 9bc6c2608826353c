"""What is shipped: the wheel, the packages it is made of, and the pages that describe it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support import missing, need_server

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])

#: On one worker: the wheel is built once.
pytestmark = pytest.mark.xdist_group("project")

#: Source folder and the package it installs as.
PLACES = {"sharedstate": "sharedstate", "cli": "sharedstate_cli", "lua": "sharedstate/_lua"}


def shipped(folder: str, *endings: str) -> set[str]:
    """The source files of a folder, by their path in the wheel."""
    return {
        f"{PLACES[folder]}/{path.relative_to(ROOT / folder).as_posix()}"
        for ending in endings
        for path in (ROOT / folder).rglob(f"*{ending}")
    }


def packages(folder: str, ending: str) -> set[str]:
    """The folders that hold such files, by the name of the package."""
    return {str(Path(name).parent).replace("/", ".") for name in shipped(folder, ending)}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a build leaves its folders in the tree."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in PLACES:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("wheel")
    build = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(target), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    output = build.stdout + build.stderr
    if build.returncode and "No matching distribution found for setuptools" in output:
        missing("setuptools, which builds the wheel, cannot be had: no package index answers")
    assert build.returncode == 0, output
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def held(wheel: Path) -> set[str]:
    """The files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel in it, as site-packages has it; the dependencies are this environment's."""
    target = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def run_installed(installed: Path, *arguments: str) -> str:
    """Run Python with the wheel before the source tree."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_packages_are_complete() -> None:
    """`packages` in pyproject.toml names every folder with code, Lua scripts included."""
    expected = (
        packages("sharedstate", "__init__.py") | packages("cli", "__init__.py") | packages("lua", ".lua")
    )
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == expected


def test_every_python_folder_is_a_package() -> None:
    """No folder with modules lacks its __init__.py."""
    for folder in ("sharedstate", "cli"):
        assert packages(folder, ".py") == packages(folder, "__init__.py")


def test_the_wheel_holds_everything(held: set[str]) -> None:
    """Each module, Lua script, grammar and type marker of the source tree is in it, under our names."""
    expected = (
        shipped("sharedstate", ".py", ".lark", "py.typed") | shipped("cli", ".py") | shipped("lua", ".lua")
    )
    assert expected - held == set()
    assert any(name.startswith("sharedstate/_lua/includes/") for name in held)
    assert "sharedstate/config/momentum.lark" in held
    assert "sharedstate/py.typed" in held


def test_the_wheel_takes_no_name_of_others(held: set[str]) -> None:
    """site-packages gets no top-level `cli`, `lua` or `tests`."""
    tops = {name.split("/")[0] for name in held if ".dist-info/" not in name}
    assert tops == {"sharedstate", "sharedstate_cli"}


def test_the_wheel_loads_its_scripts(installed: Path) -> None:
    """Installed, the library finds all Lua scripts in its own package."""
    code = (
        "import sharedstate, sharedstate.scripts as s; print(sharedstate.__file__);"
        "print(*(script.name for script in s.all_scripts()))"
    )
    place, names = run_installed(installed, "-c", code).splitlines()
    assert Path(place).is_relative_to(installed)
    assert names.split() == sorted(path.stem for path in (ROOT / "lua").glob("*.lua"))


def test_the_wheel_has_the_console(installed: Path) -> None:
    """The installed command runs from the installed package."""
    (entry_points,) = installed.glob("*.dist-info/entry_points.txt")
    assert "sharedstate-cli = sharedstate_cli.main:main" in entry_points.read_text(encoding="utf-8")
    code = (
        "import sys, sharedstate_cli.main as m; print(m.__file__, flush=True);"
        "sys.argv[1:] = ['help']; m.main()"
    )
    place, _, text = run_installed(installed, "-c", code).partition("\n")
    assert Path(place).is_relative_to(installed)
    assert "membership" in text


def requirements(listed: list[str]) -> list[str]:
    """The names in a list of requirements, without versions and without our own extras."""
    names = [re.split(r"[\[<>=~! ]", requirement)[0] for requirement in listed]
    return [name for name in names if name != PROJECT["project"]["name"]]


def test_every_dependency_has_its_reason() -> None:
    """docs/dependencies.md explains what gets installed, extras included."""
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    extras = PROJECT["project"]["optional-dependencies"]
    explained = set(re.findall(r"[a-z][a-z0-9-]*", page))
    for listed in (PROJECT["project"]["dependencies"], *extras.values()):
        assert set(requirements(listed)) <= explained


def test_run_time_imports_are_declared() -> None:
    """What the shipped code imports is the standard library, itself, or a declared dependency."""
    imports = re.compile(r"^\s*(?:from|import) ([a-z_][a-z0-9_]*)", re.MULTILINE)
    code_of = [path for folder in ("sharedstate", "cli") for path in (ROOT / folder).rglob("*.py")]
    used = {name for path in code_of for name in imports.findall(without_strings(path))}
    others = used - set(sys.stdlib_module_names) - {"sharedstate", "sharedstate_cli"}
    project = PROJECT["project"]
    declared = requirements(project["dependencies"] + project["optional-dependencies"]["export"])
    assert others == set(declared)


def without_strings(path: Path) -> str:
    """A module's text without its docstrings and other long strings, which quote code."""
    return re.sub(r'"""(?:.|\n)*?"""', '""', path.read_text(encoding="utf-8"))


def test_the_index_lists_every_page() -> None:
    """docs/index.md links to each page of docs/."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")} - {
        "index.md"
    }
    assert pages <= set(re.findall(r"\]\(([^)]+)\)", index))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file that exists."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    files = [target.partition("#")[0] for target in targets if "://" not in target]
    assert [file for file in files if file and not (page.parent / file).exists()] == []


def test_the_changelog_knows_this_version() -> None:
    """The version of pyproject.toml has an entry."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {PROJECT['project']['version']}" in changelog


def test_the_readme_can_be_typed(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The README's Python lines do what they say."""
    monkeypatch.setenv("SHAREDSTATE_URL", url)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    try:
        exec(code, names)
    finally:
        if "state" in names:
            names["state"].close()
    assert capsys.readouterr().out.split() == ["1", "1"]


@pytest.mark.slow
def test_the_demo() -> None:
    """`make demo` shows the three nodes and their sum, and ends well."""
    need_server()
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    logged = re.findall(r"^(relay-0-\d) joined and read .* s: (\d+) inbound", done.stdout, re.MULTILINE)
    expected = json.loads((ROOT / "examples" / "logs" / "expected.json").read_text(encoding="utf-8"))
    assert {node: int(count) for node, count in logged} == {
        node: sum(truth["open"].values()) for node, truth in expected.items()
    }
    total = sum(int(count) for _, count in logged)
    assert re.search(rf"the fleet +{total} +{total}$", done.stdout, re.MULTILINE)
