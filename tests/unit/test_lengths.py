"""What grows with the length of sequences: forecasts of one deep look against deep looks at other lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="deep looks are taken in a process that has torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from memtop.probe.curves import envelope  # noqa: E402
from tests.unit.deep_driver import Driver, Seen, modules_of  # noqa: E402

LONGEST, BATCH = 256, 4


class Scores(nn.Module):
    """Attention written out, under a mask of all positions against all."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, width), nn.Parameter(torch.zeros(LONGEST, width))
        self.parts, self.head = nn.Linear(width, 3 * width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        where = torch.arange(x.shape[1])
        y = self.words(x) + self.places[: x.shape[1]]
        query, key, value = self.parts(y).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        scores = (query @ key.transpose(-2, -1)).masked_fill(where[:, None] < where[None, :], -1e9).softmax(-1)
        return self.head(y + (scores @ value).transpose(1, 2).flatten(2)).mean(1)


class Fronted(Scores):
    """A token is put in front: every dimension is one longer than the sequence."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.cat([torch.zeros(len(x), 1, dtype=torch.long), x], 1))


class Decayed(nn.Module):
    """Each position has the others by how far they are: distances of all to all, made of positions alone."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(50, 8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        where = torch.arange(x.shape[1])
        near = (where[:, None] - where[None, :]).abs().neg().exp()
        y = near @ self.words(x).transpose(0, 1).flatten(1)
        return self.head(y.unflatten(1, (len(x), 8)).mean(0))


class Words(nn.Module):
    """No attention: positions meet in the mean alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Embedding(50, 32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean(1)


class Cells(nn.Module):
    """A loop over time in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.cell, self.head = nn.Embedding(50, 32), nn.LSTMCell(32, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        y, state = self.words(x), None
        for at in range(x.shape[1]):
            state = self.cell(y[:, at], state)
        return self.head(state[0])


class Convolved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.layer = nn.Embedding(50, 30), nn.Conv1d(30, 10, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.words(x).transpose(1, 2)).amax(2)


class Columns(nn.Module):
    """No sequence: every column has weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(50, 30), nn.Linear(30 * 24, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.words(x).flatten(1))


def tokens(length: int) -> Tensor:
    return torch.randint(0, 50, (BATCH, length))


def looked(build: Callable[[], nn.Module], x: Tensor) -> Seen:
    """The second step of a training on this batch."""
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    driver = Driver(optimizer, modules=modules_of(model))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        given, wanted = driver.took([x.clone(), torch.zeros(len(x), dtype=torch.long)])
        functional.cross_entropy(model(given), wanted).backward()
        optimizer.step()

    step()
    return driver.look(step)


def peak(found: dict[str, Any], at: int) -> int:
    curves = [one for phase in found["lengths"] for one in phase["curves"]]
    return max(fixed + once * at + twice * at * at for fixed, once, twice in curves)


def squares(found: dict[str, Any]) -> int:
    return max(one[2] for phase in found["lengths"] for one in phase["curves"])


@pytest.mark.parametrize("build", [Scores, Fronted, Words])
@pytest.mark.parametrize("length", [16, 24, 32])
def test_a_look_forecasts_the_peak_at_other_lengths(build: Callable[[], nn.Module], length: int) -> None:
    """Widths of 16 (a head) and 32 equal the length by chance."""
    found = looked(build, tokens(length)).one("scaling")
    assert (found["batch_size"], found["length"], found["length_unknown"]) == (BATCH, length, None)
    assert peak(found, length) == found["peak"], "exact where it was watched"
    for times in (2, 4):
        truth = looked(build, tokens(length * times)).one("scaling")["peak"]
        assert peak(found, length * times) == pytest.approx(truth, rel=0.01)


def test_distances_of_all_positions_to_all_grow_with_the_square() -> None:
    found = looked(Decayed, tokens(64)).one("scaling")
    assert squares(found) >= 2 * 8, "two of them of whole numbers at a time"
    for times in (2, 4):
        truth = looked(Decayed, tokens(64 * times)).one("scaling")["peak"]
        assert peak(found, 64 * times) == pytest.approx(truth, rel=0.01)


def test_scores_alone_grow_with_the_square() -> None:
    assert squares(looked(Scores, tokens(24)).one("scaling")) >= 2 * 4 * 2 * BATCH, "two heads, kept twice"
    assert squares(looked(Words, tokens(24)).one("scaling")) == 0


@pytest.mark.parametrize(
    ("build", "why"), [(Cells, "position by position"), (Convolved, "convolutions"), (Columns, "fit one length")]
)
def test_where_it_cant_be_told_that_is_said(build: Callable[[], nn.Module], why: str) -> None:
    found = looked(build, tokens(24)).one("scaling")
    assert found["lengths"] == []
    assert why in found["length_unknown"]
    assert found["phases"], "the forecast of batches stands"


def test_pictures_and_rows_of_features_have_no_length() -> None:
    def layers() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(14 * 14, 10))

    for x in (torch.randn(BATCH, 14, 14), torch.randn(BATCH, 196), torch.randn(BATCH, 1, 14, 14)):
        found = looked(layers, x).one("scaling")
        assert (found["length"], found["lengths"]) == (None, [])


def test_floats_of_a_length_that_no_parameter_has_are_sequences() -> None:
    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 10))

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x).mean(1)

    found = looked(Features, torch.randn(BATCH, 27, 8)).one("scaling")
    assert found["length"] == 27
    assert peak(found, 270) == looked(Features, torch.randn(BATCH, 270, 8)).one("scaling")["peak"]


def test_a_failure_spoils_neither_the_look_nor_the_forecast_of_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memtop.probe.found.lengths", lambda *_: 1 // 0)
    seen = looked(Words, tokens(24))
    found = seen.one("scaling")
    assert found["phases"]
    assert found["lengths"] == []
    assert any("no forecast of lengths: ZeroDivisionError" in note for note in seen.memory("peak")["notes"])


sizes = st.integers(0, 10_000)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(-50, 10_000), sizes, sizes), min_size=1, max_size=10), st.integers(4, 50))
def test_the_envelope_is_the_highest_of_all_at_every_length(curves: list[tuple[int, int, int]], length: int) -> None:
    def at(one: tuple[int, int, int], size: int) -> int:
        return one[0] * length**2 + one[1] * size * length + one[2] * size**2

    chosen = envelope(curves, length)
    assert set(chosen) <= set(curves)
    for size in (*range(1, 200), 1_000, 10**6):
        assert max(at(one, size) for one in chosen) == max(at(one, size) for one in curves)
