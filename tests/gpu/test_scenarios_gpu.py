"""Whole runs of memtop on a GPU: each record adds up, the context is known, what is forecast is what comes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from tests.gpu.device import LIMIT, ROOT, Record, adds_up, computes, logged, memtop  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this torch sees no CUDA device"),
]
MIB = 2**20


def run(tmp_path: Path, scenario: str, *more: str) -> list[Record]:
    """The log of a scenario on the GPU, its memory records held against the identity."""
    log = tmp_path / f"{scenario}.jsonl"
    done = memtop("--headless", "--scenario", scenario, "--device", "cuda:0", "--log", str(log), *more)
    assert done.returncode == 0, done.stderr
    records = logged(log)
    assert not [one for one in records if one["kind"] == "event" and one["name"] == "probe"], "watching has not ended"
    memory = [one for one in records if one["kind"] == "memory"]
    assert memory
    for one in memory:
        adds_up(one)
    return records


def moments(records: list[Record], name: str, tier: str = "deep") -> list[Record]:
    return [one for one in records if one["kind"] == "memory" and one["moment"] == name and one["tier"] == tier]


@pytest.mark.parametrize(
    "scenario", ["mlp-mnist", "mlp-cifar", "cnn", "deep-stack", "iris", "transformer", "batch-size"]
)
def test_a_scenario_adds_up(tmp_path: Path, scenario: str) -> None:
    records = run(tmp_path, scenario, "--steps", "6")
    assert moments(records, "peak")


def test_categories_are_the_closed_forms(tmp_path: Path) -> None:
    records = run(tmp_path, "cnn", "--steps", "4")
    [peak] = moments(records, "peak")[:1]
    ended = moments(records, "step_end")[0]["bytes"]
    assert (ended["parameters"], ended["buffers"], ended["gradients"]) == (456_744, 1_816, 456_744)
    assert 2 * 456_744 <= ended["optimizer_state"] <= 2 * 456_744 + 4 * 14
    assert ended["inputs"] == 64 * (3 * 32 * 32 * 4 + 8)
    forward = moments(records, "forward_end")[0]["bytes"]
    assert 40_374_532 <= forward["activations"] <= 1.02 * 40_374_536
    assert peak["where"]["phase"] == "backward"
    assert peak["bytes"]["context"] is not None
    assert peak["bytes"]["context"] > 50 * MIB


def test_a_forecast_at_one_batch_is_what_another_takes(tmp_path: Path) -> None:
    [told] = [one for one in run(tmp_path, "cnn", "--steps", "3") if one["kind"] == "forecast"][:1]
    peak = moments(run(tmp_path, "cnn", "--steps", "3", "--batch-size", "256"), "peak")[0]
    foretold = max(line["fixed_bytes"] + 256 * line["bytes_per_sample"] for line in told["phases"])
    requested = sum(size or 0 for name, size in peak["bytes"].items() if name in told_tensors)
    assert abs(foretold / requested - 1) <= 0.03


told_tensors = (
    *("parameters", "buffers", "gradients", "optimizer_state", "inputs", "activations", "temporaries", "other_tensors"),
)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision(tmp_path: Path, precision: str) -> None:
    records = run(tmp_path, "precision", "--steps", "4", "--set", f"precision={precision}")
    forward = moments(records, "forward_end")[0]["bytes"]
    assert forward["activations"] > 0
    assert forward["parameters"] > 0


def test_a_command_of_ones_own_is_watched(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    script = ROOT / "scenarios" / "mlp-mnist" / "train.py"
    command = (str(script), "--device", "cuda", "--steps", "5")
    done = memtop("run", "--headless", "--python", sys.executable, "--log", str(log), *command)
    assert done.returncode == 0, done.stderr
    records = logged(log)
    for one in records:
        if one["kind"] == "memory":
            adds_up(one)
    assert records[-1]["steps"] == 5


def test_specs_name_the_device_as_torch_does() -> None:
    [gpu, *_] = json.loads(memtop("specs", "--json").stdout)["gpus"]
    assert gpu["visible_as"] == "cuda:0"


def test_attached_from_outside_the_device_and_its_context_are_told(tmp_path: Path) -> None:
    """The parent holds a process on the device; memtop looks at it from outside."""
    program = (
        "import torch, sys; held = torch.empty(64 << 20, dtype=torch.uint8, device='cuda'); print('up', flush=True)"
    )
    program += "; sys.stdin.read()"
    target = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert target.stdout is not None
        assert target.stdout.readline() == "up\n"
        log = tmp_path / "log.jsonl"
        done = memtop("attach", "--headless", "--duration", "2", "--log", str(log), str(target.pid))
        assert done.returncode == 0, done.stderr
        devices = [one for one in logged(log) if one["kind"] == "device" and one["device"].startswith("cuda")]
        mine = [process for one in devices for process in one["processes"] or [] if process["pid"] == target.pid]
        assert mine
        assert mine[-1]["bytes"] is None or mine[-1]["bytes"] >= 64 * MIB
    finally:
        target.communicate(timeout=LIMIT)


@computes
def test_the_loss_of_a_scenario_falls(tmp_path: Path) -> None:
    losses = [one["loss"] for one in run(tmp_path, "cnn", "--steps", "60") if one["kind"] == "step" and one["loss"]]
    assert losses[-1] < losses[0]
