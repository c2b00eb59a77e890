"""Events of the probe that need action: what of them reaches the log and the screen."""

from __future__ import annotations

from typing import Any

import pytest

from memtop.model.i18n import use
from memtop.model.records import EndRecord, EventRecord, MemoryRecord
from memtop.protocol import records as wire
from memtop.session.state import State

from .test_state import BASE, START, host, memory, step

PLACE = {"file": "/a/train.py", "line": 31, "function": "main", "text": "loss = f(x)\x1b[2J"}
LEAK: dict[str, Any] = {
    "kind": "graph", "place": PLACE, "module": None, "category": "activations", "device": "cpu", "step": 130,
    "tensors_per_step": 1.0, "bytes_per_step": 4096, "since": 2, "holder": "list losses", "more": [],
}  # fmt: skip
OOM: dict[str, Any] = {
    "device": "cpu", "step": 6, "asked": 900, "module": None, "place": PLACE, "bytes": {"parameters": 50},
    "allocator": None, "inputs": [], "inputs_now": [], "optimizers": [], "limit": None, "half": False, "worker": None,
    "leaves": 1,
    "device_free": None, "cached": None, "largest_free": None, "fatal": False, "unwound": True, "notes": [],
}  # fmt: skip


def event(name: str, data: dict[str, Any]) -> wire.Event:
    return wire.Event(**(BASE | {"name": name, "message": "m", "data": data}))


def test_a_leak_comes_to_log_and_banner_and_goes_when_it_is_over() -> None:
    state = State(START)
    (record,) = state.heard(event("leak", LEAK))
    assert isinstance(record, EventRecord)
    assert (record.name, record.data["line"], record.data["text"]) == ("leak", 31, "loss = f(x)")
    banner = state.troubles.banner("cpu", 3.0)
    assert banner is not None
    assert banner.text == "leak at train.py:31: 1 tensor, 4.00 KiB more a step, kept with their graph, in list losses"
    (record,) = state.heard(event("leak_over", {"place": PLACE, "part": False}))
    assert isinstance(record, EventRecord)
    assert record.name == "leak_over"
    assert state.troubles.banner("cpu", 3.0) is None
    assert state.heard(event("leak_over", {"place": PLACE | {"line": 99}, "part": True})) == []


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("leak", LEAK | {"kind": "odd"}),
        ("leak", LEAK | {"bytes_per_step": "many"}),
        ("oom", {}),
        ("oom", OOM | {"asked": 1.5}),
        ("syncs", {"step": 1}),
        ("leak_over", {}),
    ],
)
def test_what_is_malformed_is_counted_and_dropped(name: str, data: dict[str, Any]) -> None:
    state = State(START)
    assert state.heard(event(name, data)) == []
    assert state.malformed == 1


def test_an_error_that_was_caught_is_told_once_and_leaves_the_banner_after_a_while() -> None:
    state = State(START)
    state.sampled([host(1.0)])
    (record,) = state.heard(event("oom", OOM))
    assert isinstance(record, EventRecord)
    assert record.data["total"] == sum(count for count in record.data["bytes"].values() if count is not None) == 1000
    assert (record.data["available"], record.data["short"]) == (550, 350), "50 were taken since the sample"
    banner = state.troubles.banner("cpu", 3.0)
    assert banner is not None
    assert banner.severity == "error"
    assert [one.name for one in state.heard(step(step=6)) if isinstance(one, EventRecord)] == ["oom_caught"]
    assert len(state.heard(step(step=7))) == 1
    banner = state.troubles.banner("cpu", 3.0)
    assert banner is not None
    assert banner.severity == "warning"
    assert state.troubles.banner("cpu", 300.0) is None


