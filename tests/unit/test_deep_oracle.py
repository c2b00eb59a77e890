"""A deep look's peak, held against two that know nothing of memtop: the CPU allocator's own record, and MemTracker.

The allocator's record holds what a look can't see: scratch inside operators. There is none in these models but for the
convolutions. MemTracker's peak is of tensors, as ours is; it runs under a dispatch mode, too, under which autograd
adds up gradients out of place, and counts that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.checkpoint import checkpoint_sequential  # noqa: E402

from tests.unit.allocator_oracle import highest  # noqa: E402
from tests.unit.deep_driver import Driver, Seen, modules_of  # noqa: E402


class Residual(nn.Module):
    """Two users of one tensor: its gradient is a sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)

    def forward(self, x: Any) -> Any:
        return x + torch.tanh(self.inner(x)) * torch.sigmoid(x)


def mlp() -> tuple[Any, Any, Any]:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 128), nn.ReLU(), nn.Linear(128, 10))
    return model, torch.randn(64, 3, 32, 32), None


def residual() -> tuple[Any, Any, Any]:
    return nn.Sequential(*(Residual(32) for _ in range(4)), nn.Linear(32, 10)), torch.randn(200, 32), None


def stack() -> tuple[Any, Any, Any]:
    return nn.Sequential(*(nn.Linear(10, 10) for _ in range(100))), torch.randn(32, 10), None


def segments() -> tuple[Any, Any, Any]:
    model, x, _ = stack()
    return model, x, lambda given: checkpoint_sequential(model, 2, given, use_reentrant=False)


def cnn() -> tuple[Any, Any, Any]:
    layers: list[Any] = []
    width = 3
    for out in (32, 64, 128):
        layers += [nn.Conv2d(width, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]
        width = out
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 10)), torch.randn(64, 3, 32, 32), None


class Training:
    """Adam on one of the models."""

    def __init__(self, make: Callable[[], tuple[Any, Any, Any]]) -> None:
        torch.manual_seed(0)
        self.model, self.x, forward = make()
        self.y = torch.randint(0, 10, (self.x.shape[0],))
        self.forward = forward or self.model
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.step()
        self.step()
        self.optimizer.zero_grad()

    def step(self) -> Any:
        loss = functional.cross_entropy(self.forward(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        return loss

    def seen(self) -> Seen:
        seen = Driver(self.optimizer, modules=modules_of(self.model)).look(self.step)
        self.optimizer.zero_grad()
        return seen


@pytest.mark.parametrize("make", [residual, stack])
def test_the_peak_is_the_allocators_to_the_byte(make: Any) -> None:
    training = Training(make)
    seen = training.seen()
    held = sum(seen.one("trace")["points"][0])
    assert seen.peak - held == highest(training.step)
    assert seen.at("peak")["other_tensors"] == 0


@pytest.mark.parametrize(("make", "scratch"), [(mlp, 12), (cnn, 1_024), (segments, 8_432)])
def test_scratch_inside_operators_is_what_is_missing(make: Any, scratch: int) -> None:
    """12 bytes of scalars that Adam's operators wrap; 1,024 bytes in the convolutions; under checkpoint 5,056 of a
    generator's state and 3,376 around it, which the recomputation takes through C++ and gives back."""
    training = Training(make)
    seen = training.seen()
    held = sum(seen.one("trace")["points"][0])
    assert 0 <= held + highest(training.step) - seen.peak <= scratch


def test_the_peak_of_a_checkpointed_stack_is_in_its_recomputation() -> None:
    where = Training(segments).seen().memory("peak")["where"]
    assert (where["phase"], where["module"]) == ("recompute", "49")


@pytest.mark.parametrize(("batch", "phase"), [(64, "optimizer"), (512, "optimizer"), (1024, "backward")])
def test_the_peak_moves_into_backward_as_the_batch_grows(batch: int, phase: str) -> None:
    """What Adam's step needs for a moment, 802,816 bytes beside 407,080 of gradients, does not grow with the batch; the
    hidden layer's output and its gradient do."""

    def mnist() -> tuple[Any, Any, Any]:
        model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
        return model, torch.randn(batch, 1, 28, 28), None

    where = Training(mnist).seen().memory("peak")["where"]
    assert where["phase"] == phase
    assert where["module"] == {"optimizer": None, "backward": "2"}[phase]


@pytest.mark.parametrize("make", [mlp, stack, cnn])
def test_memtracker_says_the_same_peak(make: Any) -> None:
    """Agrees wherever no gradients are added up; its categories are ours but for `temporaries` of the optimizer, which
    it books as state."""
    from torch.distributed._tools.mem_tracker import MemTracker

    training = Training(make)
    seen = training.seen()
    tracker = MemTracker()
    tracker.track_external(training.model, training.optimizer, training.x, training.y)
    with tracker:
        training.step()
    told = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
    assert told["Total"] == seen.peak
    by_name = {str(getattr(name, "value", name)): size for name, size in told.items()}
    ours = seen.at("peak")
    assert by_name["Parameter"] == ours["parameters"]
    assert by_name["Buffer"] == ours["buffers"]
    assert by_name["Gradient"] == ours["gradients"]
