"""The host collector: every field of a sample, from a fake root and from this machine."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec
import pytest

from memtop.collectors.cgroup import CgroupMemory
from memtop.collectors.host import Host, host_spec, room
from memtop.model.records import DeviceRecord
from tests.unit.host_root import GIB, MEMINFO, MOUNT_V2, process, write

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
pytestmark = linux


def limited(root: Path, limit: int = 4 * GIB, used: int = 3 * GIB) -> Path:
    group = "sys/fs/cgroup"
    mounts = MOUNT_V2.format(shown="/", point="/sys/fs/cgroup")
    write(root, {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mounts})
    return write(root, {f"{group}/memory.max": limit, f"{group}/memory.current": used})


@pytest.mark.parametrize(
    ("limit", "answer"),
    [
        (None, (16, 8)),
        (CgroupMemory(limit=4, used=3, free=1), (4, 1)),
        (CgroupMemory(limit=12, used=1, free=11), (12, 8)),
        (CgroupMemory(limit=4, used=None, free=None), (4, 4)),
        (CgroupMemory(limit=12, used=None, free=None), (12, 8)),
    ],
)
def test_free_is_never_more_than_the_system_has_nor_than_the_limit(
    limit: CgroupMemory | None, answer: tuple[int, int]
) -> None:
    assert room(16, 8, limit) == answer


def test_a_sample_without_limit_and_without_target(tmp_path: Path) -> None:
    write(tmp_path, {"proc/meminfo": MEMINFO, "dev/shm/x": ""})
    record = Host(root=tmp_path).sample(1.5, None)
    assert (record.t, record.device, record.notes) == (1.5, "cpu", [])
    assert (record.memory_total, record.memory_used, record.memory_free) == (16 * GIB, 8 * GIB, 8 * GIB)
    assert (record.swap_used, record.swap_total) == (GIB // 2, 2 * GIB)
    assert (record.cgroup_limit, record.cgroup_used) == (None, None)
    assert (record.tree_rss, record.tree_pss, record.tree_pss_t, record.tree_processes) == (None,) * 4
    assert (record.utilization, record.per_core, record.temperature) == (None, None, None)
    assert record.shm_total is not None


def test_a_sample_under_a_limit(tmp_path: Path) -> None:
    write(limited(tmp_path), {"proc/meminfo": MEMINFO})
    record = Host(root=tmp_path).sample(0.0, None)
    assert (record.memory_total, record.memory_used, record.memory_free) == (4 * GIB, 3 * GIB, GIB)
    assert (record.cgroup_limit, record.cgroup_used) == (4 * GIB, 3 * GIB)


def test_a_sample_of_a_tree_carries_pss_with_its_time(tmp_path: Path) -> None:
    write(tmp_path, {"proc/meminfo": MEMINFO})
    write(tmp_path, process(10, 1, 4000, pin=8) | process(11, 10, 2000) | process(20, 1))
    host = Host(root=tmp_path)
    first, second = host.sample(3.0, 10), host.sample(4.0, 10)
    for record in (first, second):
        assert (record.tree_processes, record.tree_rss, record.pinned) == (2, 6000 * 1024, 8 * 1024)
        assert (record.tree_pss, record.tree_pss_t) == (3000 * 1024, 3.0)
    assert host.tree_pids(10) == {10, 11}


def test_a_tree_that_ended_is_unknown_and_its_pss_is_not_carried_on(tmp_path: Path) -> None:
    write(tmp_path, {"proc/meminfo": MEMINFO, **process(10, 1)})
    host = Host(root=tmp_path)
    assert host.sample(0.0, 10).tree_pss is not None
    write(tmp_path, process(10, 1, None))  # a zombie now
    record = host.sample(1.0, 10)
    assert (record.tree_processes, record.tree_rss, record.tree_pss, record.tree_pss_t) == (0, None, None, None)


def test_a_reason_is_told_once_a_run(tmp_path: Path) -> None:
    write(tmp_path, {"proc/meminfo": MEMINFO, **process(10, 1), **process(12, 1)})
    for pid in (10, 12):
        (tmp_path / f"proc/{pid}/smaps_rollup").unlink()
    host = Host(root=tmp_path, pss_interval=0.0)
    notes = [host.sample(t, pid).notes for t, pid in ((0.0, 10), (2.0, 10), (4.0, 12), (6.0, 12))]
    assert [len(lines) for lines in notes] == [1, 0, 1, 0]
    assert "smaps_rollup" in notes[0][0]


def test_nothing_raises_whatever_is_missing_or_garbage(tmp_path: Path) -> None:
    garbage = dict.fromkeys(("proc/stat", "proc/meminfo", "proc/10/stat", "proc/10/status"), "cpu0 a b c d e\n)(:")
    record = Host(root=write(tmp_path, garbage)).sample(0.0, 10)
    assert record.device == "cpu"
    assert Host(root=tmp_path / "nowhere").sample(0.0, 10).memory_total is not None


def test_this_machine() -> None:
    host = Host()
    assert host.sample(0.0, os.getpid()).utilization is None
    until = time.process_time() + 0.05
    while time.process_time() < until:  # some ticks of the kernel's clock, spent busily
        pass
    record = host.sample(1.0, os.getpid())
    assert record.memory_total is not None
    assert record.memory_used is not None
    assert record.memory_free is not None
    assert record.memory_total == record.memory_used + record.memory_free
    assert 0 < record.memory_free <= record.memory_total
    assert record.utilization is not None
    assert 0 < record.utilization <= 100
    assert record.per_core is not None
    assert all(0 <= share <= 100 for share in record.per_core)
    assert record.tree_rss is not None
    assert record.tree_pss is not None
    assert record.tree_processes is not None
    assert record.tree_processes >= 1
    assert os.getpid() in host.tree_pids(os.getpid())
    assert msgspec.json.decode(msgspec.json.encode(record), type=DeviceRecord) == record


def test_this_machines_facts() -> None:
    spec = host_spec()
    assert spec.ram > 0
    assert spec.threads is not None
    assert spec.usable_threads is not None
    assert 1 <= spec.usable_threads <= spec.threads
    assert spec.system.startswith("Linux ")


def test_facts_of_an_empty_root_are_unknown(tmp_path: Path) -> None:
    spec = host_spec(tmp_path)
    assert (spec.cpu_model, spec.sockets, spec.frequency_max_mhz, spec.cgroup_limit) == (None, None, None, None)
    assert (spec.caches, spec.features, spec.numa) == ({}, (), ())
    assert spec.ram > 0


def test_the_limit_is_among_the_facts(tmp_path: Path) -> None:
    write(limited(tmp_path), {"proc/meminfo": MEMINFO})
    spec = host_spec(tmp_path)
    assert (spec.ram, spec.swap, spec.cgroup_limit) == (16 * GIB, 2 * GIB, 4 * GIB)
