"""Random small models, looked at: the parts are the whole, nothing is left over, training computes the same bits."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from tests.unit.allocator_oracle import highest  # noqa: E402
from tests.unit.deep_driver import Driver, Seen, modules_of  # noqa: E402

WIDTH, BATCH = 6, 4
WRAPPED = 64
"""Bytes of numbers that operators wrap as tensors inside C++, which no mode sees: a handful of scalars."""

LAYERS = ("linear", "shared", "view", "in_place", "residual", "dropout", "norm", "detached", "checkpoint", "reentrant")


class Random(nn.Module):
    """Layers by name, in a row, all of one width."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.names = names
        self.shared = nn.Linear(WIDTH, WIDTH)
        self.layers = nn.ModuleList(self._layer(name) for name in names)

    def _layer(self, name: str) -> Any:
        if name == "shared":
            layer = nn.Linear(WIDTH, WIDTH, bias=False)
            layer.weight = self.shared.weight
            return layer
        kinds = {"norm": lambda: nn.BatchNorm1d(WIDTH), "dropout": lambda: nn.Dropout(0.3)}
        return kinds.get(name, lambda: nn.Linear(WIDTH, WIDTH))()

    def forward(self, x: Any) -> Any:
        x = self.shared(x)
        for name, layer in zip(self.names, self.layers, strict=True):
            x = self._apply_one(name, layer, x)
        return x

    def _apply_one(self, name: str, layer: Any, x: Any) -> Any:
        if name == "view":
            return layer(x.view(2, -1, WIDTH)).transpose(0, 1).reshape(-1, WIDTH)
        if name == "in_place":
            return layer(x).mul_(0.5).relu_()
        if name == "residual":
            return x + layer(x).tanh() * x.sigmoid()
        if name == "detached":
            return layer(x) + x.detach().tanh()
        if name in ("checkpoint", "reentrant"):
            return checkpoint(lambda y: layer(y).tanh(), x, use_reentrant=name == "reentrant")
        return layer(x)


class Training:
    """Some steps of one random model, from one seed."""

    def __init__(self, names: list[str], optimizer: str, micro: int, frozen: bool) -> None:
        torch.manual_seed(0)
        self.model = Random(names)
        if frozen:
            self.model.shared.bias.requires_grad_(False)
        self.micro = micro
        makers = {
            "sgd": lambda p: torch.optim.SGD(p, lr=0.01),
            "adam": lambda p: torch.optim.Adam(p, lr=0.01),
            "foreach": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
        }
        self.optimizer = makers[optimizer]([one for one in self.model.parameters() if one.requires_grad])
        self.driver = Driver(self.optimizer, modules=modules_of(self.model))
        self.losses: list[str] = []

    def step(self) -> None:
        self.optimizer.zero_grad()
        for _ in range(self.micro):
            x = self.driver.took(torch.randn(BATCH, WIDTH))
            loss = self.model(x).square().mean()
            loss.backward()
            self.losses.append(float(loss.detach()).hex())
        self.optimizer.step()

    def bits(self) -> list[bytes]:
        """Everything that training has computed so far."""
        tensors = [*self.model.state_dict().values(), torch.get_rng_state()]
        tensors += [t for state in self.optimizer.state.values() for t in state.values()]
        return [bytes(one.detach().contiguous().view(torch.uint8).flatten().tolist()) for one in tensors if one.dim()]


def checked(seen: Seen) -> None:
    peak = seen.peak
    assert sum(row["at_peak"] for row in seen.one("modules")["rows"]) == peak
    assert sum(row["at_peak"] for row in seen.one("lines")["rows"]) == peak
    trace = seen.one("trace")
    totals = [sum(point) for point in trace["points"]]
    assert max(totals) == peak
    assert totals.index(peak) == trace["peak"]
    assert all(size >= 0 for point in trace["points"] for size in point)
    assert trace["times"] == sorted(trace["times"])
    for moment in ("forward_end", "backward_end", "step_end", "peak"):
        assert seen.at(moment)["other_tensors"] == 0
        assert sum(seen.at(moment).values()) <= peak
    assert seen.at("step_end")["temporaries"] == 0


@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(st.sampled_from(LAYERS), min_size=1, max_size=6),
    optimizer=st.sampled_from(["sgd", "adam", "foreach"]),
    micro=st.integers(1, 3),
    frozen=st.booleans(),
)
def test_a_look_adds_up_and_changes_nothing(names: list[str], optimizer: str, micro: int, frozen: bool) -> None:
    watched, alone = (Training(names, optimizer, micro, frozen) for _ in range(2))
    torch.manual_seed(1)
    watched.step()
    checked(watched.driver.look(watched.step))
    watched.step()
    computed = watched.bits()
    torch.manual_seed(1)
    for _ in range(3):
        alone.step()
    assert watched.losses == alone.losses
    assert computed == alone.bits()


@settings(max_examples=12, deadline=None)
@given(
    names=st.lists(st.sampled_from(LAYERS[:8]), min_size=1, max_size=5),
    optimizer=st.sampled_from(["sgd", "foreach"]),
)
def test_the_peak_is_the_allocators(names: list[str], optimizer: str) -> None:
    training = Training(names, optimizer, 1, False)
    training.step()
    training.optimizer.zero_grad()
    seen = training.driver.look(training.step)
    held = sum(seen.one("trace")["points"][0])
    training.optimizer.zero_grad()
    training.driver._look = None
    assert 0 <= highest(training.step) + held - seen.peak <= WRAPPED
