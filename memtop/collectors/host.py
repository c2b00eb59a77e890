"""The host seen from outside the target: its CPU, its RAM, its limits, and the target's process tree.

Linux is read from `/proc` and `/sys` directly: psutil is many times as slow where it lists processes. Elsewhere psutil
answers, and what it does not know is `None`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from memtop.collectors import cpu_facts, tree
from memtop.collectors.cgroup import Cgroup, CgroupMemory, usable
from memtop.collectors.cpu_load import Frequency, Load, Temperature, mean_of
from memtop.collectors.files import Files, kilobytes
from memtop.model.records import DeviceProcess, DeviceRecord
from memtop.model.specs import HostSpec

_LINUX: Final = sys.platform.startswith("linux")
_WALK_AGE: Final = 0.5
"""Seconds for which a walk of the process tree answers `tree_pids` again."""
NO_PARTS: Final[Mapping[int, str]] = {}


def _psutil() -> Any:
    """psutil, where Linux's own files do not answer: its import takes as long as a whole first sample."""
    import psutil

    return psutil


def host_spec(root: Path = Path("/")) -> HostSpec:
    """The host's facts. Starts no process; about 10 ms, most of it archspec's import. Unknown is `None`."""
    files = Files(root)
    facts, cpus, name = cpu_facts.cpuinfo(files), cpu_facts.online(files), os.uname()
    meminfo = files.text("proc/meminfo")
    ram, swap = _ram(meminfo), _swap(meminfo)[1]
    has, cgroup = cpu_facts.features(facts), Cgroup(files)
    limit = cgroup.memory(ram)
    threads = len(cpus) or _psutil().cpu_count()
    return HostSpec(
        hostname=name.nodename,
        system=f"{name.sysname} {name.release}",
        cpu_model=cpu_facts.model(facts),
        cpu_vendor=cpu_facts.vendor(facts),
        microarchitecture=cpu_facts.microarchitecture(has),
        sockets=cpu_facts.sockets(files, cpus),
        cores=cpu_facts.cores(files, cpus) or _psutil().cpu_count(logical=False),
        threads=threads,
        usable_threads=usable(threads, len(cpu_facts.affinity()) or None, cgroup.cpus()),
        frequency_max_mhz=cpu_facts.frequency_max(files),
        caches=cpu_facts.caches(files, cpus),
        features=has,
        ram=ram,
        swap=swap,
        cgroup_limit=limit.limit if limit else None,
        numa=cpu_facts.numa(files),
    )


def _ram(meminfo: str | None) -> int:
    """Bytes of RAM: `/proc/meminfo`, else psutil."""
    return (kilobytes(meminfo, "MemTotal") if meminfo else None) or int(_psutil().virtual_memory().total)


def _available(meminfo: str | None) -> int:
    """Bytes that the system calls available: `/proc/meminfo`, else psutil (old kernels, macOS)."""
    value = kilobytes(meminfo, "MemAvailable") if meminfo else None
    return value if value is not None else int(_psutil().virtual_memory().available)


def _swap(meminfo: str | None) -> tuple[int | None, int | None]:
    """(used, total) bytes of swap."""
    if meminfo is not None:
        total, free = kilobytes(meminfo, "SwapTotal"), kilobytes(meminfo, "SwapFree")
        return (total - free if total is not None and free is not None else None), total
    try:
        swap = _psutil().swap_memory()
    except (OSError, RuntimeError):
        return None, None
    return int(swap.used), int(swap.total)


def _shm(path: str) -> tuple[int | None, int | None]:
    """(used, total) bytes of `/dev/shm`."""
    try:
        stat = os.statvfs(path)
    except OSError:
        return None, None
    return (stat.f_blocks - stat.f_bfree) * stat.f_frsize, stat.f_blocks * stat.f_frsize


def room(ram: int, available: int, limit: CgroupMemory | None) -> tuple[int, int]:
    """(total, free) bytes: the limit and what is left of it where one holds, never more than the system has."""
    if limit is None:
        return ram, min(ram, available)
    free = available if limit.free is None else min(limit.free, available)
    return limit.limit, min(limit.limit, free)