@pytest.mark.parametrize(("signal", "kills", "names"), [(9, 1, ["oom"]), (9, 0, []), (15, 1, [])])
def test_a_kill_by_the_kernel_is_told_with_what_was_held(signal: int, kills: int, names: list[str]) -> None:
    state = State(START)
    state.sampled([host(1.0)])
    state.heard(memory())
    end = EndRecord(
        t=9.0, exit_code=None, signal=signal, steps=4, seconds=9.0, peak={}, dropped=0, overhead_percent=None
    )
    told = state.troubles.ended(end, kills)
    assert [one.name for one in told if isinstance(one, EventRecord)] == names
    if names:
        assert state.troubles.ooms.newest is not None
        assert state.troubles.ooms.newest.bytes["parameters"] == 50


@pytest.mark.parametrize(("code", "names"), [(0, ["oom_caught"]), (1, [])])
def test_a_program_that_ends_well_has_outlived_it(code: int, names: list[str]) -> None:
    state = State(START)
    state.heard(event("oom", OOM))
    end = EndRecord(t=9.0, exit_code=code, signal=None, steps=5, seconds=9.0, peak={}, dropped=0, overhead_percent=None)
    assert [one.name for one in state.troubles.ended(end, 0) if isinstance(one, EventRecord)] == names
    assert state.troubles.ooms.newest is not None
    assert state.troubles.ooms.newest.caught == (code == 0)


def test_steady_growth_warns_once_in_the_log() -> None:
    state = State(START)
    state.sampled([host(1.0)])
    names = []
    for number in range(12):
        known = {"parameters": 50, "activations": 20 + 10 * number, "inputs": 5}
        records = state.heard(memory(step=10 * number + 1, bytes=known))
        names += [one.name for one in records if isinstance(one, EventRecord)]
    assert names == ["warning"]
    banner = state.troubles.banner("cpu", 3.0)
    assert banner is not None
    assert banner.text.startswith("this will not fit in about ")


def test_a_leak_whose_line_is_not_known_is_told_by_what_holds_it_and_can_be_over() -> None:
    state = State(START)
    rare = LEAK | {"place": None, "tensors_per_step": 0.02, "bytes_per_step": 82, "bytes_each": 4096}
    (record,) = state.heard(event("leak", rare))
    assert isinstance(record, EventRecord)
    assert record.message == (
        "leak at a line that is not known: 4.00 KiB more about every 50 steps, kept with their graph, in list losses"
    )
    assert (record.data["file"], record.data["line"]) == (None, None)
    (record,) = state.heard(event("leak_over", {"place": None, "holder": "list losses", "part": False}))
    assert isinstance(record, EventRecord)
    assert state.troubles.live() == []


def test_a_leak_is_chinese_on_the_screen_and_english_in_the_log() -> None:
    state = State(START)
    use("zh")
    try:
        (record,) = state.heard(event("leak", LEAK))
        banner = state.troubles.banner("cpu", 3.0)
    finally:
        use("en")
    assert isinstance(record, EventRecord)
    assert record.message.startswith("leak at train.py:31: 1 tensor, 4.00 KiB more a step")
    assert record.data["remedy"].startswith("keep `loss.item()`")
    assert banner is not None
    assert banner.remedy is not None
    assert (banner.text[:15], banner.remedy[:3]) == ("train.py:31 处泄漏", "只保留")


def test_a_leak_foretells_the_step_at_which_memory_is_full_from_a_reading_that_is_old() -> None:
    state = State(START)
    state.sampled([host(1.0)])
    state.heard(step(step=300))
    state.heard(event("leak", LEAK | {"kind": "kept", "bytes_per_step": 10}))
    record, warning = state.heard(memory(step=301))
    assert isinstance(record, MemoryRecord)
    assert isinstance(warning, EventRecord)
    free, age = record.bytes["free"], record.t - 1.0
    assert free is not None
    assert (age, warning.data["steps"]) == (1.0, (free - 2 * 10) // 10), "two steps of 0.5 s since the device was read"
    other = State(START)
    other.sampled([host(1.0)])
    other.heard(event("leak", LEAK | {"bytes_per_step": 10, "device": "cuda:0"}))
    assert len(other.heard(memory(step=301))) == 1, "a leak on another device"
