"""Deep looks and marks: a probe's messages in, records, snapshots and logs out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from memtop.launcher import manifests
from memtop.model.categories import TENSORS
from memtop.model.history import TENSOR_SUM
from memtop.model.records import DeviceRecord, EventRecord, MemoryRecord, Record
from memtop.model.snapshot import Phase, Snapshot
from memtop.protocol import records as wire
from memtop.session.state import State
from memtop.session.view import Around, snapshot
from memtop.sinks import open_sink
from memtop.sinks.replay import read
from tests.unit import sample_records as sample

START = 1_000_000_000
EVIL = "\x1b]0;owned\x07a\x1b[31mb\u202ec\nd"
MILD = "abc d"
DEVICE = "\x1b[31mcpu"


def heard(state: State, kind: str, t: float, **facts: Any) -> list[Record]:
    """A probe's message of run second `t`, by the road it takes: a line of JSON."""
    base = {"v": 1, "kind": kind, "t_ns": START + int(t * 1e9), "pid": 1, "rank": 0}
    return state.heard(wire.decode(json.dumps(base | facts).encode()))


def moment(state: State, name: str, t: float, step: int = 2, tier: str = "deep", **changes: Any) -> MemoryRecord:
    facts = {"device": "cpu", "step": step, "moment": name, "tier": tier, "bytes": sample.PEAK, "allocator": None}
    record, *_ = heard(state, "memory", t, **(facts | {"where": None, "notes": []} | changes))
    assert isinstance(record, MemoryRecord)
    return record


def part(state: State, record: Any, t: float = 3.0, **changes: Any) -> list[Record]:
    plain = {k: v for k, v in msgspec.to_builtins(record).items() if k not in ("v", "kind", "t", "rank")}
    return heard(state, record.kind, t, **(plain | changes))


def look(state: State, step: int = 2) -> None:
    """A whole deep look as a probe tells of it once its step is over: the moments, the peak, the rest."""
    moment(state, "forward_end", 1.1, step)
    moment(state, "backward_end", 1.3, step)
    moment(state, "step_end", 1.5, step)
    moment(state, "peak", 1.2, step, where=sample.WHERE)
    for record in (sample.modules(), sample.lines(), sample.trace()):
        part(state, replace(record, step=step))


def shown(state: State, t: float = 4.0) -> Snapshot:
    manifest = manifests.load("mlp-mnist")
    settings = manifests.resolve(manifest, {"device": "cpu"})
    return snapshot(state, Around(manifest=manifest, settings=settings), t)


def host(t: float) -> DeviceRecord:
    return DeviceRecord(t=t, device="cpu", memory_total=1000, memory_free=600, tree_pss=150, tree_pss_t=t)


def test_a_look_is_built_of_its_parts() -> None:
    state = State(START)
    assert shown(state).deep is None
    look(state)
    deep = shown(state).deep
    assert deep is not None
    assert (deep.t, deep.step, deep.peak.t, deep.peak.where) == (1.5, 2, 1.2, sample.WHERE)
    assert deep.modules == replace(sample.modules(), t=3.0)
    assert deep.lines == replace(sample.lines(), t=3.0)
    assert deep.trace == replace(sample.trace(), t=3.0)


def test_a_new_look_begins_anew_and_may_be_incomplete() -> None:
    state = State(START)
    look(state)
    peak = moment(state, "peak", 5.0, step=9)
    deep = shown(state).deep
    assert deep is not None
    assert (deep.step, deep.t, deep.peak) == (9, 5.0, peak)
    assert (deep.modules, deep.lines, deep.trace) == (None, None, None)
    part(state, sample.modules())
    assert shown(state).deep == deep, "of another step"


def test_the_peak_may_come_before_the_end_of_its_step() -> None:
    state = State(START)
    moment(state, "peak", 1.2)
    moment(state, "step_end", 1.5)
    moment(state, "step_end", 8.0, step=3, tier="graph")
    deep = shown(state).deep
    assert deep is not None
    assert (deep.t, deep.step) == (1.5, 2)


def test_what_a_deep_look_followed_is_what_was_allocated() -> None:
    state = State(START)
    assert moment(state, "peak", 1.0).allocated == 100
    assert moment(state, "step_end", 1.0, bytes=sample.PEAK | {"other_tensors": -8}).allocated == 92
    assert moment(state, "step_end", 1.0, tier="graph").allocated is None
    assert moment(state, "step_end", 1.0, bytes=sample.PEAK | {"other_tensors": None}).allocated is None
    assert moment(state, "peak", 1.0, device="cuda:0").allocated is None, "there the allocator counts"


