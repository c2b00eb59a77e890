"""The scenario `oom`: it ends as a training ends whose memory has ended, and no other process pays for it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memtop.launcher import manifests

ROOT = Path(__file__).parents[2]
LIMIT = 120

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the cap on the CPU is held by Linux alone")

Done = subprocess.CompletedProcess[str]


def ran(*command: str) -> Done:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT
    )


def phases(text: str) -> list[int]:
    return [int(each) for each in re.findall(r"^phase: batch (\d+), ", text, flags=re.MULTILINE)]


def ended(done: Done, said: str) -> int:
    """The true exception, torch's own exit status. Gives the number of phases."""
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "RuntimeError: " in done.stderr
    assert "DefaultCPUAllocator: can't allocate memory: you tried to allocate" in done.stderr
    sizes = phases(said)
    assert sizes == [16 * 2**i for i in range(len(sizes))]
    assert "done: " not in said
    return len(sizes)


def test_alone_it_ends_with_the_true_exception() -> None:
    pytest.importorskip("torch", reason="scenarios need torch")
    script = str(manifests.load("oom").script)
    done = ran(script, "--device", "cpu", "--cap", "100", "--phase-steps", "1")
    # Activations take 288 KiB a sample, so 100 MiB hold less than 512 of them, and more than 32.
    assert 2 < ended(done, done.stdout) <= 6


def forecast_of(log: str) -> dict[str, Any]:
    records = [json.loads(line) for line in log.splitlines()]
    found: dict[str, Any] = next(one for one in records if one["kind"] == "forecast")
    return found


def test_the_batch_that_is_said_to_fit_fits_under_the_cap_and_twice_as_many_do_not() -> None:
    pytest.importorskip("torch", reason="scenarios need torch")
    settings = ("--set", "cap=256", "--device", "cpu", "--steps", "3", "--log", "-")
    told = forecast_of(ran("-m", "memtop", "--headless", "--scenario", "oom", *settings).stdout)
    assert told["limit_is"] == "RLIMIT_AS"
    assert told["limit_bytes"] < 256 << 20
    assert "RLIMIT_AS, set on the process" in told["basis"]
    most, script = told["max_batch_size"], str(manifests.load("oom").script)
    alone = ("--device", "cpu", "--cap", "256", "--steps", "3")
    assert most > 200, "of 256 MiB at 428 KiB a sample, as much again is allowed for in the heap"
    assert ran(script, *alone, "--batch-size", str(most)).returncode == 0
    ended(ran(script, *alone, "--batch-size", str(2 * most)), "")


def test_watched_it_ends_the_same_way_and_the_log_is_whole() -> None:
    pytest.importorskip("torch", reason="scenarios need torch")
    settings = ("--set", "cap=100", "--set", "phase_steps=1", "--device", "cpu", "--log", "-")
    done = ran("-m", "memtop", "--headless", "--scenario", "oom", *settings)
    count = ended(done, done.stderr)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert (records[-1]["kind"], records[-1]["exit_code"], records[-1]["steps"]) == ("end", 1, count - 1)
    held = {r["bytes"]["inputs"] for r in records if r["kind"] == "memory" and r["moment"] == "forward_end"}
    assert {16 * (12_288 + 8), 32 * (12_288 + 8)} <= held
