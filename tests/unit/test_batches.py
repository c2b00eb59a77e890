"""How many samples a batch holds, by shapes as models get them."""

from __future__ import annotations

import pytest

from memtop.probe import batches

Shape = tuple[int, ...]


@pytest.mark.parametrize(
    ("shapes", "samples"),
    [
        ([(64, 784)], 64),
        ([(64, 3, 32, 32), (64,)], 64),
        ([(16, 128), (16, 128), (16,)], 16),
        ([(10, 8, 64), (20, 8, 64)], 8),
        ([(8, 10, 64), (8, 20, 64)], 8),
        ([(5,)], 5),
        ([(5,), ()], 5),
        ([()], None),
        ([], None),
        ([(64, 784), (32, 784)], None),
        ([(64, 784), (32,)], None),
        ([(5,), (6,)], None),
        ([(3, 224, 224), (5, 100, 100)], None),
    ],
)
def test_the_batch_is_the_dimension_that_all_share(shapes: list[Shape], samples: int | None) -> None:
    assert batches.samples(shapes) == samples


def test_a_module_may_say_that_the_batch_comes_second() -> None:
    assert batches.samples([(10, 8, 64)], batch_first=False) == 8
    assert batches.samples([(10, 8, 64)], batch_first=True) == 10
    assert batches.samples([(8, 64)], batch_first=False) == 8


@pytest.mark.parametrize(
    ("shapes", "whole", "length"),
    [
        ([(16, 128)], [True], 128),
        ([(16, 128), (16, 128), (16,)], [True, True, True], 128),
        ([(16, 128, 64), (16, 128)], [False, True], 128),
        ([(16, 784)], [False], None),
        ([(16, 3, 32, 32), (16, 1)], [False, True], None),
        ([(16, 12), (16, 20)], [True, True], None),
    ],
)
def test_a_sequence_is_told_by_its_tokens(shapes: list[Shape], whole: list[bool], length: int | None) -> None:
    assert batches.sequence(shapes, whole) == length