def test_on_cuda_the_counters_of_the_peak_are_the_peaks_alone() -> None:
    state = State(START)
    after = {"requested": 40, "allocated": 512, "active": 512, "reserved": 4096, "retries": 0}
    most = after | {"requested": 100, "allocated": 1024, "active": 1024}
    rest: dict[str, int | None] = sample.CATEGORIES | {"parameters": 40}
    moment(state, "step_end", 2.0, device="cuda:0", bytes=rest, allocator=after)
    peak = moment(state, "peak", 1.5, device="cuda:0", allocator=most)
    assert (peak.allocated, peak.bytes["rounding"], peak.bytes["other_tensors"]) == (1024, 924, 0)
    now = state.now("cuda:0")
    assert now is not None
    assert (now.moment, now.bytes["rounding"], now.bytes["other_tensors"]) == ("step_end", 472, 0)


def test_now_is_never_a_peak() -> None:
    state = State(START)
    moment(state, "step_end", 1.0)
    moment(state, "peak", 2.0)
    now = state.now("cpu")
    assert now is not None
    assert now.moment == "step_end"
    assert state.moments["cpu"]["peak"].t == 2.0


def test_the_highest_of_the_run_may_be_a_peak() -> None:
    state = State(START)
    moment(state, "forward_end", 1.0, tier="graph", bytes={"parameters": 99})
    moment(state, "peak", 1.5)
    moment(state, "forward_end", 3.0, step=3, tier="graph", bytes={"parameters": 99})
    assert state.highest["cpu"].moment == "peak"
    assert state.ended(4.0, 0).peak["cpu"] == {"tensors": 100} | state.highest["cpu"].bytes
    assert set(TENSORS) < set(state.highest["cpu"].bytes)


def test_moments_told_late_count_at_their_own_time() -> None:
    """The device is read inside a deep step; its moments are told of after it."""
    state = State(START)
    small: dict[str, int | None] = sample.CATEGORIES | {"parameters": 40}
    moment(state, "step_end", 1.0, step=1, tier="graph", bytes=small)
    state.sampled([host(2.0)])
    moment(state, "forward_end", 1.9)
    late = moment(state, "step_end", 2.5, bytes=small)
    assert late.bytes["runtime"] == 150 - 100, "100 bytes were held when the tree's memory was read"
    assert late.device_total == sum(count for count in late.bytes.values() if count is not None) == 1000
    moment(state, "peak", 1.8, bytes=sample.PEAK | {"temporaries": 30})
    now = state.now("cpu")
    assert now is not None
    assert (now.bytes["runtime"], now.bytes["free"]) == (50, 600 + 60)


def test_a_late_peak_stands_in_the_history_where_it_was() -> None:
    state = State(START)
    small: dict[str, int | None] = sample.CATEGORIES | {"parameters": 40}
    moment(state, "step_end", 0.1, step=1, tier="graph", bytes=small)
    moment(state, "step_end", 2.1, bytes=small)
    moment(state, "peak", 1.2)
    assert state.history["cpu"].series()[TENSOR_SUM] == (40, 40, 100, 100, 100)


def test_hostile_strings_of_a_look_are_harmless() -> None:
    state = State(START)
    told = dict.fromkeys(("phase", "module", "operator", "line", "text", "more"), EVIL)
    peak = moment(state, "peak", 1.2, device=DEVICE, where=told | {"seconds": EVIL})
    assert peak.where == dict.fromkeys(("phase", "module", "operator", "line", "text"), MILD) | {"seconds": None}
    tensor = msgspec.to_builtins(sample.line_row().tensors[0])
    tensor |= dict.fromkeys(("dtype", "category", "operator", "module"), EVIL)
    row = msgspec.to_builtins(sample.line_row()) | dict.fromkeys(("file", "function", "text", "phase"), EVIL)
    part(state, sample.modules(), device=DEVICE, rows=[msgspec.to_builtins(sample.module_row(path=EVIL, type=EVIL))])
    part(state, sample.lines(), device=DEVICE, rows=[row | {"tensors": [tensor]}])
    part(state, sample.trace(), device=DEVICE, columns=[EVIL, "x"], marks=[{"at": 0.0, "name": EVIL}])
    deep = shown(state).deep
    assert deep is not None
    assert deep.modules is not None
    assert deep.modules.rows == [sample.module_row(path=MILD, type=MILD)]
    assert deep.lines is not None
    (line,) = deep.lines.rows
    assert {line.file, line.function, line.text, line.phase} == {MILD}
    assert {line.tensors[0].dtype, line.tensors[0].category, line.tensors[0].operator} == {MILD}
    assert deep.trace is not None
    assert (deep.trace.columns[0], deep.trace.marks[0].name, deep.trace.device) == (MILD, MILD, "cpu")


