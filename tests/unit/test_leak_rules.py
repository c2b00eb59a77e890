"""What a leak is, and what only looks like one: the decision, on figures."""

from __future__ import annotations

import pytest

from memtop.probe.leak_rules import Left, Passes, Size, grows, kept, long_enough, may_grow, over, suspicious

STEPS = (2, 6, 18, 54)


def left(*made: int, alive: tuple[int, ...] | None = None) -> list[Left]:
    """So many tensors of 100 bytes left in each look; those that are alive now."""
    lives = made if alive is None else alive
    steps = [2 * 3**index for index in range(len(made))]
    return [
        Left(*one) for one in zip(steps, made, [100 * m for m in made], lives, [100 * a for a in lives], strict=True)
    ]


def sizes(*pairs: tuple[int, int]) -> list[Size]:
    """Bytes of the tensor and of the inputs, at the steps of the looks."""
    return [Size(step, size, inputs) for step, (size, inputs) in zip(STEPS, pairs, strict=False)]


def test_what_every_look_leaves_and_nothing_takes_away_is_a_leak() -> None:
    assert kept(left(1, 1, 1, 1)) == (1.0, 100.0)
    assert kept(left(3, 1, 3, 3)) == (3.0, 300.0)
    assert kept(left(0, 2, 2, 2, 2)) == (2.0, 200.0), "one that begins later"


@pytest.mark.parametrize(
    "seen",
    [
        left(1, 1, 1),
        left(1, 0, 0, 0),
        left(5, 3, 1, 0),
        left(1, 1, 0, 1),
        left(1, 1, 1, 1, alive=(0, 0, 1, 1)),
        left(10, 10, 10, 10, alive=(8, 10, 10, 10)),
        [],
    ],
    ids=["too few looks", "warm-up", "a cache that fills", "now and then", "a bounded list", "some of it goes", "none"],
)
def test_what_levels_off_is_none(seen: list[Left]) -> None:
    assert kept(seen) is None


def test_suspicion_asks_for_another_look_until_something_goes() -> None:
    assert suspicious(left(1))
    assert suspicious(left(0, 1))
    assert not suspicious(left(1, 0))
    assert not suspicious(left(1, 1, alive=(0, 1)))
    assert not suspicious([])


def test_a_leak_that_was_told_is_over_when_nothing_more_comes_or_half_has_gone() -> None:
    assert not over(left(1, 1, 1, 1))
    assert over(left(1, 1, 1, 1, 0))
    assert over(left(4, 4, 4, 4, alive=(0, 0, 0, 4)))


def test_a_tensor_that_grows_at_the_same_pace_is_told_with_its_rate() -> None:
    assert grows(sizes((200, 8), (600, 8), (1800, 8), (5400, 8))) == (0.0, 100.0)


@pytest.mark.parametrize(
    "seen",
    [
        sizes((200, 8), (600, 8), (1800, 8)),
        sizes((200, 8), (600, 8), (600, 8), (600, 8)),
        sizes((200, 8), (600, 24), (1800, 72), (5400, 216)),
        sizes((200, 8), (600, 9), (1800, 10), (5400, 11)),
        sizes((200, 8), (600, 8), (1000, 8), (1001, 8)),
    ],
    ids=["too few looks", "levels off", "as the inputs do", "inputs grow all the time", "nearly level"],
)
def test_longer_inputs_and_what_levels_off_do_not_grow(seen: list[Size]) -> None:
    assert grows(seen) is None


def test_a_growing_tensor_is_looked_at_again_only_while_it_grows() -> None:
    assert may_grow(sizes((200, 8)))
    assert may_grow(sizes((200, 8), (300, 8)))
    assert not may_grow(sizes((200, 8), (200, 8)))


def test_nothing_is_told_before_a_list_could_have_been_emptied() -> None:
    assert not long_enough(109, 60.0)
    assert long_enough(110, 0.1)
    assert long_enough(56, 120.0)
    assert not long_enough(55, 1000.0)


def test_what_a_pass_gathers_is_awaited_to_its_end_unless_memory_would_not_last() -> None:
    passes = Passes()
    assert not passes.may_empty(2, 130, 100.0, 10**9), "no loader says when a pass ends"
    passes.saw(3, 197, 200)
    passes.saw(130, 70, 200)
    assert passes.may_empty(2, 130, 100.0, 10**9)
    assert not passes.may_empty(2, 130, 100.0, 4 * 198 * 100), "a quarter of memory by then"
    passes.saw(205, None, None)
    assert not passes.may_empty(2, 205, 100.0, 10**9), "a pass has ended, and it is there still"
    passes.saw(210, 190, 200)
    assert not passes.may_empty(2, 210, 100.0, 10**9)
    assert passes.may_empty(203, 330, 100.0, 10**9), "all of it is of the second pass"
