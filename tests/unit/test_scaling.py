"""What grows with the batch: forecasts of one deep look against deep looks at other batches, to the byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="deep looks are taken in a process that has torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from memtop.probe.scaling import hull  # noqa: E402
from tests.unit.deep_driver import Driver, modules_of  # noqa: E402

Loss = Callable[[Any, Tensor], Tensor]


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def convolutions() -> nn.Module:
    norm = nn.BatchNorm2d(8)
    return nn.Sequential(nn.Conv2d(1, 8, 3), norm, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10))


class Attending(nn.Module):
    """Places are made in forward, of no tensor; the head is tied."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(32, 16), nn.Embedding(8, 16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.LayerNorm(16)

    def forward(self, x: Tensor) -> Tensor:
        y = self.words(x) + self.places(torch.arange(x.shape[1]))
        return functional.linear(self.norm(y + self.attention(y, y, y, need_weights=False)[0]), self.words.weight)[:, 0]


class Recurrent(nn.Module):
    """Its hidden state is made of no tensor, with the batch in second place."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.LSTM(8, 64, 2), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x.transpose(0, 1))[0][-1])


class Noisy(nn.Module):
    """A generator: all that it makes comes of noise, and of the batch only how much."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, 512), nn.Tanh(), nn.Linear(512, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(torch.randn(len(x), 16))


class Sliced(nn.Module):
    """Uses half of a weight: the gradient of that half has the shape of no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.head = nn.Linear(64, 1024), nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(functional.linear(x, self.wide.weight[:512])))


class Averaged(nn.Module):
    """Ends in a mean over all it made: the gradient of that comes of a scalar, and of the batch only how much."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.head = nn.Linear(16, 2048), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x) + torch.relu(self.wide(x)).mean()


