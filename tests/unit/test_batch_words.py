"""A step's batch and its place in a pass, in words."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from memtop.model import batches, summary
from memtop.model.records import EventRecord, InputTensor, ModelRecord
from memtop.model.snapshot import Snapshot
from memtop.protocol import records as wire
from memtop.session.state import State
from memtop.tui.draw.cells import Row
from memtop.tui.draw.details import details
from memtop.tui.draw.header import header
from memtop.tui.view import View
from tests.tui import fakes
from tests.unit import sample_records as sample
from tests.unit import test_state as probe
from tests.unit.fake_session import snapshot


def model(micro: int | None, *shape: int) -> ModelRecord:
    return ModelRecord(
        t=1.0,
        name="Net",
        device="cpu",
        parameters=1,
        trainable_parameters=1,
        bytes={},
        modules=1,
        optimizers=[],
        inputs=[InputTensor(shape=list(shape), dtype="float32", bytes=320)],
        micro_batches=micro,
    )


@pytest.mark.parametrize(
    ("batch", "known", "words"),
    [
        (64, model(8, 8, 10), "64 = 8 × 8"),
        (64, model(4, 10, 16, 3), "64 = 4 × 16"),  # the sequence comes first
        (64, model(1, 64, 10), "64"),
        (64, model(None, 64, 10), "64"),
        (60, model(8, 4, 10), "60 in 8"),  # the last one was smaller
        (64, model(2, 16, 10), "64 in 2"),  # 48 and 16: no two of 32
        (64, None, "64"),
        (None, model(8, 8, 10), "—"),
    ],
)
def test_a_batch_of_micro_batches_says_so(batch: int | None, known: ModelRecord | None, words: str) -> None:
    assert batches.size(batch, known) == words


def test_a_sample_weighs_the_same_however_many_batches_a_step_takes() -> None:
    assert batches.sample_bytes(8, model(1, 8, 10)) == batches.sample_bytes(64, model(8, 8, 10)) == 40
    assert batches.sample_bytes(None, model(1, 8, 10)) is None


def test_where_a_pass_ends_is_told_and_how_many_there_are_is_not() -> None:
    one = sample.step(number=400)
    assert (one.pass_end, batches.pass_seconds(one, 10.0)) == (938, 53.8)
    assert batches.pass_words(one, 53.8) == "pass ends at step 938, in 54 s"
    assert batches.pass_words(one, None) == "pass ends at step 938"
    assert batches.pass_words(sample.step(number=938), 0.0) == "a pass has ended at step 938"
    assert (batches.pass_words(None, None), batches.pass_seconds(one, None)) == ("", None)
    shown = snapshot(total_steps=None, eta=None, step=one, pass_eta=53.8)
    assert "pass ends at step 938, in 54 s" in summary.progress(shown, 150)
    assert "pass" not in summary.progress(snapshot(step=one, pass_eta=53.8), 150), "the run's own end is known"


def wired(name: str, **data: int) -> wire.Event:
    return wire.Event(name=name, message=f"{name} \x1b[2J happened", data=dict(data), **probe.BASE)


def test_the_state_keeps_what_the_probe_says() -> None:
    state = State(probe.START)
    (record,) = state.heard(probe.step(pass_end=12))
    assert getattr(record, "pass_end", None) == 12
    for event in (wired("skipped", skipped=2), wired("skipped", skipped=5), wired("steps"), wired("steps")):
        assert [type(one) for one in state.heard(event)] == [EventRecord]
    assert (state.skipped, state.counting) == (5, ["steps  happened"])


def text(rows: list[Row]) -> str:
    return "\n".join("".join(segment.text for segment in row) for row in rows)


def shown() -> Snapshot:
    step = fakes.mlp().step
    assert step is not None
    return fakes.mlp(step=replace(step, pass_end=9_999), pass_eta=12.0, skipped=3, counting=("by backward",))


def test_the_screen_says_it() -> None:
    view = View()
    assert "3 skipped" in text([header(shown(), 160, view)])
    assert "pass ends at 9,999,   12 s" in text([header(shown(), 200, view)])
    whole = text(details(shown(), 120, view))
    assert "3 steps skipped by GradScaler" in whole
    assert "by backward" in whole
    assert "ends at step 9,999, in 12 s" in whole
