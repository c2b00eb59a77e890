"""A real training answers which batch fits within three steps, and another batch by key is measured beside it."""

from __future__ import annotations

import threading

from memtop.model.forecast import peak_at
from memtop.model.forecast_record import ForecastRecord
from memtop.model.records import EndRecord, MemoryRecord, Record, StepRecord
from memtop.session.options import Options
from memtop.session.session import Session

PATIENCE = 60.0
"""Seconds after which a record that should have come never will."""


def test_a_forecast_within_three_steps_and_a_second_batch_beside_it() -> None:
    session = Session(Options(scenario="mlp-mnist", settings={"device": "cpu"}, interval=0.2))
    seen: list[Record] = []
    first, second = threading.Event(), threading.Event()

    def heard(record: Record) -> None:
        seen.append(record)
        if isinstance(record, ForecastRecord):
            (second if record.batch_size == 128 else first).set()

    session.on_record(heard)
    try:
        session.start()
        assert first.wait(PATIENCE), "no forecast"
        before = session.snapshot().forecast
        session.restart(settings={"batch_size": 128})
        assert second.wait(PATIENCE), "no forecast at the second batch"
        after = session.snapshot().forecast
    finally:
        session.close()
    assert before is not None
    assert after is not None
    at = next(place for place, one in enumerate(seen) if isinstance(one, ForecastRecord))
    watched = [one for one in seen[:at] if isinstance(one, StepRecord)]
    assert sum(one.steps for one in watched) <= 2, "it comes before the third step has been told"
    assert before.batch_size == 64
    assert not any(isinstance(one, EndRecord) for one in seen[:at])
    (_, point) = after.points
    assert point.batch_size == 128
    assert point.predicted_bytes == peak_at(before.phases, 128)
    assert point.measured_bytes == 2_833_588, "what a deep look at this batch alone says"
    assert point.predicted_bytes == point.measured_bytes
    assert after.max_batch_size is not None
    assert after.limit_bytes is not None
    assert peak_at(after.phases, after.max_batch_size) <= after.limit_bytes


def test_a_later_look_that_may_not_know_the_batch_before_takes_no_better_forecast_back() -> None:
    """The loop still holds that batch while the next one is loaded: without it a sample would seem to take half."""
    session = Session(Options(scenario="mlp-mnist", settings={"device": "cpu"}, interval=0.2))
    forecasts: list[ForecastRecord] = []
    first, again = threading.Event(), threading.Event()

    def heard(record: Record) -> None:
        if isinstance(record, ForecastRecord):
            forecasts.append(record)
            first.set()
        if isinstance(record, MemoryRecord) and (record.moment, record.tier) == ("peak", "deep") and record.step > 2:
            again.set()

    session.on_record(heard)
    try:
        session.start()
        assert first.wait(PATIENCE), "no forecast"
        session.deep_look()
        assert again.wait(PATIENCE), "no look by key"
        last = session.snapshot().forecast
    finally:
        session.close()
    assert last is not None
    (loading,) = [one for one in last.phases if one.phase == "data"]
    assert loading.bytes_per_sample >= 2 * (28 * 28 * 4 + 8), "this batch, and the one before"
    assert all(one.phases == forecasts[0].phases for one in (*forecasts, last))
