"""What if, from a snapshot: which batch it is of, which limit holds, and why there may be nothing to tell."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from memtop.model.forecast import Point
from memtop.model.snapshot import Snapshot
from memtop.model.whatif_look import missing, told
from tests.tui.deep_fakes import PEAK, deep_cnn
from tests.unit import sample_records as sample


def watched(**forecast: Any) -> Snapshot:
    return replace(deep_cnn(), forecast=sample.forecast(device="cuda:0", step=2, **forecast))


def test_the_batch_is_that_of_the_look_not_of_the_newest_step() -> None:
    """The last batch of an epoch is smaller."""
    snapshot = watched(points=[Point(batch_size=64, measured_bytes=PEAK)])
    assert snapshot.step is not None
    found = told(replace(snapshot, step=replace(snapshot.step, batch_size=7)))
    assert found is not None
    assert found.batch == 64


def test_a_forecast_of_another_batch_leaves_the_looks_own() -> None:
    points = [Point(batch_size=64, measured_bytes=PEAK), Point(batch_size=512, measured_bytes=9 * PEAK)]
    snapshot = watched(batch_size=512, points=points)
    assert snapshot.forecast is not None
    found = told(replace(snapshot, forecast=replace(snapshot.forecast, step=2)))
    assert found is not None
    assert found.batch == 64


def test_without_a_forecast_it_is_the_steps_batch_and_nothing_bounds_it() -> None:
    snapshot = deep_cnn()
    found = told(replace(snapshot, forecast=None))
    assert snapshot.step is not None
    assert found is not None
    assert found.batch == snapshot.step.batch_size
    assert found.limit is None
    assert {line.max_batch for line in found.lines} == {None}
    assert missing(replace(snapshot, forecast=None, step=replace(snapshot.step, batch_size=None))) is not None


def test_a_limit_keeps_its_margin_free() -> None:
    wide, tight = told(watched(), 2**30, 0.0), told(watched(), 2**30, 0.5)
    assert wide is not None
    assert tight is not None
    assert (wide.margin, tight.margin) == (0.02, 0.5), "never less than the forecast's own error"
    for first, second in zip(wide.lines, tight.lines, strict=True):
        assert (first.max_batch or 0) > (second.max_batch or 0) > 0
    assert told(watched(), 1000) is not None
    assert {line.max_batch for line in told(watched(), 1000).lines} == {0}  # type: ignore[union-attr]


@pytest.mark.parametrize("lacks", ["modules", "trace"])
def test_what_is_missing_is_said(lacks: str) -> None:
    snapshot = watched()
    assert missing(snapshot) is None
    assert snapshot.deep is not None
    part = replace(snapshot, deep=replace(snapshot.deep, **{lacks: None}))  # type: ignore[arg-type]
    assert missing(part)
    assert told(part) is None
