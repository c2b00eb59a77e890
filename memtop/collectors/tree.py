"""The target's process tree: who belongs to it, and what memory it holds.

`/proc/PID/task/*/children` exists only in some kernels and wants one file a thread; the parents of all processes are
the cheaper source, as a process's parent needs to be read only when it is new.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec

from memtop.collectors.files import Files, kilobytes

_REREAD: Final = 30.0
"""Seconds after which every parent is read again: a pid may have been given to another process between two walks."""


class TreeMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of the living processes of a tree, bytes. Source: `/proc/PID/status`."""

    processes: int
    rss: int | None
    """Summed VmRSS; `None` where no process of the tree lives."""
    pinned: int | None
    """Summed VmPin + VmLck."""


class Parents:
    """The parent of every process, read once for each."""

    def __init__(self, files: Files, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._clock = clock
        self._parents: dict[int, int] = {}
        self._members: frozenset[int] = frozenset()
        self._read_at = -_REREAD

    def tree(self, root: int) -> frozenset[int]:
        """`root` and its descendants that are there now; empty where `root` is gone."""
        alive = {int(name) for name in self._files.names("proc") if name.isdecimal()}
        self._refresh(alive)
        if root not in alive:
            self._members = frozenset()
            return self._members
        self._members = self.below(root)
        return self._members

    def below(self, root: int) -> frozenset[int]:
        """`root` and its descendants as of the newest walk; empty where `root` was not there."""
        members = {root} & self._parents.keys()
        grown = set(members)
        while grown:
            grown = {pid for pid, parent in self._parents.items() if parent in members and pid not in members}
            members |= grown
        return frozenset(members)

    def _refresh(self, alive: set[int]) -> None:
        """Read the parents of new processes, and those of the tree's own again."""
        now = self._clock()
        if now - self._read_at >= _REREAD:
            self._parents, self._read_at = {}, now
        for pid in self._parents.keys() - alive:
            del self._parents[pid]
        for pid in (alive - self._parents.keys()) | (alive & self._members):
            parent = self._parent(pid)
            if parent is not None:
                self._parents[pid] = parent
            else:
                self._parents.pop(pid, None)

    def _parent(self, pid: int) -> int | None:
        text = self._files.text(f"proc/{pid}/stat", 4096)
        # The name stands in parentheses and may itself hold parentheses and spaces.
        fields = text.rpartition(")")[2].split() if text else []
        return int(fields[1]) if len(fields) > 1 and fields[1].isdecimal() else None


def memory(files: Files, pids: frozenset[int]) -> TreeMemory:
    """RSS and pinned memory; a process that vanished or is a zombie holds nothing and is not counted."""
    rss = pinned = living = 0
    for pid in pids:
        text = files.text(f"proc/{pid}/status", 1 << 14)
        resident = kilobytes(text, "VmRSS") if text else None
        if not text or resident is None:
            continue
        living += 1
        rss += resident
        pinned += (kilobytes(text, "VmPin") or 0) + (kilobytes(text, "VmLck") or 0)
    return TreeMemory(processes=living, rss=rss if living else None, pinned=pinned if living else None)


def pss(files: Files, pids: frozenset[int]) -> dict[int, int]:
    """PSS of those that live, bytes. Raises `PermissionError` or `FileNotFoundError` with its reason.

    Source: `/proc/PID/smaps_rollup`. Costs a walk of the page tables: milliseconds a gigabyte resident.
    """
    found: dict[int, int] = {}
    for pid in pids:
        try:
            value = kilobytes(files.load(f"proc/{pid}/smaps_rollup", 1 << 14), "Pss")
        except PermissionError:
            raise PermissionError("no permission to read /proc/PID/smaps_rollup of every process") from None
        except FileNotFoundError:
            if files.exists(f"proc/{pid}/status"):
                raise FileNotFoundError("this kernel has no /proc/PID/smaps_rollup (Linux 4.14 has)") from None
            continue
        except OSError:  # ESRCH: it ended while we read
            continue
        if value is not None:
            found[pid] = value
    return found


class PssReader:
    """PSS at a low rate: soon when the tree moves, seldom when it does not, and never more than a hundredth of time."""

    def __init__(self, files: Files, interval: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._files = files
        self._interval = interval
        self._clock = clock
        self._root: int | None = None
        self._rss: int | None = None
        self._cost = 0.0
        self.value: int | None = None
        """Bytes at the last reading."""
        self.by_process: dict[int, int] = {}
        """The same by pid."""
        self.t: float | None = None
        """When that was, run seconds."""
        self.reason: str | None = None
        """Why the last reading has no value."""

    def update(self, t: float, root: int, pids: frozenset[int], rss: int | None) -> None:
        """Read again where due; `rss` is the tree's now."""
        if root != self._root:
            self._root, self.value, self.t, self._rss, self._cost = root, None, None, None, 0.0
            self.by_process = {}
        if not self._due(t, rss):
            return
        began = self._clock()
        try:
            self.by_process, self.reason = pss(self._files, pids), None
        except (PermissionError, FileNotFoundError) as error:
            self.by_process, self.reason = {}, str(error)
        self.value = sum(self.by_process.values()) if self.by_process else None
        # The walk holds the target's memory map for reading: it must not do so all the time.
        self._cost = self._clock() - began
        self.t, self._rss = t, rss

    def _due(self, t: float, rss: int | None) -> bool:
        if self.t is None or t < self.t:
            return True
        age, rest = t - self.t, 100 * self._cost
        moved = rss is not None and self._rss is not None and abs(rss - self._rss) > 0.02 * self._rss
        return age >= max(1.0 if moved else self._interval, rest)
