"""The batch of real trainings: told as it is, and the training none the wiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memtop.model.batch import BatchSample
from memtop.protocol import records
from memtop.session import batches

from .test_bit_identity import base, child, watched

COMMON = ["--device", "cpu", "--steps", "3"]


@pytest.fixture(scope="module", autouse=True)
def needs_torch() -> None:
    pytest.importorskip("torch", reason="scenarios need torch")


def fed(scenario: str, arguments: list[str], folder: Path) -> BatchSample:
    """The batch of a scenario's second step, whose bits are the same with and without us."""
    cases = [(scenario, [*COMMON, *arguments])]
    facts, heard = watched(folder / "watched", cases, base())
    assert facts == child(folder / "alone", cases, base())
    failed = [one.message for one in heard if isinstance(one, records.Event) and one.name in ("probe", "look")]
    assert not failed
    (message,) = [one for one in heard if isinstance(one, records.Batch)]
    found = batches.sample(0.0, message)
    assert found is not None
    assert found.step == 2
    return found


def told(found: BatchSample) -> list[tuple[Any, ...]]:
    return [(one.place, tuple(one.shape), one.dtype, one.kind) for one in found.tensors]


def test_gray_digits(tmp_path: Path) -> None:
    found = fed("mlp-mnist", ["--batch-size", "8"], tmp_path)
    assert told(found) == [
        ("loader", (8, 1, 28, 28), "float32", "image"),
        ("loader", (8,), "int64", "labels"),
        ("root", (8, 1, 28, 28), "float32", "image"),
    ]
    assert found.picture is not None
    assert (found.picture.channels, len(found.picture.pixels)) == (1, 8)
    assert all(0 <= (row[0] or 0) <= 9 for row in found.tensors[1].first)
    image = found.tensors[0]
    assert image.bytes == 8 * 784 * 4
    assert (image.low, image.high) == (found.picture.black, found.picture.white)


def test_colour_pictures(tmp_path: Path) -> None:
    found = fed("cnn", ["--batch-size", "4"], tmp_path)
    assert told(found)[0] == ("loader", (4, 3, 32, 32), "float32", "image")
    assert found.picture is not None
    assert (found.picture.channels, found.picture.width, found.picture.height) == (3, 32, 32)
    assert len(set(found.picture.pixels)) == 4, "four pictures, and no two alike"


def test_a_text_and_what_follows_it(tmp_path: Path) -> None:
    found = fed("transformer", ["--batch-size", "2"], tmp_path)
    assert found.picture is None
    ids, targets = (one for one in found.tensors if one.place == "loader")
    assert (ids.kind, ids.dtype, ids.shape[0]) == ("tokens", "int64", 2)
    assert ids.first[0][1:] == targets.first[0][:-1], "each id is followed by the next"


def test_a_table_of_flowers(tmp_path: Path) -> None:
    found = fed("iris", [], tmp_path)
    table = found.tensors[0]
    assert (table.kind, table.shape, table.looked) == ("table", [150, 4], 600)
    means = [round(one.mean, 2) for one in table.columns if one.mean is not None]
    assert means == [5.84, 3.06, 3.76, 1.2], "the published means of the four measures"
