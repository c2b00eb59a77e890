"""The wheel holds everything that runs, and nothing that does not."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from memtop import __version__
from memtop.launcher import manifests

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built as pip would, with the build backend that is here: nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(ROOT)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_it_is_called_torch_memtop_and_carries_the_version(wheel: zipfile.ZipFile) -> None:
    assert Path(wheel.filename or "").name == f"torch_memtop-{__version__}-py3-none-any.whl"
    entry = wheel.read(f"torch_memtop-{__version__}.dist-info/entry_points.txt").decode()
    assert "memtop = memtop.cli:main" in entry


def test_every_file_that_runs_is_in_it(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for path in (*ROOT.glob("memtop/**/*"), *ROOT.glob("scenarios/**/*")):
        name = path.relative_to(ROOT).as_posix()
        if path.is_file() and "__pycache__" not in name and "/." not in name and path.suffix != ".jsonl":
            assert (f"memtop/{name}" if name.startswith("scenarios/") else name) in names
    assert {"memtop/py.typed", "memtop/probe/bootstrap/sitecustomize.py", "memtop/tui/app.tcss"} <= names
    for scenario in manifests.names():
        assert {f"memtop/scenarios/{scenario}/train.py", f"memtop/scenarios/{scenario}/scenario.toml"} <= names


def test_nothing_else_is_in_it(wheel: zipfile.ZipFile) -> None:
    for name in wheel.namelist():
        assert name.startswith(("memtop/", f"torch_memtop-{__version__}.dist-info/")), name
        assert "__pycache__" not in name
        assert not name.startswith(("memtop/tests", "memtop/scenarios/tests"))


def test_scenarios_are_found_when_installed(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Unpacked where no checkout is beside it."""
    wheel.extractall(tmp_path)
    code = "from memtop.launcher import manifests as m; import memtop; print(memtop.__file__, *m.names())"
    env = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=env, timeout=60, check=True
    )
    assert done.stdout.split() == [str(tmp_path / "memtop/__init__.py"), *manifests.names()]
