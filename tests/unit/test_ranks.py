"""Several ranks: a state each, one host between them, and what is said of them together."""

from __future__ import annotations

from typing import Any

import pytest

from memtop.model import ranks_text, summary
from memtop.model.categories import CPU
from memtop.model.ranks import RankCell, RankStrip
from memtop.model.records import DeviceProcess, DeviceRecord, EventRecord, MemoryRecord, RankEnd
from memtop.model.snapshot import Phase
from memtop.protocol import records as wire
from memtop.session import view
from memtop.session.ranks import Ranks
from memtop.session.share import by_sight, merged
from tests.unit.test_troubles import OOM

START = 1_000_000_000
COSTS = {"spent_ns": 1, "announced_ns": 0, "looks": 1}


def hello(pid: int, rank: int, uuid: str | None = None) -> wire.Hello:
    devices = [] if uuid is None else [wire.Device(name="cuda:0", uuid=uuid, title=None, total=None)]
    return wire.Hello(
        t_ns=2 * START, pid=pid, rank=rank, python="3", torch="2", cuda=None, allocator=None, devices=devices
    )


def memory(rank: int, parameters: int, device: str = "cpu", **changes: Any) -> wire.Memory:
    fields: dict[str, Any] = {"device": device, "step": 2, "moment": "step_end", "tier": "graph", "notes": []}
    fields |= {"bytes": {"parameters": parameters}, "allocator": None, "where": None}
    return wire.Memory(**({"t_ns": 3 * START, "pid": 100 + rank, "rank": rank} | fields | changes))


def step(rank: int, **changes: Any) -> wire.Step:
    fields: dict[str, Any] = {"step": 5, "steps": 5, "seconds": 0.5, "phases": {}, "batch_size": 8, "loss": 1.0}
    base = {"t_ns": 3 * START, "pid": 100 + rank, "rank": rank, "trained_ns": 100}
    return wire.Step(**(base | fields | COSTS | changes))


def host(*held: tuple[int, int]) -> DeviceRecord:
    processes = [DeviceProcess(pid=pid, name=None, bytes=size, ours=True) for pid, size in held] or None
    return DeviceRecord(
        t=1.5, device="cpu", memory_total=10_000, memory_free=6_000, tree_pss=900, tree_pss_t=1.5, processes=processes
    )


def both() -> Ranks:
    """Two ranks, launched by pid 1, and the host as they share it."""
    ranks = Ranks(START)
    for message in (hello(1, 0), hello(100, 0), hello(101, 1)):
        ranks.heard(message)
    ranks.sampled([host((100, 300), (101, 450))])
    return ranks


def whole(record: MemoryRecord) -> int:
    return sum(size for size in record.bytes.values() if size is not None)


def test_each_rank_has_its_own_share_of_the_host() -> None:
    ranks = both()
    (one,) = ranks.heard(memory(0, 50))
    event, other = ranks.heard(memory(1, 70))
    assert isinstance(one, MemoryRecord)
    assert isinstance(other, MemoryRecord)
    assert (one.bytes["runtime"], other.bytes["runtime"]) == (300, 450)
    assert (one.bytes["other_processes"], other.bytes["other_processes"]) == (4_000 - 300, 4_000 - 450)
    assert whole(one) == one.device_total == whole(other) == other.device_total == 10_000
    assert (one.rank, other.rank) == (0, 1)
    assert isinstance(event, EventRecord)
    assert event.message == "rank 1 reports: 2 so far"


def test_a_rank_whose_process_was_not_read_yet_has_no_runtime() -> None:
    ranks = both()
    ranks.sampled([host()])
    (record,) = ranks.heard(memory(0, 50))
    assert isinstance(record, MemoryRecord)
    assert record.bytes["runtime"] is None
    assert whole(record) == record.device_total
    assert set(record.bytes) == set(CPU)


def test_one_rank_has_all_of_the_tree() -> None:
    ranks = Ranks(START)
    ranks.heard(hello(100, 0))
    ranks.sampled([host()])
    (record,) = ranks.heard(memory(0, 50))
    assert isinstance(record, MemoryRecord)
    assert record.bytes["runtime"] == 900
    assert (ranks.strip(), ranks.parts, ranks.aim) == (None, {}, None)


def test_whose_figures_are_shown() -> None:
    ranks = both()
    for rank, size in ((0, 50), (1, 70)):
        ranks.heard(memory(rank, size))
    assert (ranks.rank, ranks.aim) == (0, 0), "the first, until somebody chooses"
    ranks.show(1)
    assert (ranks.rank, ranks.aim, ranks.shown.moments["cpu"]["step_end"].rank) == (1, 1, 1)
    ranks.show(0)
    ranks.show(7)
    assert ranks.rank == 0, "there is no such rank"
    ranks.show(None)
    assert (ranks.rank, ranks.aim) == (1, None)
    ranks.heard(memory(0, 90))
    assert ranks.rank == 0, "whichever it is"
    strip = ranks.strip()
    assert strip is not None
    assert (strip.follows_most, strip.shown, strip.spread) == (True, 0, 20)


