"""Numbers to text and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtop.model import units


@pytest.mark.parametrize(
    ("count", "unit", "text"),
    [
        (None, "auto", "—"),
        (0, "auto", "0 B"),
        (1023, "auto", "1023 B"),
        (1024, "auto", "1.00 KiB"),
        (1_578_536, "auto", "1.51 MiB"),
        (-1_578_536, "auto", "-1.51 MiB"),
        (2**20 - 1, "auto", "1.00 MiB"),
        (1_578_536, "MB", "1.58 MB"),
        (1_578_536, "MiB", "1.51 MiB"),
        (1_578_536, "B", "1,578,536 B"),
    ],
)
def test_sizes(count: int | None, unit: units.Unit, text: str) -> None:
    assert units.size(count, unit) == text


@given(st.integers(1, 1 << 49))
def test_a_size_reads_back_as_what_it_was(count: int) -> None:
    assert units.parse_size(units.size(count, "B").replace(",", "")) == count
    assert units.parse_size(units.size(count)) == pytest.approx(count, rel=0.006)


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "1XB", "nan", "inf", "1e40"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "—"), (0.012, "12 ms"), (0.8, "0.8 s"), (192, "3m12s"), (7500, "2h05m")]
)
def test_durations(seconds: float | None, text: str) -> None:
    assert units.duration(seconds) == text


def test_what_is_not_known_is_never_nought() -> None:
    assert {units.percent(None, 1), units.percent(1, None), units.percent(1, 0), units.number(None)} == {"—"}
    assert units.rate(None) == "—"
    assert units.percent(0, 5) == "0.0 %"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "—"), (0, "0"), (999, "999"), (6_400, "6.40 k"), (113_246_208, "113 M"), (1_234_567_890, "1.23 G"),
     (-12_345, "-12.3 k"), (999_600, "1.00 M"), (10**20, "100 E")],
)  # fmt: skip
def test_counts_in_three_digits(value: int | None, text: str) -> None:
    assert units.short(value) == text


def test_milliseconds_keep_their_digits() -> None:
    assert units.milliseconds(0.0123) == "12.30 ms"
    assert units.milliseconds(12.3, 0) == "12,300 ms"
