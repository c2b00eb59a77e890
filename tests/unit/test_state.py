"""Messages and samples in, log records out."""

from __future__ import annotations

from typing import Any

import pytest

from memtop.model.records import DeviceRecord, EndRecord, EventRecord, MemoryRecord, StepRecord
from memtop.model.snapshot import Phase
from memtop.protocol import records as wire
from memtop.session.state import State

START = 1_000_000_000
BASE = {"t_ns": 3 * START, "pid": 1}
COSTS = {"spent_ns": 1, "announced_ns": 250_000_000, "looks": 1}
KNOWN = {"parameters": 50, "activations": 20, "gradients": None}


def memory(**changes: Any) -> wire.Memory:
    fields = {"device": "cpu", "step": 1, "moment": "forward_end", "tier": "graph", "bytes": KNOWN}
    return wire.Memory(**(BASE | fields | {"allocator": None, "where": None, "notes": []} | changes))


def step(**changes: Any) -> wire.Step:
    fields = {"step": 5, "steps": 5, "seconds": 0.5, "phases": {}, "batch_size": 8, "loss": 1.0}
    return wire.Step(**(BASE | fields | COSTS | {"trained_ns": 100} | changes))


def host(t: float) -> DeviceRecord:
    return DeviceRecord(t=t, device="cpu", memory_total=1000, memory_free=600, tree_pss=150, tree_pss_t=t)


def test_a_memory_record_is_joined_with_the_newest_sample() -> None:
    state = State(START)
    state.sampled([host(1.0)])
    (record,) = state.heard(memory())
    assert isinstance(record, MemoryRecord)
    assert (record.t, record.sources) == (2.0, {"allocator": 2.0, "device": 1.0})
    assert record.device_total == sum(value for value in record.bytes.values() if value is not None) == 1000
    assert record.bytes["gradients"] is None


def test_tensors_of_the_time_of_the_sample_are_taken_off_the_tree() -> None:
    state = State(START)
    state.heard(memory())
    state.sampled([host(2.5)])
    now = state.now("cpu")
    assert now is not None
    assert (now.bytes["runtime"], now.bytes["free"]) == (150 - 70, 600)
    state.heard(memory(t_ns=4 * START, moment="step_end", bytes={"parameters": 100}))
    now = state.now("cpu")
    assert now is not None
    assert (now.bytes["runtime"], now.bytes["free"]) == (80, 570)


@pytest.mark.parametrize("changes", [{"moment": "noon"}, {"tier": "guess"}])
def test_what_has_no_meaning_is_counted_and_dropped(changes: dict[str, str]) -> None:
    state = State(START)
    assert state.heard(memory(**changes)) == []
    assert (state.malformed, state.moments) == (1, {})
    assert state.ended(1.0, 0).dropped == 1


def test_a_peak_on_a_gpu_whose_counters_are_unknown_says_so() -> None:
    state = State(START)
    state.sampled([DeviceRecord(t=0.0, device="cuda:0", memory_total=1000, memory_free=400)])
    (record,) = state.heard(memory(device="cuda:0", moment="peak", tier="deep"))
    assert isinstance(record, MemoryRecord)
    assert record.allocated is record.reserved is record.bytes["rounding"] is record.bytes["cached"] is None
    assert any("free or context holds them" in note for note in record.notes)
    assert sum(size for size in record.bytes.values() if size is not None) == record.device_total == 1000
    state.sampled([DeviceRecord(t=5.0, device="cuda:0", memory_total=1000, memory_free=400)])
    assert state._holdings.then("cuda:0") is None, "tensors are not what torch had reserved"


def test_hostile_strings_are_harmless_in_every_record() -> None:
    state = State(START)
    (record,) = state.heard(memory(device="\x1b[31mcpu", notes=["\x1b]0;x\x07note"]))
    assert isinstance(record, MemoryRecord)
    assert (record.device, record.notes[0]) == ("cpu", "note")
    (event,) = state.heard(wire.Event(**BASE, name="\x1b[2Jprobe", message="a\x07b", data={}))
    assert isinstance(event, EventRecord)
    assert (event.name, event.message) == ("probe", "ab")


def test_a_flushed_cache_is_told_once() -> None:
    state = State(START)
    told = []
    for retries in (0, 1, 1, 3):
        counted = wire.Allocator(requested=70, allocated=80, active=80, reserved=90, retries=retries)
        told.append([r.name for r in state.heard(memory(device="cuda:0", allocator=counted)) if r.kind == "event"])
    assert told == [[], ["warning"], [], ["warning"]]


def test_steps_and_phases() -> None:
    state = State(START)
    assert state.steps_per_second() is None
    state.heard(wire.Hello(**BASE, python="3", torch=None, cuda=None, allocator=None, devices=[]))
    assert state.phase is Phase.IMPORTING
    state.heard(wire.Hello(**BASE, python="3", torch="2", cuda=None, allocator=None, devices=[]))
    assert state.phase is Phase.WAITING
    (record,) = state.heard(step())
    assert isinstance(record, StepRecord)
    assert (record.samples_per_second, state.steps_per_second()) == (16.0, 2.0)
    assert (state.phase, state.overhead_percent) == (Phase.TRAINING, 1.0)


def test_what_the_probe_never_told_is_unknown() -> None:
    end = State(START).ended(1.0, 0)
    assert (end.overhead_percent, end.announced_seconds, end.looks) == (None, None, None)


@pytest.mark.parametrize(("code", "exit_code", "signal"), [(0, 0, None), (3, 3, None), (-9, None, 9)])
def test_the_end(code: int, exit_code: int | None, signal: int | None) -> None:
    state = State(START)
    state.heard(memory())
    state.heard(memory(bytes={"parameters": 10}))
    state.heard(step())
    state.heard(wire.Bye(**(BASE | COSTS | {"spent_ns": 20_000_000}), steps=7, seconds=2.0, dropped=4))
    end = state.ended(9.0, code)
    assert isinstance(end, EndRecord)
    assert (end.exit_code, end.signal, end.steps, end.dropped) == (exit_code, signal, 7, 4)
    assert (end.peak["cpu"]["tensors"], end.overhead_percent) == (70, 1.0)
    assert (end.announced_seconds, end.looks) == (0.25, 1)
    assert state.phase is Phase.ENDED
