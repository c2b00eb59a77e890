"""`memtop fit` on a GPU: trials under a cap of torch's reserve, with OOMs of its allocator, and the plan of a step from
the CPU beside what torch reserves for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from tests.gpu.device import STANDS_IN, logged, memtop  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this torch sees no CUDA device"),
]
MIB = 2**20


def fitted(*arguments: str) -> dict[str, Any]:
    done = memtop("fit", *arguments, "--steps", "3", "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_the_largest_batch_runs_under_the_cap_and_a_batch_near_it_does_not() -> None:
    limit = 512 * MIB
    told = fitted("--scenario", "cnn", "--device", "cuda", "--memory", "512MiB")
    best, over = told["batch_size"], told["next"]["batch_size"]
    trials = {one["batch_size"]: one for one in told["trials"]}
    assert trials[best]["outcome"] == "ran"
    assert told["peak_bytes"] <= trials[best]["reserved_bytes"] <= limit
    assert not trials[over]["fits"]
    assert best < over <= 1.021 * best + 1, "near enough: no more than two in a hundred are given away"
    assert len(told["trials"]) <= 12
    assert any(one["outcome"] == "oom" for one in told["trials"]), "running out is a result"


def test_a_cap_that_not_even_one_sample_fits_is_an_answer() -> None:
    done = memtop("fit", "--scenario", "cnn", "--device", "cuda", "--memory", "4MiB", "--steps", "3")
    assert done.returncode == 1
    assert "not even batch 1 fits" in done.stdout


@pytest.mark.parametrize(("scenario", "batch"), [("mlp-mnist", 256), ("cnn", 64), ("deep-stack", 32)])
def test_a_plan_from_the_cpu_is_near_what_torch_reserves(tmp_path: Path, scenario: str, batch: int) -> None:
    """But for cuBLAS's workspace, which is larger on Hopper than the plan takes it for."""
    log = tmp_path / "log.jsonl"
    words = ("--scenario", scenario, "--batch-size", str(batch), "--steps", "4", "--device", "cuda:0")
    assert memtop("--headless", *words, "--log", str(log)).returncode == 0
    real = max(one["reserved"] for one in logged(log) if one["kind"] == "memory")
    told = fitted("--as", "cuda", "--device-memory", "24GiB", "--scenario", scenario, "--most", str(batch))
    [row] = [row for row in told["rows"] if row["batch_size"] == batch]
    hopper = torch.cuda.get_device_capability()[0] == 9
    workspaces = (2 * 32 * MIB if hopper else 20 * MIB) + 4 * MIB
    assert row["reserved_bytes"] >= 0.99 * real - workspaces
    assert row["reserved_bytes"] <= 1.03 * real + (4 * MIB if STANDS_IN else workspaces)
