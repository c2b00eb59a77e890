"""When the CUDA allocator's record is taken, that it is always given back, and what is read from it."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from memtop.probe import cuda_history  # noqa: E402
from memtop.probe.cuda_blocks import Pieces  # noqa: E402
from memtop.probe.cuda_history import ENTRIES, UNSEEN, Entry, History  # noqa: E402
from memtop.probe.cuda_lives import Mismatch, checked, events  # noqa: E402
from tests.unit.cuda_allocator import MIB, Card, Native  # noqa: E402

ON, OFF = ("all", None, "python", ENTRIES), (None, "all", "all")


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> Native:
    card = Card()
    card.patch(monkeypatch)
    return card.allocator


def begin() -> tuple[History | None, set[str]]:
    notes: set[str] = set()
    return History.begin([0], notes), notes


def test_it_is_on_for_the_step_without_tracebacks_and_off_again(native: Native) -> None:
    history, notes = begin()
    assert history is not None
    assert native.switched == [ON]
    assert native.enabled
    first = native.malloc(1000)
    history.mark("forward_end", [0])
    native.free(first)
    recorded = history.end()["cuda:0"]
    assert native.switched[1][:3] == OFF
    assert not native.enabled
    assert not native.ring
    assert [(one.action, one.bytes) for one in recorded.entries if one.action != "snapshot"] == [
        ("segment_alloc", 2 * MIB),
        ("alloc", 1000),
        ("free_requested", 1000),
        ("free_completed", 1000),
    ]
    assert recorded.marks["forward_end"].changes - recorded.marks["begin"].changes == 1
    assert not notes
    history.drop()
    assert len(native.switched) == 2, "what has ended is not ended again"


def test_what_there_was_before_is_not_among_the_entries(native: Native) -> None:
    kept = native.malloc(5000)
    history, _ = begin()
    assert history is not None
    recorded = history.end()["cuda:0"]
    assert [one.action for one in recorded.entries] == ["snapshot"]
    (block,) = [one for one in recorded.segments[0].blocks if one.state == "active_allocated"]
    assert (block.address, block.requested, block.bytes) == (kept, 5000, 5120)
    assert recorded.segments[0].small
    assert sum(one.bytes for one in recorded.segments[0].blocks) == 2 * MIB


@pytest.mark.parametrize(
    ("module", "name", "value", "said"),
    [
        ("cuda", "is_initialized", lambda: False, None),
        ("cuda", "is_current_stream_capturing", lambda: True, "graph is being captured"),
        ("cuda", "get_allocator_backend", lambda: "cudaMallocAsync", "cudaMallocAsync keeps no"),
        ("_C", "_cuda_isHistoryEnabled", lambda: True, "the program's own memory history is on"),
    ],
)
def test_it_does_not_begin(
    native: Native, monkeypatch: pytest.MonkeyPatch, module: str, name: str, value: Any, said: str | None
) -> None:
    monkeypatch.setattr(getattr(torch, module), name, value, raising=False)
    history, notes = begin()
    assert history is None
    assert native.switched == [], "nobody's recording is touched"
    assert len(notes) == (said is not None)
    assert all(UNSEEN in note and str(said) in note for note in notes)


def test_a_torch_without_it_has_none(native: Native, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch._C, "_cuda_record_memory_history")
    assert begin() == (None, {f"{UNSEEN}: this torch keeps no memory history"})


def test_a_snapshot_of_another_form_ends_the_record_and_nothing_else(
    native: Native, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, notes = begin()
    assert history is not None
    monkeypatch.setattr(torch._C, "_cuda_memorySnapshot", lambda pool: {"device_traces": [[{"what": 1}]]})
    assert history.end() == {}
    assert not native.enabled
    assert any("KeyError" in note for note in notes)
    again, notes = begin()
    assert again is None
    assert not native.enabled
    assert any("can't be read" in note for note in notes)


def test_a_ring_that_was_too_small_is_not_used(native: Native, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_history, "ENTRIES", 10)
    history, notes = begin()
    assert history is not None
    for _ in range(5):
        native.free(native.malloc(100))
    assert history.end() == {}
    assert not native.enabled
    assert notes == {f"{UNSEEN}: the step had more than 10 allocator events"}


def test_a_history_that_the_person_begins_meanwhile_is_theirs_to_end(native: Native) -> None:
    history, notes = begin()
    assert history is not None
    torch.cuda.memory._record_memory_history()
    native.frames = True
    native.malloc(100)
    assert history.end() == {}
    history.drop()
    assert native.enabled
    assert native.switched[-1][0] == "all"
    assert notes == {f"{UNSEEN}: the program's own memory history came on"}


def test_a_history_that_the_person_ends_is_over(native: Native) -> None:
    history, _ = begin()
    assert history is not None
    torch.cuda.memory._record_memory_history(None)
    assert history.end() == {}
    assert len(native.switched) == 2


def test_a_forked_child_leaves_cuda_alone(native: Native, monkeypatch: pytest.MonkeyPatch) -> None:
    history, _ = begin()
    assert history is not None
    monkeypatch.setattr(os, "getpid", lambda: -1)
    history.drop()
    assert history.end() == {}
    assert native.enabled


@pytest.mark.parametrize("seed", range(8))
def test_blocks_have_the_sizes_that_the_allocator_gave_them(native: Native, seed: int) -> None:
    """Small ones and large, split and merged, unsplit tails, other streams waiting, caches emptied in between."""
    chance = random.Random(seed)
    live: list[int] = []
    waiting: list[int] = []

    def act() -> None:
        what = chance.random()
        if what < 0.5 or not live:
            live.append(
                native.malloc(chance.choice([4, 700, 5000, 300_000, MIB, MIB + 1, 3 * MIB, 11 * MIB, 21 * MIB]))
            )
        elif what < 0.85:
            native.free(live.pop(chance.randrange(len(live))))
        elif what < 0.93:
            waiting.append(live.pop(chance.randrange(len(live))))
            native.free(waiting[-1], waits=True)
        elif waiting:
            native.complete(waiting.pop())
        else:
            native.empty_cache()

    for _ in range(60):
        act()
    history, _ = begin()
    assert history is not None
    given = []
    for _ in range(200):
        before = native.taken
        act()
        if native.taken > before:
            given.append(native.pieces[live[-1]].size)
    history.mark("step_end", [0])
    recorded = history.end()["cuda:0"]
    pieces = Pieces(recorded)
    sizes = [pieces.done(entry) for entry in recorded.entries]
    assert [size for entry, size in zip(recorded.entries, sizes, strict=True) if entry.action == "alloc"] == given
    lives, done = events(recorded)
    assert checked(lives, done, recorded).blocks


def test_an_alloc_where_nothing_was_free_has_no_known_size(native: Native) -> None:
    history, _ = begin()
    assert history is not None
    recorded = history.end()["cuda:0"]
    assert Pieces(recorded).done(Entry("alloc", 4096, 10, 0)) is None


def test_expandable_segments_grow_and_shrink() -> None:
    recorded = cuda_history.Recorded(segments=[], entries=[], settings={"expandable_segments": True})
    pieces = Pieces(recorded)
    for entry in (Entry("segment_map", 0, 20 * MIB, 0), Entry("segment_map", 20 * MIB, 20 * MIB, 0)):
        pieces.done(entry)
    assert pieces.done(Entry("alloc", 0, 30 * MIB, 0)) == 30 * MIB
    assert pieces.done(Entry("alloc", 30 * MIB, 9 * MIB + 1, 0)) == 9 * MIB + 512, "the rest is split off at any size"
    pieces.done(Entry("free_completed", 0, 30 * MIB, 0))
    pieces.done(Entry("segment_unmap", 0, 20 * MIB, 0))
    assert pieces.done(Entry("alloc", 0, 100, 0)) is None
    assert pieces.done(Entry("alloc", 20 * MIB, 100, 0)) == 512


def test_a_record_that_contradicts_the_counters_is_refused(native: Native) -> None:
    history, _ = begin()
    assert history is not None
    native.malloc(1000)
    history.mark("step_end", [0])
    recorded = history.end()["cuda:0"]
    checked(*events(recorded), recorded)
    recorded.marks["step_end"] = recorded.marks["step_end"]._replace(requested=1001)
    with pytest.raises(Mismatch, match="differs from the counters"):
        checked(*events(recorded), recorded)
    recorded.entries.append(Entry("free_requested", 12345, 8, 0))
    with pytest.raises(Mismatch, match="was not taken"):
        events(recorded)
    del recorded.marks["begin"]
    recorded.entries.pop()
    with pytest.raises(Mismatch, match="were not read"):
        checked(*events(recorded), recorded)
