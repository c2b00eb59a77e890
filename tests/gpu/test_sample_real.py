"""A batch on a device: copied without a wait, and without a byte more on the device."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from memtop.probe.sample import Samples  # noqa: E402
from tests.gpu.device import computes  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def taken(tensor: Any) -> tuple[Samples, int]:
    """Samples of a tensor, and by how much the device's memory has peaked meanwhile."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    random = torch.cuda.get_rng_state()
    samples = Samples(1)
    samples.entered((tensor,), {})
    assert torch.equal(random, torch.cuda.get_rng_state())
    return samples, torch.cuda.max_memory_allocated() - before


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_copy_takes_no_memory_on_the_device(memory_format: Any) -> None:
    images = torch.arange(4 * 3 * 32 * 32).float().reshape(4, 3, 32, 32)
    images = images.contiguous(memory_format=memory_format).to("cuda")
    samples, more = taken(images)
    assert more == 0
    torch.cuda.synchronize()
    record = samples.record()
    assert record is not None
    (told,) = record["tensors"]
    assert (told["device"], told["unread"]) == ("cuda:0", None)
    assert (told["low"], told["high"], told["looked"]) == (0.0, 12287.0, 12288)
    assert record["picture"]["pixels"]


@computes
def test_what_is_still_on_its_way_is_told_later() -> None:
    """The device is kept busy: nobody waits for it, and the copy is read once it has come."""
    values = torch.zeros(8, 4, device="cuda")
    torch.cuda.synchronize()
    torch.cuda._sleep(2_000_000_000)
    values.add_(3)
    samples = Samples(1)
    samples.entered((values,), {})
    assert samples.record() is None, "the device still sleeps"
    torch.cuda.synchronize()
    record = samples.record()
    assert record is not None
    assert record["tensors"][0]["high"] == 3.0, "what the stream had come to by then"


def test_a_view_with_gaps_is_told_by_its_shape() -> None:
    samples, more = taken(torch.zeros(8, 8, device="cuda")[:, ::2])
    assert more == 0
    record = samples.record()
    assert record is not None
    assert "gaps" in record["tensors"][0]["unread"]


def test_a_huge_sample_is_told_by_its_shape() -> None:
    samples, more = taken(torch.zeros(1, 3, 1024, 1024, device="cuda"))
    assert more == 0
    record = samples.record()
    assert record is not None
    assert record["picture"] is None
    assert "more than is copied" in record["tensors"][0]["unread"]
