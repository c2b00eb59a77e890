"""Logs of short headless runs, each run once: tests that ask for the same settings share a log, across workers too."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from memtop.launcher import manifests

ROOT = Path(__file__).parents[2]
STEPS = 4
LIMIT = 120

Log = list[dict[str, Any]]


def shared(factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this test run have in common."""
    base = factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "logs"
    folder.mkdir(exist_ok=True)
    return folder


def logged(folder: Path, scenario: str, given: Mapping[str, object]) -> Log:
    """The records of four steps of a scenario on the CPU. Whoever comes first runs it, the others wait."""
    settings = manifests.resolve(manifests.load(scenario), given)
    name = hashlib.sha256(json.dumps([scenario, settings]).encode()).hexdigest()[:16]
    path = folder / f"{name}.jsonl"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _run(path, scenario, given)
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _run(path: Path, scenario: str, given: Mapping[str, object]) -> None:
    command = [sys.executable, "-m", "memtop", "--headless", "--scenario", scenario]
    command += ["--steps", str(STEPS), "--device", "cpu", "--log", "-"]
    for name, value in given.items():
        command += ["--set", f"{name}={value}"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 0, f"{scenario} {dict(given)}: {done.stderr}"
    path.with_suffix(".part").write_text(done.stdout, "utf-8")
    path.with_suffix(".part").rename(path)
