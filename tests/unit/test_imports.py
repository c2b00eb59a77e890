"""The walls between the floors, as a fresh interpreter sees them: what is loaded once a module has been imported.

The linter reads the source; this asks `sys.modules`, so a wall that is crossed through a library shows too.
"""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import memtop

ROOT = Path(__file__).parents[2]
WATCHED = (
    "torch",
    "numpy",
    "textual",
    "rich",
    "psutil",
    "pynvml",
    "msgspec",
    "click",
    "archspec",
    "multiprocessing",
    "vl_convert",
)
APART = ("memtop.scenarios", "memtop.probe", "memtop.workers")
"""Not the monitor's: they run in other processes, by path."""

# Each group is imported in one interpreter; what it may bring along is the union of what its members may.
ALLOWED: dict[str, set[str]] = {
    "memtop": set(),
    "memtop.tracking": set(),
    "memtop.model": {"msgspec"},
    "memtop.protocol": {"msgspec"},
    "memtop.sinks": {"msgspec"},
    "memtop.launcher": {"msgspec", "psutil"},
    "memtop.collectors": {"msgspec", "psutil", "pynvml", "archspec"},
    "memtop.terminal": {"click"},
    "memtop.usage": {"click"},
    "memtop.completion": {"click"},
    "memtop.commands": {"click"},
    "memtop.cli": {"click"},
    "memtop.session": {"msgspec", "psutil", "pynvml", "archspec"},
    "memtop.headless": {"msgspec", "psutil", "pynvml", "archspec"},
    "memtop.report": {"msgspec"},
    "memtop.fit": {"msgspec", "psutil", "pynvml", "archspec"},
    "memtop.doctor": {"msgspec", "psutil", "pynvml", "archspec"},
    "memtop.tui": {"msgspec", "psutil", "pynvml", "archspec", "textual", "rich", "click", "multiprocessing"},
}


def modules_of(group: str) -> list[str]:
    """The group itself and every module below it."""
    found = [group]
    path = Path(memtop.__file__).parent.joinpath(*group.split(".")[1:])
    if group != "memtop" and path.is_dir():
        found += [info.name for info in pkgutil.walk_packages([str(path)], f"{group}.")]
    return found


def loaded_by(code: str) -> set[str]:
    """The watched packages, and our own modules, that are loaded after `code` ran in a fresh interpreter."""
    report = "\nimport sys, json\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == 0, done.stderr
    names = json.loads(done.stdout.splitlines()[-1])
    return {name for name in names if name.startswith("memtop") or name in WATCHED}


def packages(loaded: set[str]) -> set[str]:
    return {name for name in loaded if not name.startswith("memtop")}


def test_every_module_stands_behind_some_wall() -> None:
    tops = {f"memtop.{info.name}" for info in pkgutil.iter_modules([str(Path(memtop.__file__).parent)])}
    assert tops - set(APART) - {"memtop.__main__"} == set(ALLOWED) - {"memtop"}


@pytest.mark.parametrize("group", ALLOWED)
def test_a_floor_brings_only_what_it_may(group: str) -> None:
    loaded = loaded_by("".join(f"import {name}\n" for name in modules_of(group)))
    assert packages(loaded) <= ALLOWED[group]
    assert not [name for name in loaded if name.startswith(("memtop.probe", "memtop.workers"))]


def test_the_package_alone_brings_nothing() -> None:
    assert loaded_by("import memtop") == {"memtop"}


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_version_and_help_meet_only_click(argument: str) -> None:
    loaded = loaded_by(f"from memtop.cli import main\nassert main([{argument!r}]) == 0")
    assert packages(loaded) == {"click"}
    assert {name.split(".")[1] for name in loaded if "." in name} == {"cli", "commands", "terminal", "usage"}


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["scenarios"], {"msgspec"}),
        (["schema"], {"msgspec"}),
        (["specs"], {"msgspec", "psutil", "pynvml", "archspec"}),
        (["--scenario", "nope"], {"msgspec", "psutil", "pynvml", "archspec"}),
    ],
)
def test_a_branch_imports_only_what_it_needs(arguments: list[str], allowed: set[str]) -> None:
    loaded = packages(loaded_by(f"from memtop.cli import main\nmain({arguments!r})"))
    assert loaded <= allowed | {"click"}