@pytest.mark.parametrize("told", [{}, {"phase": 1, "seconds": True}, {"module": ["x"], "text": None}])
def test_a_where_that_tells_nothing_is_unknown(told: dict[str, Any]) -> None:
    where = moment(State(START), "peak", 1.0, where=told).where
    assert where == dict.fromkeys(("phase", "module", "operator", "line", "text", "seconds"))


@pytest.mark.parametrize(
    "change",
    [{"peak": 3}, {"peak": -1}, {"times": [0.0, 0.1]}, {"points": [[1], [2], [3]]}, {"times": [0.0, 0.2, 0.1]}],
)
def test_a_trace_that_contradicts_itself_is_counted_and_dropped(change: dict[str, Any]) -> None:
    state = State(START)
    moment(state, "peak", 1.2)
    assert part(state, sample.trace(), **change) == []
    assert state.malformed == 1
    assert part(state, sample.trace()) != []


def test_a_look_comes_back_from_a_log(tmp_path: Path) -> None:
    state, path = State(START), tmp_path / "run.jsonl"
    records: list[Record] = [moment(state, "peak", 1.2, where=sample.WHERE)]
    for record in (sample.modules(), sample.lines(), sample.trace()):
        records += part(state, record)
    sink = open_sink(str(path))
    for written in records:
        sink.write(written)
    sink.close()
    assert list(read(path)) == records
    assert state.looks.records() == records[1:3]


GROUP = {"shape": [512], "dtype": "float32", "kind": "Parameter", "device": "cpu", "count": 8, "bytes": 16_384}
MARK = {"place": "train.py:31", "label": "model", "gained": [GROUP], "lost": [], "total": 80_097_536}


def marked(state: State, t: float = 1.0, **changes: Any) -> EventRecord:
    (event,) = heard(state, "event", t, name="track", message="words", data=MARK | changes)
    assert isinstance(event, EventRecord)
    return event


def test_a_mark_is_kept_and_its_event_logged() -> None:
    state = State(START)
    assert marked(state, more=[1]).data == MARK | {"more": [1]}
    (mark,) = shown(state).tracked
    (group,) = mark.gained
    assert (mark.t, mark.place, mark.label, mark.lost, mark.total) == (1.0, "train.py:31", "model", (), 80_097_536)
    assert (group.shape, group.kind, group.count, group.bytes) == ((512,), "Parameter", 8, 16_384)


def test_hostile_strings_of_a_mark_are_harmless() -> None:
    state = State(START)
    evil = GROUP | dict.fromkeys(("dtype", "kind", "device"), EVIL)
    event = marked(state, place=EVIL, label=EVIL, gained=[evil], more={EVIL: {EVIL: [EVIL]}})
    mild = "abc\nd"
    (told,) = event.data["gained"]
    assert {event.data["place"], event.data["label"], told["dtype"], told["kind"], told["device"]} == {mild}
    assert event.data["more"] == {mild: {mild: [mild]}}
    (mark,) = shown(state).tracked
    (group,) = mark.gained
    assert {mark.place, mark.label, group.dtype, group.kind, group.device} == {MILD}


def test_a_mark_that_is_none_is_counted_and_still_logged() -> None:
    state = State(START)
    assert marked(state, total="much").data["total"] == "much"
    marked(state, gained=[GROUP | {"count": -1}])
    assert (state.malformed, shown(state).tracked) == (2, ())


def test_the_last_thousand_marks_are_kept() -> None:
    state = State(START)
    for number in range(1003):
        marked(state, label=str(number))
    kept = shown(state).tracked
    assert [kept[0].label, kept[-1].label, len(kept)] == ["3", "1002", 1000]
    count, fresh = state.marks.since(1001)
    assert (count, [mark.label for mark in fresh]) == (1003, ["1001", "1002"])
    assert len(state.marks.since(0)[1]) == 1000


def test_a_connection_that_goes_with_a_restart_is_no_news() -> None:
    state = State(START)
    look(state)
    state.enter(Phase.LOST, 5.0)
    manifest = manifests.load("cnn")
    around = Around(manifest=manifest, settings=manifests.resolve(manifest, {"device": "cpu"}))
    assert snapshot(state, around, 6.0).banner is not None
    around.stopped = True
    assert snapshot(state, around, 6.0).banner is None
