"""The explanation of an out-of-memory error: figures that add up, remedies that would have worked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtop.model import oom_text
from memtop.model.forecast import Affine
from memtop.model.ledger import Whole
from memtop.model.oom import Change, Facts, batch_changes, fragmented, freed, remedies, shortfall
from memtop.model.records import DeviceProcess, DeviceRecord, MemoryRecord
from memtop.model.whatif import Line
from memtop.protocol.oom import decode
from memtop.session.ooms import Before, Ooms, as_data
from tests.unit import sample_records as sample

GIB = 1 << 30
MIB = 1 << 20
BYTES: dict[str, int | None] = {
    "parameters": 4 * GIB, "gradients": 4 * GIB, "optimizer_state": 8 * GIB, "activations": 40 * GIB, "inputs": GIB,
    "temporaries": None, "other_processes": 3 * GIB, "cached": GIB, "free": GIB,
}  # fmt: skip


def facts(**more: Any) -> Facts:
    given = {
        "device": "cuda:0", "step": 7, "asked": 3 * GIB, "bytes": BYTES, "total": 80 * GIB, "available": GIB,
        "cached": GIB, "largest_free": 100 * MIB, "batch": 64, "per_sample": 656 * MIB, "activations": 40 * GIB,
        "leaves": 100, "optimizers": ["Adam"],
    }  # fmt: skip
    return Facts(**(given | more))


def test_what_was_missing() -> None:
    assert shortfall(facts()) == 2 * GIB
    assert shortfall(facts(available=None)) == 3 * GIB
    assert shortfall(facts(available=9 * GIB)) == 3 * GIB, "two readings contradict each other"
    assert shortfall(facts(asked=None)) is None


def test_each_remedy_saves_what_was_held_and_would_have_been_enough() -> None:
    found = remedies(facts())
    assert [(one.kind, one.saves) for one in found] == [
        ("others", 3 * GIB),
        ("batch", 4 * 656 * MIB),
        ("checkpoint", 32 * GIB),
    ]
    assert all(one.enough and one.saves >= 2 * GIB and not one.whole for one in found)
    assert (found[1].count, found[2].count) == (60, 10)


def test_fragmentation_is_told_by_the_largest_piece() -> None:
    pieces = facts(asked=3 * GIB, available=GIB, cached=2 * GIB, largest_free=GIB)
    assert fragmented(pieces)
    assert remedies(pieces)[0].kind == "pieces"
    assert remedies(pieces)[0].saves == 2 * GIB
    assert not fragmented(facts(asked=3 * GIB, available=GIB, cached=GIB)), "it would not have been enough in one piece"


def test_where_none_is_enough_alone_those_that_are_together_are_told() -> None:
    small = {"optimizer_state": 2 * GIB, "other_processes": GIB + MIB, "activations": 0}
    found = remedies(facts(asked=4 * GIB, bytes=small, batch=1, per_sample=None, activations=None, cached=0))
    assert [(one.saves, one.enough) for one in found] == [(2 * GIB, False), (GIB + MIB, False)]
    assert oom_text.together(found) == 3 * GIB + MIB
    none = remedies(facts(asked=5 * GIB, bytes=small, batch=1, per_sample=None, activations=None, cached=0))
    assert none == ()


def test_a_limit_on_the_process_is_not_helped_by_others() -> None:
    assert not any(one.kind == "others" for one in remedies(facts(limit="RLIMIT_AS")))


@given(
    asked=st.integers(1, 1 << 50),
    available=st.none() | st.integers(0, 1 << 40),
    batch=st.none() | st.integers(1, 4096),
    each=st.none() | st.integers(0, 1 << 34),
    peak=st.none() | st.integers(0, 1 << 34),
    held=st.dictionaries(st.sampled_from(list(BYTES)), st.none() | st.integers(0, 1 << 40)),
)
def test_the_bytes_of_remedies_always_add_up(
    asked: int, available: int | None, batch: int | None, each: int | None, peak: int | None, held: dict[str, Any]
) -> None:
    given_ = facts(
        asked=asked, available=available, batch=batch, per_sample=each, peak_per_sample=peak, bytes=held,
        activations=held.get("activations"),
    )  # fmt: skip
    short, found = shortfall(given_), remedies(given_)
    assert short is not None
    assert len(found) <= 3
    for one in found:
        assert one.saves > 0
        assert one.enough == (one.saves >= short)
        if one.kind == "optimizer":
            assert one.saves == held["optimizer_state"]
        if one.kind == "others":
            assert one.saves == held["other_processes"]
        if one.kind == "batch":
            assert batch is not None
            assert one.saves == (batch - one.count) * (peak or each or 0)
            assert 1 <= one.count < batch
    assert sum(one.saves for one in found) >= short or not found


LINES = (Affine(phase="backward", fixed_bytes=GIB, bytes_per_sample=GIB),)


def line(name: str, peak: int, need: int = 65 * GIB) -> Line:
    return Line(name=name, now=False, peak=peak, saves=need - peak, phase="backward", max_batch=None, rests_on="")


def foreseen(**more: Any) -> Facts:
    """A step of 64 samples takes 65 GiB, of 50 there."""
    changed = {
        one.name: one
        for one in (line("checkpointing", 20 * GIB), line("bf16 autocast", 49 * GIB), line("SGD", 9 * GIB))
    }
    return facts(
        **(
            {
                "lines": LINES,
                "fits": 48,
                "room": 50 * GIB,
                "room_of_halves": 50 * GIB,
                "changed": changed,
                "segments": 7,
            }
            | more
        )
    )


def test_where_the_forecast_explains_it_a_remedy_is_one_under_which_the_whole_step_fits() -> None:
    found = remedies(foreseen(cached=0))
    assert [(one.kind, one.saves, one.count) for one in found] == [
        ("batch", 16 * GIB, 48),
        ("checkpoint", 45 * GIB, 7),
        ("optimizer", 56 * GIB, 0),
    ], "others hold 3 GiB, which are not enough; autocast stays too near to the limit to be promised"
    assert all(one.whole and one.enough for one in found)
    assert remedies(foreseen(room=62 * GIB, cached=0))[0].kind == "others", "with the 3 GiB that others hold"
    none = foreseen(room=4 * GIB, fits=0, bytes={"activations": 40 * GIB}, optimizers=[], cached=0)
    assert [one.kind for one in remedies(none)] == [], "together they save what activations there are but once"


def test_where_the_forecast_says_that_it_fits_nothing_is_promised_of_the_whole_step() -> None:
    found = remedies(foreseen(room=90 * GIB))
    assert {one.kind for one in found} == {"others", "batch", "checkpoint"}
    assert not any(one.whole for one in found)
    assert next(one.saves for one in found if one.kind == "checkpoint") == 45 * GIB, "as worked out, not by the root"


def test_what_was_let_go_of_while_the_error_rose_has_bounds_under_a_limit_alone() -> None:
    asking = facts(asked=64 * MIB)
    assert freed(asking, used=700 * MIB, limit=800 * MIB) == (36 * MIB, 100 * MIB)
    assert freed(asking, used=780 * MIB, limit=800 * MIB) == (0, 20 * MIB)
    assert freed(asking, None, None) == (0, -1)
    assert freed(facts(asked=None), used=1, limit=10) == (0, -1)


def test_nothing_is_promised_where_it_is_not_known_what_was_asked_for() -> None:
    assert remedies(facts(asked=None)) == (), "Python's own MemoryError, say"
    killed = remedies(facts(asked=None, killed=True))
    assert killed
    assert not any(one.enough for one in killed)
    assert not any(one.kind == "others" for one in killed), "its own memory is among theirs"
    assert remedies(facts(asked=None, killed=True, activations=2, per_sample=1, bytes={"optimizer_state": 9})) == ()


def test_a_smaller_batch_is_no_remedy_where_most_was_let_go_of_unseen() -> None:
    seen = facts(scaling=GIB, lost=0, bytes={})
    assert [one.kind for one in remedies(seen)] == ["batch", "checkpoint", "half"]
    assert remedies(facts(scaling=GIB, lost=9 * GIB, bytes={})) == (), "a list in the making was what held it"


def test_a_workers_failure_is_told_as_such_and_promises_nothing() -> None:
    whole = Whole(bytes={**TOLD["bytes"], "other_processes": 9 * GIB, "free": GIB}, total=80 * GIB)
    told = Ooms().heard(9.0, decode(TOLD | {"worker": 3}), whole, Before(moments={}, batch=8))
    assert (told.remedies, told.short, told.available, told.limit) == ((), None, None, None)
    words = "\n".join(oom_text.lines(told))
    assert words.startswith(
        "out of memory in worker 3 of the DataLoader in step 7: 2.00 GiB more were wanted, at train.py"
    )
    assert "fewer workers" in words
    assert "not the worker's" in words


def test_what_changed_in_the_batch() -> None:
    before = [((8, 128), "int64"), ((8,), "int64")]
    assert batch_changes(before, [((8, 512), "int64"), ((8,), "int64")]) == [(before[0], ((8, 512), "int64"))]
    assert batch_changes(before, []) == []


TOLD: dict[str, Any] = {
    "device": "cuda:0", "step": 7, "asked": 2 * GIB, "module": "block.3",
    "place": {"file": "/home/a/train.py", "line": 31, "function": "main", "text": "loss = model(x)\x1b[31m"},
    "bytes": {"parameters": GIB, "activations": 10 * GIB, "inputs": 0},
    "allocator": None, "inputs": [[[8, 128], "int64"]], "inputs_now": [[[8, 512], "int64"]], "optimizers": ["AdamW"],
    "limit": None, "half": False, "worker": None,
    "leaves": 4, "device_free": GIB, "cached": 0, "largest_free": 0, "fatal": False,
    "unwound": False, "notes": [],
}  # fmt: skip


def _record(moment: Any, **bytes_: int) -> MemoryRecord:
    return MemoryRecord(
        t=1.0, device="cuda:0", step=6, moment=moment, tier="deep", sources={}, bytes=dict(bytes_), where=None,
        allocated=None, reserved=None, device_total=80 * GIB, notes=[],
    )  # fmt: skip


def test_the_picture_is_joined_with_the_last_good_step() -> None:
    whole = Whole(bytes={**TOLD["bytes"], "other_processes": 9 * GIB, "free": GIB}, total=80 * GIB)
    moments = {
        "forward_end": _record("forward_end", activations=2 * GIB, inputs=0),
        "step_end": _record("step_end", other_processes=GIB),
    }
    ooms = Ooms()
    told = ooms.heard(9.0, decode(TOLD), whole, Before(moments=moments, batch=8))
    assert (told.short, told.available, told.place) == (GIB, GIB, "/home/a/train.py:31")
    assert told.text == "loss = model(x)", "no escape of a terminal's"
    assert told.changes == (
        Change(before=((8, 128), "int64"), now=((8, 512), "int64")),
        Change(others=8 * GIB),
    )
    assert as_data(told)["changes"] == [
        "the batch was (8, 128) int64, it is (8, 512) int64",
        "other processes took 8.00 GiB more of cuda:0",
    ]
    assert [one.saves for one in told.remedies] == [9 * GIB, GIB, 4 * GIB]
    words = "\n".join(oom_text.lines(told))
    assert "train.py:31: loss = model(x) (module block.3)" in words
    assert "missing: 1.00 GiB" in words


@pytest.mark.parametrize(("others", "saves"), [((), None), ((3 * GIB, None), 3 * GIB)])
def test_only_what_nvml_says_of_other_processes_can_be_freed(others: tuple[int | None, ...], saves: int | None) -> None:
    """The driver's own reserve is in `other_processes`, too, and no one gives it back."""
    whole = Whole(bytes={**TOLD["bytes"], "other_processes": 9 * GIB, "free": GIB}, total=80 * GIB)
    processes = [DeviceProcess(pid=9, name=None, bytes=one, ours=False) for one in others]
    processes.append(DeviceProcess(pid=1, name=None, bytes=20 * GIB, ours=True))
    sample = DeviceRecord(t=1.0, device="cuda:0", memory_total=80 * GIB, memory_free=GIB, processes=processes)
    made = Ooms().heard(9.0, decode(TOLD), whole, Before(moments={}, batch=8, sample=sample))
    found = [one.saves for one in made.remedies if one.kind == "others"]
    assert found == ([] if saves is None else [saves])


