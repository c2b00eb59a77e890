"""Limits of control groups: v1 and v2, nested, in containers, none."""

from __future__ import annotations

from pathlib import Path

import pytest

from memtop.collectors.cgroup import Cgroup, usable
from memtop.collectors.files import Files
from tests.unit.host_root import GIB, MOUNT_V1, MOUNT_V2, write

RAM = 64 * GIB
UNLIMITED_V1 = 9223372036854771712


def v2(root: Path, path: str = "/job/step", shown: str = "/", point: str = "/sys/fs/cgroup") -> Path:
    mounts = "22 1 0:20 / /proc rw - proc proc rw\n" + MOUNT_V2.format(shown=shown, point=point)
    return write(root, {"proc/self/cgroup": f"0::{path}\n", "proc/self/mountinfo": mounts})


def v1(root: Path, path: str, shown: str = "/", point: str = "/sys/fs/cgroup/memory") -> Path:
    mounts = MOUNT_V1.format(shown=shown, point=point, controllers="memory")
    mounts += MOUNT_V1.format(shown="/", point="/sys/fs/cgroup/cpu", controllers="cpu,cpuacct")
    mounts += MOUNT_V2.format(shown="/", point="/sys/fs/cgroup/unified")
    groups = f"4:memory:{path}\n1:cpu,cpuacct:/work\n0::/\n"
    return write(root, {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts})


