"""A session without a target: what commands and their answers do, and which records reach a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from memtop.model.records import EventRecord, Record
from memtop.model.snapshot import Phase
from memtop.protocol import commands
from memtop.protocol import records as wire
from memtop.session import Options, Session
from memtop.sinks.replay import read
from tests.unit import sample_records as sample

Open = Callable[..., Session]
BASE: dict[str, Any] = {"t_ns": 1, "pid": 1}


class Wires:
    """Links that keep what is sent to the target."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.ranks: list[int | None] = []
        self.connected = True

    def send(self, command: commands.Command, rank: int | None = None) -> bool:
        if self.connected:
            self.sent.append(command.name)
            self.ranks.append(rank)
        return self.connected


@pytest.fixture
def begun() -> Iterator[Open]:
    """A session whose run has begun, its target replaced by wires."""
    made: list[Session] = []

    def begin(**options: Any) -> Session:
        session = Session(Options(settings={"device": "cpu"}, **options))
        session._links = Wires()  # type: ignore[assignment]
        session._recording.begin(sample.run())
        session._recording.know(sample.host(), [])
        made.append(session)
        return session

    yield begin
    for session in made:
        session._links = None
        session.close()


def step(session: Session) -> None:
    facts: dict[str, Any] = {"step": 5, "steps": 5, "seconds": 0.5, "phases": {}, "batch_size": 8, "loss": 1.0}
    costs = {"spent_ns": 1, "announced_ns": 250_000_000, "looks": 2, "trained_ns": 100}
    session.message(wire.Step(**(BASE | facts | costs)))


def look(session: Session) -> None:
    facts: dict[str, Any] = {"device": "cpu", "step": 2, "moment": "peak", "tier": "deep", "bytes": sample.PEAK}
    session.message(wire.Memory(**(BASE | facts), allocator=None, where=sample.WHERE, notes=[]))
    for record in (sample.modules(), sample.lines(), sample.trace()):
        plain = msgspec.to_builtins(record) | BASE
        session.message(wire.decode(msgspec.json.encode(plain)))


@pytest.mark.parametrize("paused", [False, True])
def test_a_deep_look_is_asked_for_and_leaves_the_phase_alone(begun: Open, paused: bool) -> None:
    session, events = begun(), list[Record]()
    session.on_record(events.append)
    step(session)
    if paused:
        session.pause()
        session.message(wire.Ack(**BASE, id=1, step=5))
    phase = Phase.PAUSED if paused else Phase.TRAINING
    session.deep_look()
    assert session._links.sent[-1] == "deep"  # type: ignore[union-attr]
    assert session.snapshot().pending == "a deep look: at the next step"
    session.message(wire.Ack(**BASE, id=1 + paused, step=7))
    shot = session.snapshot()
    assert (shot.pending, shot.phase, shot.looks, shot.announced_seconds) == (None, phase, 2, 0.25)
    event = [record for record in events if isinstance(record, EventRecord)][-1]
    assert (event.name, event.message) == ("command", "deep took effect after step 7")
    assert event.data == {"name": "deep", "step": 7}


def test_pause_and_resume_change_the_phase(begun: Open) -> None:
    session = begun()
    step(session)
    session.pause()
    session.message(wire.Ack(**BASE, id=1, step=5))
    assert session.snapshot().phase is Phase.PAUSED
    session.resume()
    session.message(wire.Ack(**BASE, id=2, step=5))
    assert session.snapshot().phase is Phase.TRAINING


def test_a_refused_deep_look_says_why_and_what_to_do(begun: Open) -> None:
    session = begun()
    step(session)
    session.deep_look()
    session.message(wire.Fault(**BASE, id=1, message="the profiler\x1b[2J runs", remedy="wait\x07 for it"))
    shot = session.snapshot()
    assert (shot.pending, shot.phase) == (None, Phase.TRAINING)
    assert shot.banner is not None
    assert (shot.banner.severity, shot.banner.text, shot.banner.remedy) == (
        "warning",
        "the profiler runs",
        "wait for it",
    )


def test_a_deep_look_does_not_forget_a_pause_on_its_way(begun: Open) -> None:
    session = begun()
    session._links.connected = False  # type: ignore[union-attr]
    session.pause()
    session.deep_look()
    assert session.snapshot().pending == "pausing at the next step"
    session._links.connected = True  # type: ignore[union-attr]
    session.message(wire.Hello(**BASE, python="3", torch=None, cuda=None, allocator=None, devices=[]))
    assert session._links.sent == ["pause"]  # type: ignore[union-attr]


@pytest.mark.parametrize("traced", [False, True])
def test_whole_steps_are_logged_on_request(begun: Open, traced: bool) -> None:
    session, records = begun(trace_steps=traced), list[Record]()
    session.on_record(records.append)
    look(session)
    kinds = [record.kind for record in records if record.kind in ("memory", "modules", "lines", "trace")]
    assert kinds == ["memory", "modules", "lines", *["trace"] * traced]
    deep = session.snapshot().deep
    assert deep is not None
    assert deep.trace is not None, "a screen has it in any case"


def test_a_log_started_in_mid_run_begins_with_what_is_known(begun: Open, tmp_path: Path) -> None:
    session, path = begun(trace_steps=True), tmp_path / "late.jsonl"
    model = {"name": "Net", "device": "cpu", "parameters": 1, "trainable_parameters": 1, "bytes": {}, "modules": 1}
    session.message(wire.Model(**(BASE | model), optimizers=[], inputs=[]))
    look(session)
    assert session.start_log(str(path)) is None
    session.stop_logs()
    kinds = [record.kind for record in read(path) if record.kind != "device"]
    assert kinds == ["run", "model", "modules", "lines"]


def test_marks_are_told_once(begun: Open) -> None:
    session = begun()
    data = {"place": "train.py:31", "label": "a", "gained": [], "lost": [], "total": 4}
    session.message(wire.Event(**BASE, name="track", message="", data=data))
    count, (mark,) = session.tracked_since(0)
    assert (count, mark.label, session.snapshot().tracked) == (1, "a", (mark,))
    assert session.tracked_since(1) == (1, [])