class Host:
    """Samples the host and one process tree. Safe to call from several threads; nothing raises."""

    def __init__(self, pss_interval: float = 5.0, root: Path = Path("/")) -> None:
        """`pss_interval` is in seconds: how often PSS is read while the tree holds still."""
        self._files = Files(root)
        self._lock = threading.Lock()
        self._cpus = cpu_facts.affinity()
        self._load = Load(self._files)
        self._frequency = Frequency(self._files, self._cpus)
        self._temperature = Temperature(self._files)
        self._cgroup = Cgroup(self._files)
        self._parents = tree.Parents(self._files)
        self._pss = tree.PssReader(self._files, pss_interval)
        self._walk: tuple[int, float, frozenset[int]] | None = None
        self._root: int | None = None
        self._told: set[str] = set()

    def sample(self, t: float, root_pid: int | None, parts: Mapping[int, str] = NO_PARTS) -> DeviceRecord:
        """The host now, `t` in run seconds, with the tree of `root_pid`. Unknown is `None`, its reason in `notes` once.

        `parts` are processes of the tree (pid -> name) whose memory is told apart, each with its descendants.

        Costs under a millisecond for a small tree, and some milliseconds a gigabyte when PSS is due.
        """
        with self._lock:
            try:
                return self._sample(t, root_pid, parts)
            except Exception as error:  # a reading must never end the run that it watches
                return DeviceRecord(t=t, device="cpu", notes=self._once(f"the host could not be read: {error}"))

    def tree_pids(self, root_pid: int) -> frozenset[int]:
        """The living processes of the tree, its root included; the last walk's where that is fresh."""
        with self._lock:
            return self._pids(root_pid, _WALK_AGE)

    def _sample(self, t: float, root: int | None, parts: Mapping[int, str]) -> DeviceRecord:
        if root != self._root and root is not None:
            self._root, self._told = root, set()  # another run: its log must have the reasons too
        meminfo = self._files.text("proc/meminfo")
        ram = _ram(meminfo)
        limit = self._cgroup.memory(ram)
        total, free = room(ram, _available(meminfo), limit)
        shares = self._load.read() if _LINUX else _psutil_shares()
        swap_used, swap_total = _swap(meminfo)
        shm_used, shm_total = _shm(self._files.path("dev/shm"))
        held, notes = self._tree(t, root)
        return DeviceRecord(
            t=t,
            device="cpu",
            utilization=None if shares is None else mean_of(shares, self._cpus),
            per_core=None if shares is None else [share for _, share in sorted(shares.items())],
            memory_total=total,
            memory_used=total - free,
            memory_free=free,
            temperature=self._temperature.read(),
            clock_sm_mhz=self._frequency.read(),
            processes=self._processes(parts) if held and held.rss is not None else None,
            tree_rss=held.rss if held else None,
            tree_pss=self._pss.value if held and held.rss is not None else None,
            tree_pss_t=self._pss.t if held and held.rss is not None and self._pss.value is not None else None,
            tree_processes=held.processes if held else None,
            pinned=held.pinned if held else None,
            shm_used=shm_used,
            shm_total=shm_total,
            swap_used=swap_used,
            swap_total=swap_total,
            cgroup_limit=limit.limit if limit else None,
            cgroup_used=limit.used if limit else None,
            notes=notes,
        )

    def _processes(self, parts: Mapping[int, str]) -> list[DeviceProcess] | None:
        """The parts that live by the newest PSS reading, leaving out those that hold another part: launchers."""
        if not parts or not self._pss.by_process:
            return None
        below = {pid: self._parents.below(pid) for pid in parts}
        leaves = [pid for pid in parts if len(below[pid] & parts.keys()) == 1]
        found = [
            (pid, [self._pss.by_process[one] for one in below[pid] if one in self._pss.by_process]) for pid in leaves
        ]
        return [DeviceProcess(pid=pid, name=parts[pid], bytes=sum(held), ours=True) for pid, held in found if held]

    def _tree(self, t: float, root: int | None) -> tuple[tree.TreeMemory | None, list[str]]:
        """The tree's memory and why some of it is unknown."""
        if root is None:
            return None, []
        if not _LINUX:
            return _psutil_tree(root), self._once("tree_pss: shared pages are told apart on Linux only")
        pids = self._pids(root, 0.05)
        held = tree.memory(self._files, pids)
        if held.rss is None:
            return held, []
        self._pss.update(t, root, pids, held.rss)
        return held, self._once(f"tree_pss: {self._pss.reason}") if self._pss.reason else []

    def _pids(self, root: int, age: float) -> frozenset[int]:
        now = time.monotonic()
        if self._walk is None or self._walk[0] != root or now - self._walk[1] > age:
            pids = self._parents.tree(root) if _LINUX else _psutil_pids(root)
            self._walk = (root, now, pids)
        return self._walk[2]

    def _once(self, note: str) -> list[str]:
        if note in self._told:
            return []
        self._told.add(note)
        return [note]


def _psutil_shares() -> dict[int, float] | None:
    """Busy shares outside Linux; psutil keeps the reading before. All zeros is its answer to the first call."""
    shares = _psutil().cpu_percent(percpu=True)
    return dict(enumerate(shares)) if any(shares) else None


def _psutil_pids(root: int) -> frozenset[int]:
    try:
        process = _psutil().Process(root)
        return frozenset({root, *(child.pid for child in process.children(recursive=True))})
    except _psutil().Error:
        return frozenset()


def _psutil_tree(root: int) -> tree.TreeMemory:
    living: list[int] = []
    for pid in _psutil_pids(root):
        try:
            living.append(int(_psutil().Process(pid).memory_info().rss))
        except _psutil().Error:
            continue
    return tree.TreeMemory(processes=len(living), rss=sum(living) if living else None, pinned=None)
