"""The search for the largest batch: exact, never above the limit, and short where the forecast is good."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memtop.model.forecast import Affine
from memtop.model.search import Search, Tried


def lines_of(*pairs: tuple[int, int]) -> tuple[Affine, ...]:
    return tuple(Affine(phase="backward", fixed_bytes=fixed, bytes_per_sample=each) for fixed, each in pairs)


def peak(lines: tuple[Affine, ...], batch: int) -> int:
    return max(line.at(batch) for line in lines)


def played(
    search: Search, truth: tuple[Affine, ...], told: tuple[Affine, ...] = (), *, real_oom: bool = False
) -> list[int]:
    """The batch sizes tried, where `truth` is measured and `told` is forecast."""
    asked: list[int] = []
    while (batch := search.next()) is not None:
        assert batch not in asked
        assert len(asked) < 200
        asked.append(batch)
        took = peak(truth, batch)
        fits = search.fits(took)
        search.add(Tried(batch_size=batch, fits=fits, peak_bytes=took if fits or not real_oom else None, lines=told))
    return asked


convex = st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**4)), min_size=1, max_size=4).map(
    lambda pairs: lines_of(*pairs)
)


@given(convex, st.integers(1, 10**8), st.sampled_from([1, 8, 32]), st.booleans())
def test_exact_without_any_forecast(truth: tuple[Affine, ...], limit: int, step: int, real_oom: bool) -> None:
    search = Search(limit, multiple_of=step)
    played(search, truth, real_oom=real_oom)
    found = 0 if search.largest is None else search.largest.batch_size
    assert search.proved
    assert found % step == 0
    assert found == 0 or peak(truth, found) <= limit
    assert peak(truth, found + step) > limit


@given(convex, st.integers(10**6 + 20 * 10**4, 10**9), st.booleans())
def test_three_trials_where_the_forecast_is_exact(truth: tuple[Affine, ...], limit: int, real_oom: bool) -> None:
    search = Search(limit)
    asked = played(search, truth, truth, real_oom=real_oom)
    assert len(asked) <= 3
    assert search.proved


@given(convex, st.integers(10**7, 10**9), st.floats(0.99, 1.01))
def test_few_trials_where_it_is_a_per_cent_off(truth: tuple[Affine, ...], limit: int, off: float) -> None:
    told = lines_of(*((line.fixed_bytes, round(line.bytes_per_sample * off)) for line in truth))
    search = Search(limit)
    asked = played(search, truth, told)
    assert search.proved
    assert len(asked) <= 6


def test_a_margin_stays_free() -> None:
    search = Search(1000, margin=0.25)
    played(search, lines_of((0, 1)))
    assert search.largest is not None
    assert search.largest.batch_size == 800


def test_no_more_than_is_wanted_and_none_that_is_not_a_multiple() -> None:
    search = Search(10**9, multiple_of=8, most=100)
    asked = played(search, lines_of((0, 1)), lines_of((0, 1)))
    assert asked == [16, 96]
    assert search.proved
    assert Search(10**9, multiple_of=24, start=16).next() == 24


def test_nothing_grows() -> None:
    search = Search(10**6)
    assert played(search, lines_of((5, 0)), lines_of((5, 0))) == [16]
    assert search.unbounded


def test_not_even_one_fits() -> None:
    search = Search(10)
    assert played(search, lines_of((100, 1)), lines_of((100, 1))) == [16, 1]
    assert search.largest is None
    assert search.proved


def test_a_forecast_that_promises_too_much_is_not_believed_twice() -> None:
    truth, told = lines_of((0, 1000)), lines_of((0, 10))
    search = Search(10**6)
    asked = played(search, truth, told, real_oom=True)
    assert search.largest is not None
    assert search.largest.batch_size == 1000
    assert len(asked) < 40


@given(convex, st.integers(10**7, 10**9), st.floats(0.9, 1.0))
def test_where_memory_runs_out_in_pieces_the_answer_is_near_and_soon_there(
    truth: tuple[Affine, ...], limit: int, usable: float
) -> None:
    """On CUDA up to a tenth of the limit may lie in pieces: peaks don't tell of it, and each trial is a process."""
    search, asked = Search(limit), []
    search.near = 0.02
    while (batch := search.next()) is not None:
        assert batch not in asked
        asked.append(batch)
        took = peak(truth, batch)
        fits = took <= limit * usable
        search.add(Tried(batch_size=batch, fits=fits, peak_bytes=took if fits else None, lines=truth if fits else ()))
    low, high = search.largest, search.smallest_over
    assert low is not None
    assert high is not None
    assert peak(truth, low.batch_size) <= limit * usable < peak(truth, high.batch_size)
    assert high.batch_size - low.batch_size <= max(1, 0.02 * high.batch_size)
    assert len(asked) <= 8
