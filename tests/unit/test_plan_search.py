"""The largest batch of a plan: against counting up from one, for steps made by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtop.model import plan_search
from memtop.model.plan_search import search


@dataclass(frozen=True)
class Step:
    """A step that asks for so much."""

    peak: int


@dataclass(frozen=True)
class Plan:
    used: int
    fits: str


@pytest.fixture(autouse=True)
def straight(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_batch(first: tuple[int, Step], second: tuple[int, Step], batch: int) -> Step:
        slope = (second[1].peak - first[1].peak) // (second[0] - first[0])
        return Step(first[1].peak + slope * (batch - first[0]))

    monkeypatch.setattr(plan_search, "at_batch", at_batch)


def searched(fixed: int, each: int, limit: int, spread: int, **more: Any) -> plan_search.Found:
    """The allocator rounds up to 512 and the upper end needs `spread` more."""

    def plan(step: Any) -> Any:
        used = -(-step.peak // 512) * 512
        return Plan(used, "no" if used > limit else "perhaps" if used + spread > limit else "yes")

    first, second = ((batch, Step(fixed + each * batch)) for batch in (8, 12))
    return search(first, second, plan, limit, **more)  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 10**5),
    st.integers(1, 10**7),
    st.integers(0, 10**5),
    st.sampled_from([1, 8, 24]),
)
def test_it_is_the_largest(fixed: int, each: int, limit: int, spread: int, multiple: int) -> None:
    found = searched(fixed, each, limit, spread, multiple=multiple)

    def fits(batch: int, more: int) -> bool:
        return -(-(fixed + each * batch) // 512) * 512 + more <= limit

    for answer, more in ((found.perhaps, 0), (found.sure, spread)):
        assert answer % multiple == 0
        assert answer == 0 or fits(answer, more)
        assert not fits(answer + multiple, more)
    assert found.bounded
    assert len(found.plans) < 60


def test_it_ends_at_what_is_wanted_and_where_nothing_grows() -> None:
    wanted = searched(0, 1, 10**9, 0, most=100, multiple=8)
    assert (wanted.sure, wanted.perhaps, wanted.bounded) == (96, 96, False)
    still = searched(4096, 0, 10**6, 0)
    assert not still.bounded
    assert still.perhaps == 1
    assert searched(4096, 0, 1000, 0).perhaps == 0


def test_a_good_guess_needs_few_plans() -> None:
    assert len(searched(10**6, 10**4, 10**9, 0).plans) <= 16
