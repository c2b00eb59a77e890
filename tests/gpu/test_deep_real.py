"""A deep look on a GPU, beside torch's own counters for the same step with nobody watching.

With `MEMTOP_RECORD` set to a folder the allocator's record is written there; in `tests/fixtures/history` it is played
again without a device (`test_replay_cuda.py`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from memtop.probe.cuda_history import UNSEEN  # noqa: E402
from tests.gpu.device import STANDS_IN, computes  # noqa: E402
from tests.unit.deep_driver import Driver, Seen, modules_of  # noqa: E402
from tests.unit.recorded_trace import captured, save  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this torch sees no CUDA device"),
]

BLOCK = 512
"""The allocator rounds up to it."""
PARAMETERS, BUFFERS, ACTIVATIONS = 456_744, 1_816, 40_374_536
"""Of the CNN at batch 64, as on the CPU: closed forms."""


class Training:
    """The CNN 32/64/128 with Adam, warm: libraries have their workspaces, the optimizer its state."""

    def __init__(self, device: str) -> None:
        torch.manual_seed(0)
        layers: list[Any] = []
        width = 3
        for out in (32, 64, 128):
            layers += [nn.Conv2d(width, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]
            width = out
        self.model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 10)).to(device)
        self.x = torch.randn(64, 3, 32, 32, device=device)
        self.y = torch.randint(0, 10, (64,), device=device)
        self.optimizer = torch.optim.Adam(self.model.parameters())
        for _ in range(3):
            self.step()

    def step(self) -> None:
        self.optimizer.zero_grad()
        functional.cross_entropy(self.model(self.x), self.y).backward()
        self.optimizer.step()

    def peaks(self) -> dict[str, int]:
        """The allocator's own maxima of one step that nobody watches."""
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        self.step()
        torch.cuda.synchronize()
        stats = torch.cuda.memory_stats()
        return {name: stats[f"{name}_bytes.all.peak"] for name in ("requested", "allocated")}

    def seen(self) -> Seen:
        return Driver(self.optimizer, modules=modules_of(self.model)).look(self.step)


class Sequences(Training):
    """Two encoder layers with dropout on 16 sequences of 64, AdamW, warm."""

    def __init__(self, device: str) -> None:
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True)
        self.model = nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(64 * 128, 10)).to(device)
        self.x = torch.randn(16, 64, 128, device=device)
        self.y = torch.randint(0, 10, (16,), device=device)
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        for _ in range(3):
            self.step()


@pytest.mark.parametrize("kind", ["cnn", "sequences"])
def test_the_peak_is_the_allocators(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    training = (Training if kind == "cnn" else Sequences)("cuda:0")
    alone = training.peaks()
    played = captured(monkeypatch)
    seen = training.seen()
    peak = seen.memory("peak")
    assert not torch._C._cuda_isHistoryEnabled()
    assert not [note for note in peak["notes"] if UNSEEN in note]
    assert peak["allocator"] is not None, "the blocks' sizes are known"
    assert seen.peak == peak["allocator"]["requested"]
    assert abs(seen.peak - alone["requested"]) <= BLOCK
    assert abs(peak["allocator"]["allocated"] - alone["allocated"]) <= BLOCK
    assert sum(row["at_peak"] for row in seen.one("modules")["rows"]) == seen.peak
    assert sum(row["at_peak"] for row in seen.one("lines")["rows"]) == seen.peak
    if kind == "cnn":
        assert peak["where"]["phase"] == "backward"
    if folder := os.environ.get("MEMTOP_RECORD"):
        over = "a stand-in for the CUDA runtime, without a GPU" if STANDS_IN else torch.cuda.get_device_name(0)
        made = f"torch {torch.__version__} over {over}"
        counters = {name: count for name, count in peak["allocator"].items() if name != "retries"}
        expected = {"made": made, "peak": list(peak["bytes"].values()), "counters": counters}
        save(Path(folder) / f"{kind}{'_stand_in' if STANDS_IN else ''}.json.gz", played[0], expected)


def test_the_categories_are_those_of_the_cpu() -> None:
    """cuDNN's batch norm keeps a reserve for backward beside what the CPU keeps; cuBLAS has a workspace of its own."""
    seen = Training("cuda:0").seen()
    for moment in ("forward_end", "backward_end", "step_end"):
        found = seen.at(moment)
        assert (found["parameters"], found["buffers"]) == (PARAMETERS, BUFFERS)
        assert 2 * PARAMETERS <= found["optimizer_state"] <= 2 * PARAMETERS + 4 * 14
        assert found["inputs"] == 64 * 3 * 32 * 32 * 4 + 64 * 8
        assert found["other_tensors"] <= 64 * 1024**2
    assert seen.at("backward_end")["gradients"] == PARAMETERS
    assert ACTIVATIONS <= seen.at("forward_end")["activations"] <= 1.02 * ACTIVATIONS
    for moment in ("forward_end", "backward_end", "step_end", "peak"):
        record = seen.memory(moment)
        assert sum(record["bytes"].values()) == record["allocator"]["requested"] <= record["allocator"]["allocated"]


def test_the_programs_own_history_is_left_alone() -> None:
    training = Training("cuda:0")
    torch.cuda.memory._record_memory_history(max_entries=1000)
    try:
        seen = training.seen()
        assert torch._C._cuda_isHistoryEnabled()
    finally:
        torch.cuda.memory._record_memory_history(None)
    assert f"{UNSEEN}: the program's own memory history is on" in seen.memory("peak")["notes"]


@computes
def test_the_loss_is_bit_for_bit_that_of_a_run_that_nobody_watched() -> None:
    torch.backends.cudnn.deterministic = True
    try:
        watched, alone = Training("cuda:0"), Training("cuda:0")
        watched.seen()
        alone.step()
    finally:
        torch.backends.cudnn.deterministic = False
    pairs = zip(watched.model.parameters(), alone.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
