"""The process tree: who belongs to it, what it holds, and when PSS is read. Fake `/proc`, and real children."""

from __future__ import annotations

import mmap
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from memtop.collectors import tree
from memtop.collectors.files import Files
from memtop.collectors.tree import Parents, PssReader
from tests.unit.host_root import process, write

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def family(root: Path) -> Files:
    """init 1, the target 10 with children 11 and 12, grandchild 13 of 11, and a stranger 20 of init."""
    for pid, parent in ((1, 0), (10, 1), (11, 10), (12, 10), (13, 11), (20, 1)):
        write(root, process(pid, parent))
    return Files(root)


def test_the_tree_is_the_root_and_all_its_descendants(tmp_path: Path) -> None:
    parents = Parents(family(tmp_path))
    assert parents.tree(10) == {10, 11, 12, 13}
    assert parents.tree(11) == {11, 13}
    assert parents.tree(99) == frozenset()


def test_new_and_ended_processes_are_met_at_the_next_walk(tmp_path: Path) -> None:
    parents = Parents(family(tmp_path))
    parents.tree(10)
    shutil.rmtree(tmp_path / "proc/12")
    write(tmp_path, process(14, 13))
    assert parents.tree(10) == {10, 11, 13, 14}


def test_an_orphan_given_to_init_leaves_the_tree(tmp_path: Path) -> None:
    parents = Parents(family(tmp_path))
    parents.tree(10)
    shutil.rmtree(tmp_path / "proc/11")
    write(tmp_path, process(13, 1))
    assert parents.tree(10) == {10, 12}


def test_a_stranger_is_read_once_until_it_is_time_to_read_all_again(tmp_path: Path) -> None:
    clock = iter([0.0, 1.0, 29.0, 31.0])
    parents = Parents(family(tmp_path), clock=lambda: next(clock))
    parents.tree(10)
    write(tmp_path, process(20, 10))  # the pid was given to a child of ours, unseen
    assert 20 not in parents.tree(10)
    assert 20 not in parents.tree(10)
    assert 20 in parents.tree(10)


def test_a_process_that_vanishes_between_listing_and_reading_is_left_out(tmp_path: Path) -> None:
    files = family(tmp_path)
    (tmp_path / "proc/13/stat").unlink()
    assert Parents(files).tree(10) == {10, 11, 12}
    memory = tree.memory(files, frozenset({10, 999}))
    assert (memory.processes, memory.rss) == (1, 1000 * 1024)
    assert tree.pss(files, frozenset({10, 999})) == {10: 500 * 1024}


def test_memory_sums_and_counts_no_zombie(tmp_path: Path) -> None:
    write(tmp_path, process(10, 1, 3000, pin=5, lock=7) | process(11, 10, 100, pin=1) | process(12, 10, None))
    memory = tree.memory(Files(tmp_path), frozenset({10, 11, 12}))
    assert (memory.processes, memory.rss, memory.pinned) == (2, 3100 * 1024, 13 * 1024)


def test_a_tree_without_a_living_process_is_unknown_not_zero(tmp_path: Path) -> None:
    files = Files(write(tmp_path, process(12, 10, None)))
    memory = tree.memory(files, frozenset({12}))
    assert (memory.processes, memory.rss, memory.pinned) == (0, None, None)
    assert tree.pss(files, frozenset({12})) == {}


def test_a_kernel_without_smaps_rollup_says_so(tmp_path: Path) -> None:
    files = family(tmp_path)
    (tmp_path / "proc/11/smaps_rollup").unlink()
    with pytest.raises(FileNotFoundError, match=r"4\.14"):
        tree.pss(files, frozenset({10, 11}))


class Denying(Files):
    """Refuses `smaps_rollup`, as the kernel does of another user's process."""

    def load(self, path: str, limit: int = 1 << 20) -> str:
        if path.endswith("smaps_rollup"):
            raise PermissionError(13, "Permission denied")
        return super().load(path, limit)


