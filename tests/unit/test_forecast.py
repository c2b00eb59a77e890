"""Affine functions of the batch size: the peak, the largest batch under a limit, the error."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from memtop.model.forecast import TAUGHT, UNTAUGHT, Affine, Point, error_bytes, error_of, highest, max_batch, peak_at

MIB = 1 << 20


def line(fixed: int, grows: int, phase: str = "backward", pair: int = 0) -> Affine:
    return Affine(phase=phase, fixed_bytes=fixed, bytes_per_sample=grows, bytes_per_pair=pair)


MLP = [line(2_431_108, 3_144, "optimizer"), line(1_028_000, 14_128, "data")]
"""Two phases that change places, as the MNIST perceptron's do."""

pairs = st.sampled_from((0, 0, 4, 1 << 20))
lines = st.lists(st.builds(line, st.integers(0, 1 << 40), st.integers(0, 1 << 30), pair=pairs), min_size=1, max_size=8)


def test_the_peak_is_the_highest_phase_and_moves_from_one_to_the_other() -> None:
    assert peak_at(MLP, 64) == 2_431_108 + 64 * 3_144
    assert peak_at(MLP, 512) == 1_028_000 + 512 * 14_128
    assert [one.phase for batch in (64, 512) if (one := highest(MLP, batch))] == ["optimizer", "data"]
    assert highest([], 1) is None
    assert peak_at([], 1) == 0


def test_the_answer_is_the_cnns_of_the_oracles() -> None:
    cnn = [line(1_455_864, 684_040)]
    assert peak_at(cnn, 64) == 45_234_424
    assert max_batch(cnn, 512 * MIB) == (512 * MIB - 1_455_864) // 684_040 == 782
    assert max_batch(cnn, 512 * MIB, multiple_of=8) == 776
    assert max_batch(cnn, 512 * MIB, margin=0.05) == 745


def test_pairs_of_samples_bend_the_line_and_its_tangent_says_what_one_more_costs() -> None:
    bent = line(100, 10, pair=2)
    assert [bent.at(batch) for batch in (0, 1, 10)] == [100, 112, 400]
    assert max_batch([bent], 400) == 10
    assert max_batch([bent], 399) == 9
    assert max_batch([bent], 99) == 0
    fixed, each = bent.tangent(10)
    assert (fixed + 10 * each, fixed + 11 * each) == (bent.at(10), bent.at(11))
    assert line(100, 10).tangent(7) == (100, 10)


def test_what_does_not_fit_or_does_not_grow() -> None:
    assert max_batch([line(100, 10)], 100) == 0
    assert max_batch([line(100, 10)], 50) == 0
    assert max_batch([line(100, 0)], 1000) is None
    assert max_batch([line(100, 0), line(0, 10)], 99) == 0, "what never grows does not fit at all"
    assert max_batch([], 1000) is None
    with pytest.raises(ValueError, match="margin"):
        max_batch([line(1, 1)], 10, margin=-0.1)
    with pytest.raises(ValueError, match="multiple"):
        max_batch([line(1, 1)], 10, multiple_of=0)


@given(lines, st.integers(1, 1 << 44), st.floats(0, 1), st.integers(1, 64))
def test_the_answer_fits_and_the_next_does_not(found: list[Affine], limit: int, margin: float, multiple: int) -> None:
    most = max_batch(found, limit, margin, multiple)
    assume(most is not None)
    assert most is not None
    assert most % multiple == 0
    slack = limit * 1e-8 + 1
    if most > 0:
        assert peak_at(found, most) * (1 + margin) <= limit + slack
    assert peak_at(found, most + multiple) * (1 + margin) > limit - slack


@given(lines, st.integers(1, 1 << 20), st.integers(1, 1 << 20))
def test_a_larger_batch_never_needs_less(found: list[Affine], one: int, more: int) -> None:
    assert peak_at(found, one) <= peak_at(found, one + more)


def test_the_error_is_learned_from_what_was_measured() -> None:
    alone = Point(batch_size=64, measured_bytes=100)
    assert error_of([alone]) == UNTAUGHT
    exact = Point(batch_size=128, measured_bytes=200, predicted_bytes=200)
    assert error_of([alone, exact]) == TAUGHT
    low = Point(batch_size=256, measured_bytes=420, predicted_bytes=400)
    assert error_of([alone, exact, low]) == pytest.approx(0.05)
    assert error_bytes([line(0, 3)], 101, 0.01) == 4, "rounded up"
