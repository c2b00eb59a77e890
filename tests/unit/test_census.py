"""Censuses of live tensors and hunts for the lines that make what grows, played with tensors of a test's own."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import pytest
import torch

from memtop.probe import leak_holders
from memtop.probe.census import Census, Sort
from memtop.probe.hunt import Hunt
from memtop.probe.leak_holders import Holder, holders
from memtop.probe.leak_rules import Left, Passes, Rate, adds

PLAIN = Sort(torch.float64, "cpu", 3, "")
"""Of a kind that nothing else in a test process has."""
NOBODY = Holder(held=True, graph=False, name=None, key=0, bounded=False)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    gc.collect()
    yield
    gc.collect()


def one(length: int = 2) -> torch.Tensor:
    return torch.zeros(length, 3, 4, dtype=torch.float64)


def counted(add: Callable[[int], None], steps: int = 700) -> tuple[Census, dict[Sort, Rate]]:
    """A program that calls `add` in each step, with censuses whenever one is due."""
    census = Census()
    for step in range(1, steps):
        add(step)
        if step >= census.next_step:
            census.take(step)
    return census, census.growing()


def test_what_is_added_every_tenth_step_grows_at_its_own_pace() -> None:
    kept: list[torch.Tensor] = []

    def add(step: int) -> None:
        made = one(step % 5 + 1)
        if step % 10 == 0:
            kept.append(made)

    census, growing = counted(add)
    assert growing[PLAIN].tensors == pytest.approx(0.1, rel=0.3)
    assert {key for keys in census.samples(PLAIN) for key in keys} <= {t.untyped_storage()._cdata for t in kept}


@pytest.mark.parametrize("kind", ["bounded", "emptied", "level", "same"])
def test_what_levels_off_or_goes_does_not_grow(kind: str) -> None:
    lately: deque[torch.Tensor] = deque(maxlen=30)
    kept: list[torch.Tensor] = []

    def add(step: int) -> None:
        lately.append(one()) if kind == "bounded" else None
        if kind == "emptied" and step % 100 == 0:
            kept.clear()
        if kind == "emptied" or (kind == "level" and step < 60) or (kind == "same" and not kept):
            kept.append(one())

    assert PLAIN not in counted(add)[1]


def test_a_census_keeps_nothing_alive() -> None:
    census, tensor = Census(), one()
    census.take(16)
    seen = [0]
    import weakref

    weakref.finalize(tensor, seen.append, 1)
    del tensor
    assert seen == [0, 1]


def test_too_many_tensors_end_it() -> None:
    many = [torch.zeros(0) for _ in range(20_010)]
    census = Census()
    census.take(16)
    assert census.full
    assert len(many) == 20_010


def rows(*made: int) -> list[Left]:
    return [Left(100 * n, count, 10 * count, count, 10 * count) for n, count in enumerate(made)]


def test_cohorts_that_slacken_are_no_leak() -> None:
    assert adds(rows(10, 15, 22, 33), [100, 150, 225, 340]) == (80 / 815, 800 / 815)
    assert adds(rows(10, 10, 9, 6), [100, 150, 225, 340]) is None, "ever fewer"
    assert adds(rows(1, 2, 1, 1), [60, 60, 60, 90]) is not None, "one in fifty steps comes once or twice"
    assert adds(rows(10, 15, 22), [100, 150, 225]) is None, "too few"


def hunted(every: int, passes: Passes | None = None, first: int = 3) -> tuple[Hunt, int, list[int]]:
    """A hunt after a program that adds one each `every` steps; the step in which it ended, and those that added."""
    kept, added = [], []
    census = Census()
    hunt = Hunt(PLAIN, Rate(1 / every, 100.0), NOBODY, 0)
    for step in range(1, 400):
        torch.zeros(1, 3, 4, dtype=torch.float64)
        if step % every == first % every:
            kept.append(one())
            added.append(step)
        hunt.step_ended(step, census, passes or Passes())
        if hunt.over or hunt.target is not None:
            return hunt, step, added
    raise AssertionError("it never ends")


def test_the_next_step_that_adds_is_foreseen_from_two_that_did() -> None:
    hunt, step, added = hunted(every=10)
    assert len(added) == 2
    assert hunt.target == added[-1] + 10 > step


def test_what_comes_when_a_pass_ends_is_awaited_there() -> None:
    passes = Passes()
    passes.saw(1, 39, 40)
    hunt, step, _ = hunted(every=39, passes=passes)
    assert (step, hunt.target) == (1, 41)


def test_what_comes_without_rule_is_given_up() -> None:
    hunt = Hunt(PLAIN, Rate(0.1, 100.0), NOBODY, 0)
    census = Census()
    for step in range(1, 400):
        hunt.step_ended(step, census, Passes())
        if hunt.over:
            break
    assert (hunt.over, hunt.found) == (True, None)
    assert step == 4 * 10 + 21


def keys(tensors: Any) -> list[list[int]]:
    return [[tensor.untyped_storage()._cdata] for tensor in tensors]


class Meter:
    def __init__(self) -> None:
        self.rows: list[Any] = []


def test_a_holder_is_found_through_what_lies_between() -> None:
    meter = Meter()
    for number in range(5):
        meter.rows.append({"made": (one(), number)})
    asked = keys(row["made"][0] for row in meter.rows)
    assert holders({"a": asked})["a"][:3] == (True, False, "list Meter.rows")


def test_a_holder_that_has_a_size_is_bounded() -> None:
    lately = deque((one() for _ in range(5)), maxlen=1000)
    assert holders({"a": keys(lately)})["a"].bounded
    ring = [one() for _ in range(5)] + [None] * 100
    assert holders({"a": keys(ring[:5])})["a"].bounded

    @lru_cache(maxsize=1000)
    def made(number: int) -> torch.Tensor:
        return one(number)

    found = holders({"a": keys([made(number) for number in range(1, 6)])})["a"]
    assert (found.bounded, found.name) == (True, "lru_cache made")
    endless: deque[torch.Tensor] = deque(one() for _ in range(5))
    assert not holders({"a": keys(endless)})["a"].bounded


def test_what_exceptions_hold_is_said() -> None:
    errors: list[BaseException] = []

    def fail() -> None:
        made = one()  # noqa: F841 - the traceback's frame holds it
        raise ValueError

    for _ in range(5):
        try:
            fail()
        except ValueError as error:
            errors.append(error)
    living = [t for t in leak_holders.alive() if t.dtype == torch.float64 and t.dim() == 3]
    asked = keys(living)
    del living
    assert holders({"a": asked})["a"].name == "a list of exceptions"


def test_what_only_a_graph_holds_has_no_holder() -> None:
    weights = torch.ones(4, 4, dtype=torch.float64, requires_grad=True)

    def loss() -> tuple[torch.Tensor, int]:
        x = one()
        return (x @ weights).sum(), x.untyped_storage()._cdata

    kept = [loss() for _ in range(5)]
    found = holders({"x": [[key] for _, key in kept], "loss": keys(one for one, _ in kept)})
    assert (found["x"].held, found["loss"].held) == (False, True)
    assert found["loss"].graph


def test_lines_with_one_holder_are_searched_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    meter, searched = Meter(), []
    for _ in range(5):
        meter.rows.append({"loss": one(1), "out": one(2)})
    search = leak_holders._common
    monkeypatch.setattr(leak_holders, "_common", lambda asked: (searched.append(len(asked)), search(asked))[1])
    found = holders({name: keys(row[name] for row in meter.rows) for name in ("loss", "out")})
    assert found["loss"].key == found["out"].key == id(meter.rows)
    assert searched == [4]


def test_a_view_whose_graph_was_cut_off_has_no_node() -> None:
    base = torch.ones(4, requires_grad=True) * 1
    first, _ = base.unbind(0)[:2]
    with torch.no_grad():
        base.add_(1)
    with pytest.raises(RuntimeError):
        first.grad_fn  # noqa: B018 - asking is what raises
    assert leak_holders.node_of(first) == ""