def test_a_smaller_batch_is_named_by_the_forecast_whatever_batch_was_looked_at() -> None:
    """The look was at a small batch, the last good step had another: bytes a sample are of neither's peak."""
    told = {**TOLD, "inputs": [[[256, 128], "int64"]], "inputs_now": [[[512, 128], "int64"]]}
    lines = [Affine(phase="backward", fixed_bytes=GIB, bytes_per_sample=GIB // 32)]
    forecast = sample.forecast(phases=lines, device="cuda:0", limit_bytes=None)
    whole = Whole(bytes={**TOLD["bytes"], "free": GIB}, total=80 * GIB)
    made = Ooms().heard(9.0, decode(told), whole, Before(moments={}, batch=256, forecast=forecast))
    [smaller] = [one for one in made.remedies if one.kind == "batch"]
    rest = int(11 * 32 * 0.94)  # 10 GiB held and 1 GiB free, nearly
    assert (smaller.count, made.batch) == (rest, 512)
    assert oom_text.remedy(smaller, made).startswith(f"batch {rest} instead of 512")
    assert smaller.saves == (512 - rest) * GIB // 32


def test_a_step_after_it_says_that_it_was_caught_and_says_so_once() -> None:
    ooms = Ooms()
    ooms.heard(9.0, decode(TOLD), Whole(bytes={}, total=None), Before(moments={}, batch=None))
    assert not ooms.stepped(6)
    assert ooms.stepped(7)
    assert not ooms.stepped(8)
    assert ooms.newest is not None
    assert oom_text.headline(ooms.newest).endswith("caught, the training went on")


@pytest.mark.parametrize(
    ("kills", "free", "words"), [(1, 50, "killer ended it"), (0, 2, "nearly full"), (None, 50, "")]
)
def test_a_kill_is_told_by_the_kernels_count_or_by_a_full_memory(kills: int | None, free: int, words: str) -> None:
    from memtop.model.records import DeviceRecord

    host = DeviceRecord(t=1.0, device="cpu", memory_total=100, memory_free=free)
    told = Ooms().killed(9.0, 5, kills, None, host, Before(moments={}, batch=None))
    assert (told is None) == (not words)
    assert told is None or words in oom_text.headline(told)
