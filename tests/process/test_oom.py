"""The scenario `oom`: it ends as a training ends whose memory has ended, and no other process pays for it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

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


def test_watched_it_ends_the_same_way_and_the_log_is_whole() -> None:
    pytest.importorskip("torch", reason="scenarios need torch")
    settings = ("--set", "cap=100", "--set", "phase_steps=1", "--device", "cpu", "--log", "-")
    done = ran("-m", "memtop", "--headless", "--scenario", "oom", *settings)
    count = ended(done, done.stderr)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert (records[-1]["kind"], records[-1]["exit_code"], records[-1]["steps"]) == ("end", 1, count - 1)
    held = {r["bytes"]["inputs"] for r in records if r["kind"] == "memory" and r["moment"] == "forward_end"}
    assert {16 * (12_288 + 8), 32 * (12_288 + 8)} <= held
