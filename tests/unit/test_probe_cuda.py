"""What the probe does on a GPU, as far as it can be held without one: counters by name, copies by size, no waiting."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from memtop.probe import allocator
from memtop.probe.inputs import Inputs
from memtop.probe.loss import Loss

STATS = {
    "requested_bytes": {"all": {"current": 90}},
    "allocated_bytes": {"all": {"current": 96}},
    "active_bytes": {"all": {"current": 100}},
    "reserved_bytes": {"all": {"current": 128}},
    "num_alloc_retries": 2,
}
"""The nest that `torch.cuda.memory_stats_as_nested_dict` documents, the keys that we read."""


def test_counters_are_read_by_torchs_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def stats(device: int) -> dict[str, Any]:
        asked.append(device)
        return STATS

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch._C, "_cuda_memoryStats", stats, raising=False)
    # 4 bytes wait for another stream: they are no tensor's any more, and torch still counts them as asked for.
    wanted = {"requested": 86, "allocated": 96, "active": 100, "reserved": 128, "retries": 2}
    assert allocator.counters("cuda:3") == wanted
    assert asked == [3]


def test_there_are_no_counters_on_the_cpu_nor_before_cuda_begins() -> None:
    assert allocator.counters("cpu") is None
    assert allocator.counters("cuda:0") is None
    assert allocator.facts()["devices"] == []
    assert not torch.cuda.is_initialized()


def test_a_copy_on_another_device_is_told_by_dtype_and_size() -> None:
    inputs = Inputs()
    inputs.took((torch.zeros(4, 3, 8, 8), torch.zeros(4, dtype=torch.int64)), 0)
    assert inputs.samples == 4
    assert inputs.is_copy(torch.empty(4, 3 * 64, device="meta"))
    assert inputs.is_copy(torch.empty(4, dtype=torch.int64, device="meta"))
    assert not inputs.is_copy(torch.empty(4, 3, 8, 8, dtype=torch.float64, device="meta"))
    assert not inputs.is_copy(torch.empty(4, 3, 8, 9, device="meta"))
    assert not inputs.is_copy(torch.empty(4, 3, 8, 8, device="meta", requires_grad=True))
    assert not inputs.is_copy(torch.zeros(4, 3, 8, 8)), "on the loader's own device it would be the batch itself"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_a_loss_on_the_cpu_is_read_as_it_stands(dtype: torch.dtype) -> None:
    loss = Loss()
    loss.saw(torch.tensor(1.5, dtype=dtype))
    assert loss.value == 1.5
    loss.saw(torch.zeros(2))
    assert loss.value == 1.5, "what is no scalar is no loss"


class _Event:
    done = False

    def record(self) -> None:
        """As a CUDA event does."""

    def query(self) -> bool:
        return self.done


def test_a_loss_on_a_device_is_read_when_its_copy_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Event", _Event)
    monkeypatch.setattr(torch, "empty", lambda *size, pin_memory, **more: torch.zeros(*size, **more))
    loss = Loss()
    loss._send(torch.tensor(2.5))
    loss.poll()
    assert loss.value is None
    monkeypatch.setattr(_Event, "done", True)
    loss.poll()
    assert loss.value == 2.5
