"""What grows with the size of images: forecasts of one deep look against deep looks at other sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="deep looks are taken in a process that has torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from tests.unit.deep_driver import Driver, Seen, modules_of  # noqa: E402

BATCH = 4


def pooled(*layers: nn.Module, width: int = 16) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def convolutions() -> nn.Module:
    first = (nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
    return pooled(*first, nn.Conv2d(16, 16, 3, 2, 1), nn.GroupNorm(4, 16), nn.SiLU())


class Joined(nn.Module):
    """Down, up, and both beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.up, self.last = nn.ConvTranspose2d(16, 8, 2, 2), pooled(nn.Conv2d(16, 16, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        skip = torch.relu(self.first(x))
        below = torch.relu(self.second(functional.avg_pool2d(skip, 2)))
        return self.last(torch.cat([skip, functional.interpolate(below, scale_factor=2)[:, :8] + self.up(below)], 1))


class Attending(nn.Module):
    """All places with all: the square of the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.parts, self.head = nn.Conv2d(3, 24, 2, 2), nn.Linear(24, 72), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.patches(x).flatten(2).transpose(1, 2)
        query, key, value = self.parts(y).chunk(3, -1)
        return self.head(y + (query @ key.transpose(1, 2)).softmax(-1) @ value).mean(1)


class Placed(Attending):
    """Positions are parameters: as many as there are places."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.zeros(1, 100, 24))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.patches(x).flatten(2).transpose(1, 2) + self.places).mean(1)


def flattened() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 400, 10))


class Resized(nn.Module):
    """Whatever comes is made 32 x 32."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = convolutions()

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(functional.interpolate(x, size=(32, 32)))


class Cropped(nn.Module):
    """Of whatever comes a piece of 12 x 12 is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = convolutions()

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x[:, :, :12, :12].tanh())


def looked(build: Callable[[], nn.Module], height: int, width: int) -> Seen:
    """The second step of a training on such images."""
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    driver = Driver(optimizer, modules=modules_of(model))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        x, y = driver.took([torch.randn(BATCH, 3, height, width), torch.zeros(BATCH, dtype=torch.long)])
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    step()
    return driver.look(step)


def peak(found: dict[str, Any], height: int, width: int) -> float:
    times = height * width / (found["image"][0] * found["image"][1])
    curves = [one for phase in found["pixels"] for one in phase["curves"]]
    return max(fixed + once * times + twice * times * times for fixed, once, twice in curves)


@pytest.mark.parametrize("build", [convolutions, Joined, Attending])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 48), (20, 20)])
def test_a_look_forecasts_the_peak_at_other_sizes(build: Callable[[], nn.Module], height: int, width: int) -> None:
    found = looked(build, height, width).one("scaling")
    assert (found["image"], found["pixels_unknown"]) == ([height, width], None)
    assert found["pixels_error"] < 0.001
    assert peak(found, height, width) == found["peak"], "exact where it was watched"
    for more in (1, 2):
        truth = looked(build, height * 2, width * more).one("scaling")["peak"]
        assert peak(found, height * 2, width * more) == pytest.approx(truth, rel=0.01)


def test_attention_alone_grows_with_the_square() -> None:
    def squares(build: Callable[[], nn.Module]) -> int:
        return max(one[2] for phase in looked(build, 20, 20).one("scaling")["pixels"] for one in phase["curves"])

    assert squares(Attending) >= 2 * 4 * BATCH * 100 * 100, "scores, kept once and made twice in backward"
    assert squares(convolutions) == 0


def test_sides_that_are_rounded_are_an_error_that_is_said() -> None:
    def unpadded() -> nn.Module:
        return pooled(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3), nn.ReLU())

    found = looked(unpadded, 45, 45).one("scaling")
    assert 0.02 < found["pixels_error"] < 0.25
    for side in (67, 90, 180):
        truth = looked(unpadded, side, side).one("scaling")["peak"]
        assert abs(peak(found, side, side) / truth - 1) <= found["pixels_error"]


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (flattened, "fit one size"),
        (Placed, "size of the image"),
        (Resized, "a size of their own"),
        (Cropped, "parts of an image"),
    ],
)
def test_where_it_cant_be_told_that_is_said(build: Callable[[], nn.Module], why: str) -> None:
    found = looked(build, 20, 20).one("scaling")
    assert (found["image"], found["pixels"]) == ([20, 20], [])
    assert why in found["pixels_unknown"]
    assert found["phases"], "the forecast of batches stands"


def test_a_failure_spoils_neither_the_look_nor_the_forecast_of_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memtop.probe.found.pixels", lambda *_: 1 // 0)
    seen = looked(convolutions, 16, 16)
    assert seen.one("scaling")["phases"]
    assert any("no forecast of image sizes: ZeroDivisionError" in note for note in seen.memory("peak")["notes"])