class Prefixed(nn.Module):
    """A learned token is spread out over the batch, and is most of the memory."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.head = nn.Parameter(torch.randn(1, 32, 32)), nn.Linear(1024, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.token.expand(len(x), -1, -1) * 2).tanh().flatten(1))


SHAPES: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "perceptron": (perceptron, lambda batch: torch.randn(batch, 64)),
    "convolutions": (convolutions, lambda batch: torch.randn(batch, 1, 8, 8)),
    "attention": (Attending, lambda batch: torch.randint(0, 32, (batch, 8))),
    "recurrent": (Recurrent, lambda batch: torch.randn(batch, 12, 8)),
    "slice": (Sliced, lambda batch: torch.randn(batch, 64)),
    "mean": (Averaged, lambda batch: torch.randn(batch, 16)),
    "prefix": (Prefixed, lambda batch: torch.randn(batch, 16)),
    "noise": (Noisy, lambda batch: torch.randn(batch, 16)),
}


def look(name: str, batch: int) -> dict[str, Any]:
    """The `scaling` of the second step of a training."""
    torch.manual_seed(0)
    build, sample = SHAPES[name]
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    driver = Driver(optimizer, modules=modules_of(model))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        x, y = driver.took([sample(batch), torch.zeros(batch, dtype=torch.long)])
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    step()
    return driver.look(step).one("scaling")


def peak(found: dict[str, Any], batch: int) -> int:
    lines = [line for phase in found["phases"] for line in phase["lines"]]
    return max(sum(each * batch**power for power, each in enumerate(line)) for line in lines)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("batch", [8, 10, 16, 64])
def test_a_look_forecasts_the_peak_at_other_batches(name: str, batch: int) -> None:
    """Widths of 8, 10, 16 and 64 equal the batch size by chance."""
    found = look(name, batch)
    assert found["batch_size"] == batch
    assert peak(found, batch) == found["peak"], "exact where it was watched"
    for times in (2, 8):
        truth = look(name, batch * times)["peak"]
        most = 1.09 if name == "recurrent" else 1.01  # oneDNN pads its workspace, the more so the smaller it is.
        assert 0.99 * truth <= peak(found, batch * times) <= most * truth


def contrasted(x: Tensor) -> Tensor:
    """Each against each other, a product that keeps both batches."""
    x = functional.normalize(x, dim=1)
    return functional.cross_entropy(x @ x.roll(1, 0).T, torch.arange(len(x)))


def apart(x: Tensor) -> Tensor:
    """Distances of all to all, without those to themselves."""
    found = (x[:, None] - x[None]).square().sum(-1)
    return found[~torch.eye(len(x), dtype=torch.bool)].sqrt().mean()


def twice(x: Tensor) -> Tensor:
    """Each against those of the batch and as many more."""
    return functional.cross_entropy(x @ torch.cat([x, 2 * x]).T, torch.arange(len(x)))


@pytest.mark.parametrize("loss", [contrasted, apart, twice])
@pytest.mark.parametrize("batch", [16, 24, 64])
def test_comparisons_of_all_samples_with_all_grow_with_the_square(loss: Callable[[Tensor], Tensor], batch: int) -> None:
    """Widths of 16 and 64 equal the batch size by chance."""

    def look(size: int) -> dict[str, Any]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        optimizer = torch.optim.Adam(model.parameters())
        driver = Driver(optimizer, modules=modules_of(model))

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            loss(model(driver.took(torch.randn(size, 64)))).backward()
            optimizer.step()

        step()
        return driver.look(step).one("scaling")

    found = look(batch)
    assert peak(found, batch) == found["peak"], "exact where it was watched"
    for times in (2, 8):
        assert peak(found, batch * times) == pytest.approx(look(batch * times)["peak"], rel=0.01)


def test_where_nothing_is_compared_with_all_nothing_grows_with_the_square() -> None:
    for name in SHAPES:
        assert {len(line) for phase in look(name, 16)["phases"] for line in phase["lines"]} == {2}


def test_without_a_loader_the_largest_input_says_the_batch() -> None:
    def look(batch: int) -> dict[str, Any]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 10))
        optimizer = torch.optim.Adam(model.parameters())
        driver = Driver(optimizer, modules=modules_of(model))

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(model(torch.randn(batch, 32)), torch.randint(0, 10, (batch,))).backward()
            optimizer.step()

        step()
        return driver.look(step).one("scaling")

    found = look(64)
    assert found["batch_size"] == 64
    assert peak(found, 64) == found["peak"]
    assert peak(found, 512) == look(512)["peak"]


@pytest.mark.parametrize("again", [False, True], ids=["a new one each step", "the same each step"])
def test_a_batch_of_the_step_before_is_as_many_samples_not_as_many_bytes(again: bool) -> None:
    def look(batch: int) -> dict[str, Any]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 10))
        optimizer = torch.optim.Adam(model.parameters())
        driver = Driver(optimizer, modules=modules_of(model))
        held = [torch.randn(batch, 32)]

        def step() -> None:
            if not again:
                held[0] = torch.randn(batch, 32)
            driver.inputs.entered(model, (held[0],))
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(model(held[0]), torch.zeros(batch, dtype=torch.long)).backward()
            optimizer.step()
            driver.inputs.step_ended()

        step()
        return driver.look(step).one("scaling")

    found = look(64)
    assert found["batch_size"] == 64
    assert peak(found, 64) == found["peak"]
    assert peak(found, 512) == look(512)["peak"]


def test_a_forecast_that_fails_spoils_nothing_of_the_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memtop.probe.found.batch_of", lambda found: 1 // 0)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> None:
        optimizer.zero_grad()
        model(torch.ones(3, 4)).sum().backward()
        optimizer.step()

    step()
    seen = Driver(optimizer, modules=modules_of(model)).look(step)
    assert "scaling" not in {one["kind"] for one in seen.records}
    assert any("no forecast: ZeroDivisionError" in note for note in seen.memory("peak")["notes"])


def test_phases_are_told_apart_and_parameters_never_grow() -> None:
    found = look("perceptron", 64)
    by_phase = {one["phase"]: one["lines"] for one in found["phases"]}
    assert {"forward", "backward", "optimizer"} <= set(by_phase)
    parameters = 4 * (64 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10)
    assert all(fixed >= 3 * parameters for fixed, _ in by_phase["backward"]), "weights and Adam's two states"
    most = max(grows for lines in by_phase.values() for _, grows in lines)
    assert most < 8 * 64 * 4, "a handful of rows of 64: no weight was taken for a batch"


def test_a_batch_that_is_a_view_of_the_whole_set_does_not_grow() -> None:
    everything = torch.randn(4096, 16)
    model = nn.Linear(16, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    driver = Driver(optimizer, modules=modules_of(model))

    def step() -> None:
        optimizer.zero_grad()
        model(driver.took(everything[:16])).sum().backward()
        optimizer.step()

    step()
    found = driver.look(step).one("scaling")
    assert all(grows < 16 * 4 for phase in found["phases"] for _, grows in phase["lines"])
    assert all(fixed > 4096 * 16 * 4 for phase in found["phases"] for fixed, _ in phase["lines"])


def test_state_that_an_optimizer_makes_in_the_step_is_there_in_the_next() -> None:
    model = nn.Linear(64, 64)
    optimizer = torch.optim.Adam(model.parameters())
    driver = Driver(optimizer, modules=modules_of(model))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(model(driver.took(torch.randn(32, 64))), torch.zeros(32, dtype=torch.long)).backward()
        optimizer.step()

    first, second = (driver.look(step) for _ in range(2))
    told = first.one("scaling")
    ahead = {one["phase"]: max(fixed + 32 * grows for fixed, grows in one["lines"]) for one in told["phases"]}
    later = {
        one["phase"]: max(fixed + 32 * grows for fixed, grows in one["lines"])
        for one in second.one("scaling")["phases"]
    }
    assert ahead["backward"] == pytest.approx(later["backward"], rel=0.01)


points = st.dictionaries(st.integers(0, 1000), st.integers(0, 1000), min_size=1, max_size=12)


@settings(max_examples=300)
@given(points, st.integers(0, 100))
def test_the_hull_is_the_envelope_of_all_and_no_corner_is_idle(found: dict[int, int], times: int) -> None:
    corners = hull(found)
    assert set(corners) <= {(fixed, grown) for grown, fixed in found.items()}
    truth = max(fixed + times * grown for grown, fixed in found.items())
    assert max(fixed + times * grown for fixed, grown in corners) == truth
    assert corners == sorted(corners, key=lambda corner: corner[1])
    assert [fixed for fixed, _ in corners] == sorted({fixed for fixed, _ in corners}, reverse=True)
