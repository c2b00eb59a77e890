"""Blocks and storages brought together, by hand; operators without Python above them; records of real devices."""

from __future__ import annotations

import _thread
import threading
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from memtop.probe.allocator import Mark  # noqa: E402
from memtop.probe.attribution import ACTIVATIONS, CATEGORIES  # noqa: E402
from memtop.probe.births import BACKWARD, FORWARD, HELD, Birth, Moment  # noqa: E402
from memtop.probe.cuda_history import Block, Entry, Recorded, Segment  # noqa: E402
from memtop.probe.look import Look  # noqa: E402
from memtop.probe.replay_cuda import course_from_history  # noqa: E402
from tests.unit.recorded_trace import DATA, play  # noqa: E402


def matched(
    blocks: list[tuple[int, int, int]], claims: list[tuple[int, int, int]], early: int = 0
) -> tuple[list[int], list[str]]:
    """At one address: blocks (size, taken at, freed at, 0 for never), storages (size, noticed at, phase). Bytes at the
    end by storage, and the categories of what no storage has, in order."""
    free = Block(4096, 512, early, "active_pending_free" if early else "inactive")
    entries = [Entry("free_completed", 4096, early, 1)] if early else []
    for size, taken, freed in blocks:
        entries.append(Entry("alloc", 4096, size, taken))
        entries += [Entry(name, 4096, size, freed) for name in ("free_requested", "free_completed") if freed]
    recorded = Recorded(segments=[Segment(True, (free,))], entries=entries)
    changes = sum(entry.action in ("alloc", "free_requested") for entry in entries)
    live = sum(size for size, _, freed in blocks if not freed)
    recorded.marks.update(begin=Mark(0, early, 0), step_end=Mark(changes, live, 0))
    births = [Birth(size, "cuda:0", (), None, None, -1, 0, -1, phase, at) for size, at, phase in claims]
    events = [Moment("step_end", 1000)]
    look = SimpleNamespace(births=births, addresses=dict.fromkeys(range(len(births)), 4096), moves=[], sums={})
    look.events, look.began = events, 1
    ranks = [ACTIVATIONS] * len(births)
    made = course_from_history(look, ranks, "cuda:0", recorded, set())  # type: ignore[arg-type]
    taken = {number for number, size, _ in made.steps if size}
    return [look.births[one].bytes * (one in taken) for one in range(len(claims))], [
        CATEGORIES[rank] for rank in ranks[len(claims) :]
    ]


def test_a_block_of_another_size_is_not_a_storages() -> None:
    """The clocks of the two are not one: a block that seems taken before a storage was noticed may be a later one."""
    assert matched([(100, 10, 20), (200, 21, 25)], [(100, 22, FORWARD)]) == ([100], ["temporaries"])
    assert matched([(100, 10, 20), (200, 21, 25)], [(100, 22, FORWARD), (200, 24, FORWARD)]) == ([100, 200], [])


def test_a_second_storage_of_the_same_memory_has_no_block_of_its_own() -> None:
    assert matched([(100, 10, 12), (100, 20, 0)], [(100, 25, FORWARD), (100, 26, FORWARD)]) == (
        [100, 0],
        ["temporaries"],
    )


def test_what_another_stream_waits_for_is_nobodys_block() -> None:
    """A storage that was thought to be older was made in this step, where such a block had been."""
    assert matched([(100, 10, 0)], [(100, 1, HELD)], early=300) == ([100], [])


@pytest.mark.parametrize("phase", [FORWARD, BACKWARD])
def test_an_operator_on_a_thread_without_python_is_seen(phase: int) -> None:
    """Backward of a GPU runs on a thread of autograd's own, where nothing of Python stands above an operator."""
    look, done = Look(), threading.Event()
    look.phase = phase

    class Types(list[Any]):
        """Gone when the call is."""

    for operator in (torch.ops.aten.add.Tensor, torch.ops.aten.var_mean.default):
        types = Types()
        done.clear()
        weakref.finalize(types, done.set)
        arguments = (torch.ones(3), torch.ones(3)) if operator is torch.ops.aten.add.Tensor else (torch.ones(3), False)
        _thread.start_new_thread(look._mode.__torch_dispatch__, (operator, types, arguments))
        del types
        assert done.wait(30)
    assert look.broken is None
    assert [birth.operator for birth in look.births if birth.operator is not None] == [
        torch.ops.aten.add.Tensor,
        torch.ops.aten.var_mean.default,
        torch.ops.aten.var_mean.default,
    ]


@pytest.mark.parametrize("path", sorted(DATA.glob("*.json.gz")), ids=lambda path: path.stem)
def test_records_of_torchs_own_allocator(path: Path) -> None:
    play(path)


def test_there_are_such_records() -> None:
    assert {path.name.split("_")[0] for path in DATA.glob("*.json.gz")} >= {"cnn", "sequences"}