def test_no_permission_is_a_reason_not_a_partial_sum(tmp_path: Path) -> None:
    family(tmp_path)
    reader = PssReader(Denying(tmp_path), 5.0)
    reader.update(0.0, 10, frozenset({10}), 1000)
    assert reader.value is None
    assert reader.reason is not None
    assert "permission" in reader.reason


class Ticking:
    """A clock whose readings cost `cost` seconds each."""

    def __init__(self, cost: float = 0.0) -> None:
        self.now, self.cost = 0.0, cost

    def __call__(self) -> float:
        self.now += self.cost
        return self.now


def read_at(reader: PssReader, times: list[tuple[float, int]], root: int = 10) -> list[float]:
    """When the reader really read, given (run seconds, RSS) of each sample."""
    read: list[float] = []
    for t, rss in times:
        before = reader.t
        reader.update(t, root, frozenset({10}), rss)
        if reader.t != before:
            assert reader.t == t
            read.append(t)
    return read


def test_pss_is_read_at_its_interval_while_the_tree_holds_still(tmp_path: Path) -> None:
    reader = PssReader(family(tmp_path), 5.0, clock=Ticking())
    assert read_at(reader, [(t, 1000) for t in range(12)]) == [0, 5, 10]


def test_pss_is_read_soon_when_rss_moves_but_not_more_than_once_a_second(tmp_path: Path) -> None:
    reader = PssReader(family(tmp_path), 5.0, clock=Ticking())
    times = [(0.0, 1000), (0.5, 2000), (1.0, 2000), (1.5, 2010), (3.0, 2030), (4.0, 2050)]
    assert read_at(reader, times) == [0.0, 1.0, 4.0]


def test_pss_that_is_dear_is_read_for_a_hundredth_of_the_time_at_most(tmp_path: Path) -> None:
    reader = PssReader(family(tmp_path), 5.0, clock=Ticking(cost=0.2))
    assert read_at(reader, [(float(t), 1000 * (1 + t)) for t in range(45)]) == [0.0, 20.0, 40.0]


def test_pss_is_read_at_once_for_another_root_and_when_time_starts_anew(tmp_path: Path) -> None:
    reader = PssReader(family(tmp_path), 5.0, clock=Ticking())
    assert read_at(reader, [(7.0, 1000)]) == [7.0]
    assert read_at(reader, [(7.5, 1000)], root=11) == [7.5]
    assert read_at(reader, [(0.1, 1000)], root=11) == [0.1]


@pytest.fixture
def sharing_child() -> Iterator[int]:
    """A forked child that shares 64 resident MiB with us, and ends when we say so."""
    shared = mmap.mmap(-1, 64 << 20)
    for page in range(0, len(shared), mmap.PAGESIZE):
        shared[page] = 1
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - the child
        try:
            sum(shared[page] for page in range(0, len(shared), mmap.PAGESIZE))
            os.write(ready[1], b"x")
            os.close(done[1])
            os.read(done[0], 1)
        finally:
            os._exit(0)
    assert os.read(ready[0], 1) == b"x"
    yield pid
    for fd in (*ready, *done):
        os.close(fd)
    os.waitpid(pid, 0)
    shared.close()


@linux
def test_pss_shares_out_what_rss_counts_twice(sharing_child: int) -> None:
    files, pids = Files(), Parents(Files()).tree(os.getpid())
    assert {os.getpid(), sharing_child} <= pids
    both = frozenset({os.getpid(), sharing_child})
    rss, pss = tree.memory(files, both).rss, tree.pss(files, both)
    assert rss is not None
    assert pss.keys() == both
    assert sum(pss.values()) <= rss - (60 << 20)
    for pid in both:
        own = files.text(f"proc/{pid}/smaps_rollup") or ""
        assert int(own.split("Pss:")[1].split()[0]) * 1024 == pytest.approx(
            tree.pss(files, frozenset({pid}))[pid], rel=0.05
        )