def test_a_rank_that_is_lost_and_one_that_comes_again() -> None:
    ranks = both()
    for rank in (0, 1):
        ranks.heard(step(rank))
    ranks.lost(1, 4.0)
    strip = ranks.strip()
    assert strip is not None
    assert [(one.standing, one.since) for one in strip.cells] == [("training", 2.0), ("lost", 4.0)]
    assert ranks.shown.phase is Phase.TRAINING
    ranks.enter(Phase.PAUSED, 5.0)
    ranks.heard(step(1, pid=205, t_ns=6 * START))
    strip = ranks.strip()
    assert strip is not None
    assert [one.standing for one in strip.cells] == ["paused", "training"]
    assert ranks.parts == {100: "rank 0", 205: "rank 1"}


def test_one_end_for_all() -> None:
    ranks = both()
    for rank, size in ((0, 90), (1, 70)):
        ranks.heard(memory(rank, size))
        ranks.heard(step(rank, step=5 + rank, looks=1 + rank))
    bye = {"steps": 7, "seconds": 2.0, "dropped": 4, "spent_ns": 20_000_000, "announced_ns": 0, "looks": 1}
    ranks.heard(wire.Bye(**({"t_ns": 4 * START, "pid": 100, "rank": 0} | bye)))
    ranks.lost(1, 3.5)
    ranks.malformed(1)
    end = ranks.ended(9.0, 1)
    assert (end.exit_code, end.steps, end.dropped, end.looks, end.overhead_percent) == (1, 7, 5, 2, 1.0)
    assert end.peak["cpu"]["tensors"] == 90
    assert end.ranks == [
        RankEnd(rank=0, device="cpu", steps=7, tensors=90, lost_at=None),
        RankEnd(rank=1, device="cpu", steps=6, tensors=70, lost_at=3.5),
    ]
    ranks.show(1)
    assert ranks.shown.end is ranks.end is end


def test_every_rank_may_call_its_own_gpu_cuda_0() -> None:
    ranks = Ranks(START)
    ranks.heard(hello(100, 0, "aaa"))
    ranks.heard(hello(101, 1, "bbb"))
    assert ranks.visible == {"aaa": "cuda:0"}, "a name is given once"
    owners = [DeviceProcess(pid=pid, name=None, bytes=40, ours=True) for pid in (100, 101)]
    gpus = [
        DeviceRecord(t=9.5, device="cuda:0", uuid="GPU-aaa", memory_total=1000, memory_free=900, processes=owners),
        DeviceRecord(
            t=9.5, device="gpu:GPU-bbb", uuid="GPU-bbb", memory_total=500, memory_free=450, processes=owners[1:]
        ),
    ]
    counted = wire.Allocator(requested=20, allocated=20, active=20, reserved=30, retries=0)
    for rank in (0, 1):
        ranks.heard(memory(rank, 20, "cuda:0", allocator=counted))
    ranks.sampled(gpus)
    found = {}
    for rank in (0, 1):
        *_, record = ranks.heard(memory(rank, 20, "cuda:0", allocator=counted))
        assert isinstance(record, MemoryRecord)
        assert whole(record) == record.device_total
        found[rank] = record.device_total, record.bytes["context"], record.bytes["other_processes"]
    # Rank 1 has opened a context on rank 0's GPU: to rank 0 that is somebody else.
    assert found == {0: (1000, 10, 60), 1: (500, 10, 10)}


def test_sight() -> None:
    sample = DeviceRecord(t=0.0, device="cuda:1", uuid="GPU-aaa")
    assert by_sight(sample, {}) is sample
    renamed = by_sight(sample, {"aaa": "cuda:0"})
    assert renamed is not None
    assert renamed.device == "cuda:0"
    assert by_sight(sample, {"bbb": "cuda:0"}) is None
    assert merged([{"aaa": "cuda:0", "bbb": "cuda:1"}, {"GPU-bbb": "cuda:0"}]) == {"aaa": "cuda:0", "bbb": "cuda:1"}


def cell(rank: int, **changes: Any) -> RankCell:
    fields: dict[str, Any] = {"device": "cpu", "standing": "training", "since": 0.0, "step": 9, "now": 5}
    return RankCell(**(fields | {"rank": rank, "peak": 100, "seconds": 1.0, "own": 0.5} | changes))


def strip(*cells: RankCell) -> RankStrip:
    return RankStrip(cells=cells, shown=0)


@pytest.mark.parametrize(
    ("third", "slow"),
    [
        ({"own": 0.7}, (2,)),
        ({"own": 0.55}, ()),
        ({"own": None}, ()),
        ({"own": None, "seconds": 1.3}, (2,)),
        ({"own": 0.5, "seconds": 1.3}, ()),
        ({"own": 0.9, "standing": "lost"}, ()),
    ],
)
def test_who_the_others_wait_for(third: dict[str, Any], slow: tuple[int, ...]) -> None:
    assert strip(cell(0), cell(1), cell(2, **third)).stragglers == slow


