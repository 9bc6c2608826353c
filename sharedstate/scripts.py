"""Load the Lua scripts: text, SHA-1 and key count of each, with includes resolved.

A script is one file ``lua/<noun>_<verb>.lua``; a line ``--- @include "name"`` is replaced by
``lua/includes/name.lua``, once per script. The loader refuses cycles and missing files with file and line.
Scripts ship inside the package (``sharedstate._lua``); in a source tree they are the folder ``lua/``.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from .errors import SharedStateError

__all__ = ["Script", "ScriptError", "all_scripts", "load_script"]

_INCLUDE = re.compile(r'^--- @include "([a-z0-9_]+)"\s*$')
_KEYS = re.compile(r"^--\s+KEYS\[(\d+)\]", re.MULTILINE)


class ScriptError(SharedStateError):
    """A script file is missing or its includes do not resolve: a defect of the installation."""


@dataclass(frozen=True, slots=True)
class Script:
    """One server-side script.

    Attributes:
        name: file name without ``.lua``.
        text: what the server runs.
        sha: SHA-1 of the text, in lower-case hex, as EVALSHA wants it.
        key_count: how many KEYS its header documents, which is how many every call passes.
    """

    name: str
    text: str = field(repr=False)
    sha: str
    key_count: int


@functools.cache
def _folder() -> Path:
    here = Path(__file__).resolve().parent
    for folder in (here / "_lua", here.parent / "lua"):
        if folder.is_dir():
            return folder
    raise ScriptError(
        f"no Lua scripts beside {here}: the installation is incomplete, install sharedstate again."
    )


def _expand(path: Path, stack: tuple[Path, ...], seen: set[Path], folder: Path) -> list[str]:
    if not path.is_file():
        raise ScriptError(f"script file {path} does not exist.")
    lines: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = _INCLUDE.match(line)
        if match is None:
            if line.startswith("--- @include"):
                raise ScriptError(f'{path}:{number}: expected --- @include "name", got {line!r}.')
            lines.append(line)
            continue
        target = folder / "includes" / f"{match[1]}.lua"
        if target in (*stack, path):
            chain = " -> ".join(step.name for step in (*stack, path, target))
            raise ScriptError(f"{path}:{number}: include cycle {chain}.")
        if not target.is_file():
            raise ScriptError(f"{path}:{number}: included file {target} does not exist.")
        if target in seen:
            continue
        seen.add(target)
        lines += _expand(target, (*stack, path), seen, folder)
    return lines


@functools.cache
def load_script(name: str, folder: Path | None = None) -> Script:
    """Load one script by name.

    Raises:
        ScriptError: the file or an include is missing, or includes form a cycle.
    """
    base = folder or _folder()
    text = "\n".join(_expand(base / f"{name}.lua", (), set(), base)) + "\n"
    keys = {int(number) for number in _KEYS.findall(text)}
    if keys != set(range(1, len(keys) + 1)) or not keys:
        raise ScriptError(f"script {name}: its header documents KEYS {sorted(keys)}, expected 1 to n.")
    sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return Script(name, text, sha, len(keys))


def all_scripts() -> list[Script]:
    """Every script of the package, by name."""
    return [load_script(path.stem) for path in sorted(_folder().glob("*.lua"))]