def test_v2_counts_reclaimable_cache_as_free(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/job/step"
    stat = f"anon 1\ninactive_file {GIB}\nactive_file {2 * GIB}\nslab_reclaimable {GIB // 2}\nshmem {7 * GIB}\n"
    write(v2(tmp_path), {f"{group}/memory.max": 16 * GIB, f"{group}/memory.current": 10 * GIB})
    write(tmp_path, {f"{group}/memory.stat": stat})
    memory = Cgroup(Files(tmp_path)).memory(RAM)
    assert memory is not None
    assert (memory.limit, memory.used) == (16 * GIB, 10 * GIB)
    assert memory.free == 6 * GIB + GIB + 2 * GIB + GIB // 2


def test_the_smallest_limit_of_all_ancestors_holds(tmp_path: Path) -> None:
    base = "sys/fs/cgroup"
    write(v2(tmp_path), {f"{base}/job/step/memory.max": "max", f"{base}/job/step/memory.current": GIB})
    write(tmp_path, {f"{base}/job/memory.max": 8 * GIB, f"{base}/job/memory.current": 3 * GIB})
    memory = Cgroup(Files(tmp_path)).memory(RAM)
    assert memory is not None
    assert (memory.limit, memory.used, memory.free) == (8 * GIB, 3 * GIB, 5 * GIB)


def test_a_wider_group_that_is_nearly_full_leaves_less(tmp_path: Path) -> None:
    base = "sys/fs/cgroup"
    write(v2(tmp_path), {f"{base}/job/step/memory.max": 4 * GIB, f"{base}/job/step/memory.current": GIB})
    write(tmp_path, {f"{base}/job/memory.max": 32 * GIB, f"{base}/job/memory.current": 31 * GIB})
    memory = Cgroup(Files(tmp_path)).memory(RAM)
    assert memory is not None
    assert (memory.limit, memory.used, memory.free) == (4 * GIB, GIB, GIB)


def test_usage_above_the_limit_leaves_nothing_not_less(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/job/step"
    write(v2(tmp_path), {f"{group}/memory.max": GIB, f"{group}/memory.current": 2 * GIB})
    memory = Cgroup(Files(tmp_path)).memory(RAM)
    assert memory is not None
    assert memory.free == 0


def test_unknown_usage_is_unknown_not_zero(tmp_path: Path) -> None:
    write(v2(tmp_path), {"sys/fs/cgroup/job/step/memory.max": GIB})
    memory = Cgroup(Files(tmp_path)).memory(RAM)
    assert memory is not None
    assert (memory.limit, memory.used, memory.free) == (GIB, None, None)


@pytest.mark.parametrize("limit", ["max", RAM, 2 * RAM, "nonsense"])
def test_v2_without_a_limit_below_ram(tmp_path: Path, limit: str | int) -> None:
    write(v2(tmp_path), {"sys/fs/cgroup/job/step/memory.max": limit})
    assert Cgroup(Files(tmp_path)).memory(RAM) is None


def test_v1_takes_the_huge_number_for_no_limit(tmp_path: Path) -> None:
    write(v1(tmp_path, "/docker/abc"), {"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": UNLIMITED_V1})
    assert Cgroup(Files(tmp_path)).memory(1 << 63) is None


def test_v1_sums_the_groups_below_and_takes_only_what_it_says_of_caches(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory/docker/abc"
    stat = f"inactive_file 1\ntotal_inactive_file {GIB}\ntotal_active_file {GIB}\nslab_reclaimable {GIB}\n"
    stat += f"hierarchical_memory_limit {8 * GIB}\n"
    write(v1(tmp_path, "/docker/abc"), {f"{group}/memory.limit_in_bytes": 8 * GIB, f"{group}/memory.stat": stat})
    write(tmp_path, {f"{group}/memory.usage_in_bytes": 7 * GIB})
    memory = Cgroup(Files(tmp_path)).memory(RAM)
    assert memory is not None
    assert (memory.limit, memory.used, memory.free) == (8 * GIB, 7 * GIB, 3 * GIB)


def test_v1_tells_the_limit_of_an_ancestor_that_the_container_hides(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory"
    v1(tmp_path, "/docker/abc", shown="/docker/abc")
    write(tmp_path, {f"{group}/memory.limit_in_bytes": UNLIMITED_V1, f"{group}/memory.usage_in_bytes": GIB})
    write(tmp_path, {f"{group}/memory.stat": f"hierarchical_memory_limit {4 * GIB}\n"})
    memory = Cgroup(Files(tmp_path)).memory(RAM)
    assert memory is not None
    assert (memory.limit, memory.free) == (4 * GIB, 3 * GIB)


@pytest.mark.parametrize(
    ("path", "shown"),
    [("/", "/"), ("/docker/abc", "/docker/abc"), ("/host/only/path", "/"), ("/../../other", "/"), ("/a/b", "/c")],
)
def test_a_container_whose_paths_are_the_hosts_finds_its_mount(tmp_path: Path, path: str, shown: str) -> None:
    write(v2(tmp_path, path, shown), {"sys/fs/cgroup/memory.max": GIB, "sys/fs/cgroup/memory.current": 1})
    memory = Cgroup(Files(tmp_path)).memory(RAM)
    assert memory is not None
    assert memory.limit == GIB


def test_the_hidden_part_is_taken_off_a_deeper_path(tmp_path: Path) -> None:
    write(v2(tmp_path, "/pod/ctr/sub", "/pod/ctr"), {"sys/fs/cgroup/sub/memory.max": GIB})
    memory = Cgroup(Files(tmp_path)).memory(RAM)
    assert memory is not None
    assert memory.limit == GIB


def test_a_mount_point_with_a_space(tmp_path: Path) -> None:
    write(v2(tmp_path, "/", point="/my\\040groups"), {"my groups/memory.max": GIB})
    memory = Cgroup(Files(tmp_path)).memory(RAM)
    assert memory is not None
    assert memory.limit == GIB


def test_no_control_groups_at_all(tmp_path: Path) -> None:
    cgroup = Cgroup(Files(tmp_path))
    assert cgroup.memory(RAM) is None
    assert cgroup.cpus() is None


def test_garbage_is_no_control_group(tmp_path: Path) -> None:
    write(tmp_path, {"proc/self/cgroup": "\n::\n9", "proc/self/mountinfo": "x\n - \n1 2 3 - cgroup2\n"})
    assert Cgroup(Files(tmp_path)).memory(RAM) is None


def test_v2_quota_is_the_smallest_of_all_ancestors(tmp_path: Path) -> None:
    write(v2(tmp_path), {"sys/fs/cgroup/job/step/cpu.max": "max 100000", "sys/fs/cgroup/job/cpu.max": "250000 100000"})
    assert Cgroup(Files(tmp_path)).cpus() == 2.5


def test_v1_quota(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/cpu/work"
    write(v1(tmp_path, "/"), {f"{group}/cpu.cfs_quota_us": 150000, f"{group}/cpu.cfs_period_us": 100000})
    assert Cgroup(Files(tmp_path)).cpus() == 1.5


def test_v1_minus_one_is_no_quota(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/cpu/work"
    write(v1(tmp_path, "/"), {f"{group}/cpu.cfs_quota_us": -1, f"{group}/cpu.cfs_period_us": 100000})
    assert Cgroup(Files(tmp_path)).cpus() is None


@pytest.mark.parametrize(
    ("threads", "affinity", "quota", "answer"),
    [(8, 8, None, 8), (8, 4, None, 4), (8, 8, 2.5, 3), (8, None, 0.2, 1), (8, 2, 64.0, 2), (None, None, None, None)],
)
def test_usable_threads(threads: int | None, affinity: int | None, quota: float | None, answer: int | None) -> None:
    assert usable(threads, affinity, quota) == answer


def test_kills_are_counted_for_our_group_else_for_the_machine(tmp_path: Path) -> None:
    events = "low 0\nhigh 4\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n"
    write(v2(tmp_path), {"sys/fs/cgroup/job/step/memory.events": events, "proc/vmstat": "nr_free 1\noom_kill 7\n"})
    assert Cgroup(Files(tmp_path)).kills() == 2
    (tmp_path / "sys/fs/cgroup/job/step/memory.events").unlink()
    assert Cgroup(Files(tmp_path)).kills() == 7
    (tmp_path / "proc/vmstat").unlink()
    assert Cgroup(Files(tmp_path)).kills() is None


def test_v1_tells_kills_beside_its_switch(tmp_path: Path) -> None:
    told = {"sys/fs/cgroup/memory/job/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"}
    write(v1(tmp_path, "/job"), told)
    assert Cgroup(Files(tmp_path)).kills() == 5
