"""The forecast in the batch panel: the answer first, both figures side by side, the curve, at every size."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len

from memtop.model.forecast import Affine, Point
from memtop.model.forecast_record import ForecastRecord
from memtop.model.snapshot import Snapshot
from memtop.tui.draw import batch, forecast
from memtop.tui.draw.board import board
from memtop.tui.draw.cells import Row
from memtop.tui.view import View
from tests.unit import sample_records as sample

from .conftest import AppMaker
from .deep_fakes import deep_cnn

TAUGHT = [
    Point(batch_size=64, measured_bytes=45_234_424),
    Point(batch_size=128, measured_bytes=89_012_984, predicted_bytes=89_100_000),
]


def watched(**changes: Any) -> Snapshot:
    return replace(deep_cnn(), forecast=sample.forecast(device="cuda:0", **changes))


def texts(rows: list[Row]) -> list[str]:
    return ["".join(segment.text for segment in row) for row in rows]


def said(record: ForecastRecord, batch_size: int | None = 64) -> list[str]:
    return texts([row for _, row in forecast.lines(record, batch_size, 70, View())])


def test_the_answer_is_the_first_line() -> None:
    (line,) = said(sample.forecast())
    assert line == "forecast fits up to ~ 1,552 · 668 KiB a sample · limit 1.00 GiB"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_batch_size": None, "limit_bytes": None}, "limit not known yet"),
        ({"max_batch_size": None}, "no bound"),
        ({"max_batch_size": 0}, "not even one sample fits"),
    ],
)
def test_no_answer_says_why(changes: dict[str, Any], words: str) -> None:
    record = sample.forecast(**changes)
    assert words in said(record)[0]
    assert forecast.curve(record, 60, 10, View()) == []


def test_forecast_and_measurement_stand_side_by_side() -> None:
    assert said(sample.forecast(), 128)[1].strip() == "batch 128: ~ 84.9 MiB · not measured yet"
    assert said(sample.forecast(points=TAUGHT), 128)[1].strip() == "batch 128: ~ 85.0 MiB · measured 84.9 MiB · +0.10 %"
    assert len(said(sample.forecast(points=TAUGHT), 64)) == 1, "nothing was forecast for the first"


def test_the_longest_sequence_has_a_line_where_it_is_known() -> None:
    assert said(sample.forecast(length=256, max_length=4096))[1].strip() == "longest sequence ~ 4,096 at batch 64"
    assert len(said(sample.forecast(length=256))) == 1


def test_under_gradient_accumulation_a_batch_is_one_of_several() -> None:
    record = sample.forecast(points=TAUGHT, batches=4)
    first, second = said(record, 512)
    assert "fits up to ~ 1,552 × 4" in first
    assert second.strip().startswith("batch 128:")
    assert len(said(record, 513)) == 1


def test_the_curve_has_its_points_its_limit_and_its_answer() -> None:
    rows = texts(forecast.curve(sample.forecast(points=TAUGHT), 60, 9, View()))
    assert len(rows) == 9
    assert {len(row) for row in rows} == {60}
    assert rows[0].startswith(" 1.00 GiB ─"), "the limit is on top"
    assert sum(row.count("●") for row in rows) == 2
    assert rows[-1].split() == ["1", "64", "128", "▲", "1,552"]
    heights = [next(y for y, row in enumerate(rows) if row[x] in "•●") for x in range(10, 60)]
    assert heights == sorted(heights, reverse=True), "a larger batch never needs less"


def test_at_80_columns_the_answer_is_in_the_line_of_the_batch() -> None:
    (line,) = (row for row in texts(board(watched(), 80, 24, View())) if row.startswith(" batch "))
    assert "fits up to ~ 1,552 · 668 KiB a sample" in line


@pytest.mark.parametrize(("size", "curve"), [((120, 40), True), ((200, 60), True), ((80, 24), False)])
def test_the_curve_is_shown_where_there_is_room(size: tuple[int, int], curve: bool) -> None:
    rows = "\n".join(texts(board(watched(points=TAUGHT), *size, View())))
    assert ("▲ 1,552" in rows) is curve
    assert "fits up to ~ 1,552" in rows


records = st.builds(
    sample.forecast,
    phases=st.lists(
        st.builds(Affine, phase=st.just("backward"), fixed_bytes=st.integers(0, 1 << 50),
                  bytes_per_sample=st.integers(0, 1 << 40)), min_size=1, max_size=4),
    max_batch_size=st.none() | st.integers(0, 1 << 40),
    limit_bytes=st.none() | st.integers(0, 1 << 50),
    points=st.lists(st.builds(Point, batch_size=st.integers(1, 1 << 40), measured_bytes=st.integers(0, 1 << 50),
                              predicted_bytes=st.none() | st.integers(0, 1 << 50)), max_size=5),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(records, st.integers(5, 120), st.integers(0, 20), st.booleans())
def test_any_forecast_is_drawn_in_exact_widths(made: ForecastRecord, width: int, height: int, measured: bool) -> None:
    size = made.points[0].batch_size if measured and made.points else 64
    for row in texts(forecast.curve(made, width, height, View())):
        assert cell_len(row) == width
    for row in texts(batch.batch(replace(deep_cnn(), forecast=made), max(width, 12), max(height, 3), View())):
        assert cell_len(row) == max(width, 12)
    forecast.lines(made, size, width, View())


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_main_screen_with_a_forecast(snap_compare: Any, make_app: AppMaker, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(watched(points=TAUGHT)), terminal_size=size)
