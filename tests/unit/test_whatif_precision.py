"""What does not shrink with the precision: integers and masks, attention in single operators, a softmax on CUDA."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from torch import Tensor, nn  # noqa: E402

from memtop.model.whatif_facts import Layer  # noqa: E402
from memtop.model.whatif_layers import half_precision  # noqa: E402
from tests.unit.deep_driver import Driver, Seen, modules_of  # noqa: E402

BATCH, LENGTH, WIDTH, HEADS = 4, 32, 16, 2
ONE = BATCH * LENGTH * WIDTH * 4
"""Bytes of a number for each place and each of its dimensions."""
SCORES = BATCH * HEADS * LENGTH * LENGTH * 4


class Encoder(nn.Module):
    """torch's own attention over what a layer makes."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, dropout=dropout, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.attention(y, y, y, need_weights=False)[0]


def looked(model: Any, autocast: bool = False, x: Any = None) -> Seen:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    driver = Driver(optimizer, modules=modules_of(model))
    given = torch.randn(BATCH, LENGTH, WIDTH) if x is None else x

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss: Tensor = model(given).float().sum()
        loss.backward()
        optimizer.step()
        return loss.detach()

    step()
    return driver.look(step)


def test_attention_in_single_operators_keeps_float32() -> None:
    """Under dropout: the scores, what dropout draws and leaves of them, and queries and keys made smaller."""
    row = looked(Encoder(0.1)).row("attention")
    assert row["whole"] == 3 * SCORES + 2 * ONE
    autocast = looked(Encoder(0.1), autocast=True).row("attention")
    assert autocast["whole"] == row["whole"]
    assert looked(Encoder(0.0)).row("attention")["whole"] == 0


def test_indices_of_a_pooling_are_as_large_in_any_precision() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 16, 2))
    row = looked(model, x=torch.randn(BATCH, 1, 8, 8)).row("1")
    assert row["whole"] == BATCH * 4 * 16 * 8
    assert row["activations"] == BATCH * 4 * 16 * (8 + 4)


def test_a_softmax_of_ones_own_is_told_apart() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.layer(x)
            return (y @ y.transpose(1, 2)).softmax(-1) @ y

    row = looked(Written()).row("")
    assert (row["softmax"], row["whole"]) == (BATCH * LENGTH * LENGTH * 4, 0)


@pytest.mark.parametrize(
    ("layer", "share"),
    [
        (Layer("a", "Linear", 100, None, 0), 0.5),
        (Layer("a", "MultiheadAttention", 100, None, 0, whole=60), 0.8),
        (Layer("a", "MaxPool2d", 120, None, 0, whole=80), 100 / 120),
        (Layer("a", "MaxPool2d", 120, None, 0), 100 / 120),
        (Layer("a", "LayerNorm", 100, None, 0, whole=40), 1.0),
        (Layer("a", "Attention", 100, None, 0, softmax=40), 0.5),
    ],
)
def test_what_is_left_of_a_layer(layer: Layer, share: float) -> None:
    assert half_precision([layer]) == pytest.approx(share)


def test_cuda_keeps_a_softmax_in_float32_and_a_copy_beside() -> None:
    """Of 100 bytes the 60 that are none become 30; the softmax's 40 stay, and its copy for the product takes 20."""
    layer = Layer("a", "Attention", 100, None, 0, softmax=40)
    assert half_precision([layer], cuda=True) == pytest.approx(0.3 + 0.4 + 0.2)
    assert half_precision([layer], norms=True) == 0.5
