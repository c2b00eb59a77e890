"""What CUDA has in one operator and the CPU in parts, and what a sum takes while it runs."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="a step has to be looked at")

from torch import nn  # noqa: E402

from memtop.model.fused import fused_attention, masks_of_bytes  # noqa: E402
from memtop.model.reductions import scratch  # noqa: E402
from tests.unit.step_files import looked  # noqa: E402

BATCH, HEADS, LENGTH, WIDTH = 3, 2, 10, 16
SCORES = BATCH * HEADS * LENGTH * LENGTH * 4


def batch(count: int) -> tuple[Any, Any]:
    return torch.randn(count, LENGTH, WIDTH), torch.zeros(count, LENGTH, dtype=torch.int64)


def made(model: Any) -> Any:
    return looked(model, BATCH, make=batch)[0]


def test_a_mask_of_dropout_is_a_byte_for_each_element() -> None:
    events = made(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.5), nn.Linear(WIDTH, 4)))
    after = masks_of_bytes(events)
    smaller = [number for number, birth in enumerate(after.births) if birth.bytes != events.births[number].bytes]
    assert [events.operator(number) for number in smaller] == ["aten.empty_like"]
    assert after.births[smaller[0]].bytes == BATCH * LENGTH * WIDTH
    assert events.peak - after.peak <= 3 * BATCH * LENGTH * WIDTH
    assert len(after.changes) == len(events.changes)


def test_attention_with_dropout_keeps_no_scores() -> None:
    events = made(nn.TransformerEncoderLayer(WIDTH, HEADS, 32, dropout=0.1, batch_first=True))
    as_large = [number for number, size in events.changes if size == SCORES]
    assert len(as_large) >= 5, "the CPU has scores, their softmax, its mask and its product, and their gradients"
    after = fused_attention(events)
    assert not [number for number, size in after.changes if size == SCORES]
    rows = [number for number, size in after.changes if size == BATCH * HEADS * LENGTH * 4]
    assert [after.operator(number) for number in rows] == ["aten._safe_softmax"]
    assert after.moments["forward_end"] < events.moments["forward_end"]
    gradients = {number for number, size in events.changes if size and events.category(number) == "gradients"}
    assert {number for number, size in after.changes if size} >= gradients


def test_other_steps_stay_as_they_are() -> None:
    events = made(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 4)))
    assert masks_of_bytes(fused_attention(events)) == events


@pytest.mark.parametrize(
    ("rows", "columns", "size"),
    [
        (2048, 4096, 67_108_864),
        (1024, 1024, 8_388_608),
        (1000, 1024, 0),
        (1040, 96, 0),
        (1024, 128, 1_048_576),
        (8192, 1, 0),
        (16, 4096, 0),
    ],
)
def test_the_buffer_of_a_sum_is_that_which_torch_takes(rows: int, columns: int, size: int) -> None:
    """Read off torch 2.14's own counters around `sum(0)` on a device of 132 multiprocessors, less its semaphores."""
    assert scratch(rows, columns) == size
