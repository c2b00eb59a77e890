"""A real training answers which batch fits within three steps, and another batch by key is measured beside it."""

from __future__ import annotations

import threading

from memtop.model.forecast import peak_at
from memtop.model.forecast_record import ForecastRecord
from memtop.model.records import EndRecord, Record, StepRecord
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