def test_a_difference_that_no_step_feels_is_no_straggler() -> None:
    fast = [cell(rank, own=0.01) for rank in (0, 1)]
    assert strip(*fast, cell(2, own=0.02)).stragglers == ()


def test_the_highest_and_how_far_apart() -> None:
    some = strip(cell(0, peak=80), cell(1, peak=None), cell(2, peak=100), cell(3, peak=100))
    assert some.worst is not None
    assert (some.worst.rank, some.spread, some.spread_percent) == (2, 20, 20.0)
    none = strip(cell(0, peak=None), cell(1, peak=None))
    assert (none.worst, none.spread, none.spread_percent) == (None, None, None)
    assert strip(cell(0), cell(1, peak=None)).spread is None


def test_in_words() -> None:
    gone = cell(1, standing="lost", since=4.2, step=40, peak=50)
    assert ranks_text.lines(strip(cell(0, own=0.9), gone, cell(2), cell(3))) == [
        "4 ranks: highest 100 B of tensors on rank 0, spread 50 B (50.0 %)",
        "rank 0 took longer over a step than the others, which waited",
        "rank 1 was gone after 4.2 s, at step 40, without a last word",
    ]
    assert [ranks_text.named(range(count)) for count in (1, 2, 3, 6)] == [
        "rank 0",
        "ranks 0 and 1",
        "ranks 0, 1 and 2",
        "ranks 0, 1, 2 and 3 more",
    ]


def test_one_slow_step_says_nothing() -> None:
    ranks = both()
    times = {0: [0.1] * 9, 1: [0.1] * 4 + [0.5] + [0.1] * 4}
    for rank, seconds in times.items():
        for one in seconds:
            ranks.heard(step(rank, phases={"forward": one, "data": None}))
    found = ranks.strip()
    assert found is not None
    assert [one.own for one in found.cells] == [0.1, 0.1]
    for _ in range(5):
        ranks.heard(step(1, phases={"forward": 0.5, "data": 0.1}))
    found = ranks.strip()
    assert found is not None
    assert (found.cells[1].own, found.stragglers) == (0.6, (1,))


def oom(rank: int, *, fatal: bool, t: int = 4) -> wire.Event:
    data = OOM | {"device": "cuda:0", "fatal": fatal}
    return wire.Event(t_ns=t * START, pid=100 + rank, rank=rank, name="oom", message="", data=data)


def around() -> view.Around:
    return view.Around(manifest=None, settings={}, command=("train.py",))


def test_a_rank_that_is_not_shown_and_ran_out_of_memory_is_told() -> None:
    ranks = both()
    for message in (step(0), step(1), oom(1, fatal=True)):
        ranks.heard(message)
    shown = view.snapshot(ranks.shown, around(), 4.0, ranks.strip())
    assert shown.ranks is not None
    assert shown.ranks.shown == 0
    assert shown.banner is not None
    assert shown.banner.text.startswith("rank 1: out of memory on cuda:0 in step 6")
    ended = ranks.ended(5.0, 1)
    last = view.snapshot(ranks.shown, around(), 5.0, ranks.strip())
    assert last.banner is not None
    assert last.banner.text.startswith("rank 1: out of memory")
    assert any(line.startswith("rank 1: out of memory") for line in summary.lines(last, ended))


def test_a_failure_of_ones_own_that_was_caught_comes_after_anothers_that_was_not() -> None:
    ranks = both()
    for message in (step(0), step(1), oom(0, fatal=False), step(0, step=6), step(0, step=7)):
        ranks.heard(message)
    mine = ranks.shown.troubles.oom
    assert mine is not None
    assert (mine.rank, mine.caught) == (0, True)
    ranks.heard(oom(1, fatal=True, t=5))
    told = ranks.shown.troubles.oom
    assert told is not None
    assert (told.rank, told.caught) == (1, False)


def test_a_rank_that_dies_before_its_first_report_is_told() -> None:
    ranks = both()
    ranks.heard(step(0))
    ranks.left(101, 4.0)
    shown = view.snapshot(ranks.shown, around(), 5.0, ranks.strip())
    assert (shown.early, shown.ranks) == ((1,), None)
    assert shown.banner is not None
    assert shown.banner.text == "rank 1 is gone before its first step without a last word"
    assert "rank 1 gone before the first step, without a last word" in summary.lines(shown, None)
    ranks.heard(step(1, pid=102))  # its launcher has started another
    assert view.snapshot(ranks.shown, around(), 6.0, ranks.strip()).banner is None


def test_a_helper_that_leaves_is_no_rank_that_dies() -> None:
    ranks = both()
    ranks.heard(hello(55, 1))  # a loader's worker of rank 1
    ranks.left(55, 4.0)
    assert ranks.shown.early == {}
    alone = Ranks(START)
    alone.heard(hello(100, 0))
    alone.left(100, 4.0)
    assert alone.shown.early == {}
