"""The limits of this process's control group: memory and CPU time, cgroup v2 and v1, all ancestors.

A limit may stand anywhere between the process's own group and the top of what is mounted, so every group on the way
is asked and the smallest limit holds. Inside a container the path in `/proc/self/cgroup` may be the host's while the
mount shows only our part of the tree, or start with `/..` where the namespace's root lies deeper: the mount's own root
is taken off the path, and where nothing fits the mount point itself is our group.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from memtop.collectors.files import Files, integer

_NO_LIMIT: Final = 1 << 60
"""cgroup v1 has no word for "no limit": it writes the largest page-aligned 63-bit number, which depends on the page."""


class CgroupMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What a memory limit leaves. Bytes."""

    limit: int
    """The smallest limit of all ancestors."""
    used: int | None
    """Usage of the group that has it, page cache included."""
    free: int | None
    """What may still be allocated: the least, over all limited groups, of limit minus usage plus reclaimable cache."""


class _Group(msgspec.Struct, frozen=True):
    """One directory of a hierarchy."""

    path: str
    version: int


def _unescape(text: str) -> str:
    """mountinfo writes space, tab, newline and backslash in octal."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _membership(files: Files, controller: str) -> tuple[int, str] | None:
    """(version, path) of our group in the hierarchy that has `controller`."""
    unified: tuple[int, str] | None = None
    for line in (files.text("proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            return 1, path
        if number == "0" and not controllers:
            unified = 2, path
    return unified


def _mount(files: Files, version: int, controller: str) -> tuple[str, str] | None:
    """(mount point, the part of the hierarchy that it shows)."""
    for line in (files.text("proc/self/mountinfo") or "").splitlines():
        before, separator, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if not separator or len(fields) < 5 or len(rest) < 3:
            continue
        wanted = rest[0] == "cgroup2" if version == 2 else rest[0] == "cgroup" and controller in rest[2].split(",")
        if wanted:
            return _unescape(fields[4]), _unescape(fields[3])
    return None


def groups(files: Files, controller: str) -> list[_Group]:
    """Our group and its visible ancestors, ours first; empty where there is no such controller."""
    member = _membership(files, controller)
    mount = _mount(files, member[0], controller) if member else None
    if member is None or mount is None:
        return []
    version, path = member
    point, shown = mount
    if shown != "/" and (path == shown or path.startswith(shown + "/")):
        path = path[len(shown) :]
    parts = [part for part in path.split("/") if part]
    if ".." in parts or not files.exists("/".join([point, *parts])):
        parts = []
    return [_Group("/".join([point, *parts[:depth]]), version) for depth in range(len(parts), -1, -1)]


class Cgroup:
    """The control groups of this process. The path is found once, the numbers are read at each call."""

    def __init__(self, files: Files | None = None) -> None:
        self._files = files or Files()
        self._memory = groups(self._files, "memory")
        self._cpu = groups(self._files, "cpu")

    def memory(self, ram: int) -> CgroupMemory | None:
        """The limit that holds and what is left of it; `None` where none is below `ram` bytes."""
        held = [(limit, group) for group in self._memory if (limit := self._limit(group)) is not None and limit < ram]
        if not held:
            return None
        limit, tightest = min(held, key=lambda pair: pair[0])
        frees = [self._free(limit, group) for limit, group in held]
        known = [free for free in frees if free is not None]
        return CgroupMemory(limit=limit, used=self._usage(tightest), free=min(known) if known else None)

    def kills(self) -> int | None:
        """Processes of our group that the kernel's out-of-memory killer has ended so far, whichever limit was hit.

        Where there is no such count, those of the whole machine; `None` where neither is told.
        """
        for group in self._memory[:1]:
            name = "memory.events" if group.version == 2 else "memory.oom_control"
            if (count := _pair(self._files.text(f"{group.path}/{name}"), "oom_kill")) is not None:
                return count
        return _pair(self._files.text("proc/vmstat"), "oom_kill")

    def cpus(self) -> float | None:
        """CPUs' worth of time that the quota allows, the smallest of all ancestors; `None` where none is set."""
        quotas = [quota for group in self._cpu if (quota := self._quota(group)) is not None]
        return min(quotas) if quotas else None

    def _limit(self, group: _Group) -> int | None:
        if group.version == 2:
            return integer(self._files.word(f"{group.path}/memory.max"))  # the word `max` is no limit
        own = self._files.number(f"{group.path}/memory.limit_in_bytes")
        # v1 also tells the limit of ancestors that a container does not show.
        inherited = self._stat(group).get("hierarchical_memory_limit") if group is self._memory[0] else None
        limits = [limit for limit in (own, inherited) if limit is not None and limit < _NO_LIMIT]
        return min(limits) if limits else None

    def _usage(self, group: _Group) -> int | None:
        name = "memory.current" if group.version == 2 else "memory.usage_in_bytes"
        return self._files.number(f"{group.path}/{name}")

    def _free(self, limit: int, group: _Group) -> int | None:
        usage = self._usage(group)
        if usage is None:
            return None
        return min(limit, max(0, limit - usage + self._reclaimable(group)))

    def _reclaimable(self, group: _Group) -> int:
        """Usage that the kernel takes back before it kills anybody.

        Both lists of file pages are reclaimed before the group is out of memory; shmem and locked pages are on
        neither, rightly. v2 charges kernel memory to the group and says how much of its slab can go; v1 does not say,
        so there nothing is assumed. Its figures without `total_` leave out the groups below.
        """
        stat = self._stat(group)
        names = ("total_inactive_file", "total_active_file")
        if group.version == 2:
            names = ("inactive_file", "active_file", "slab_reclaimable")  # type: ignore[assignment]
        return sum(stat.get(name, 0) for name in names)

    def _stat(self, group: _Group) -> dict[str, int]:
        pairs = (line.split() for line in (self._files.text(f"{group.path}/memory.stat") or "").splitlines())
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}

    def _quota(self, group: _Group) -> float | None:
        if group.version == 2:
            quota, _, period = (self._files.word(f"{group.path}/cpu.max") or "max").partition(" ")
        else:
            quota = self._files.word(f"{group.path}/cpu.cfs_quota_us") or "-1"
            period = self._files.word(f"{group.path}/cpu.cfs_period_us") or "100000"
        allowed, each = integer(quota), integer(period)
        return allowed / each if allowed is not None and allowed > 0 and each else None


def _pair(text: str | None, name: str) -> int | None:
    """The number that stands after `name` on a line of its own."""
    pairs = (line.split() for line in (text or "").splitlines())
    return next((integer(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == name), None)


def usable(threads: int | None, affinity: int | None, quota: float | None) -> int | None:
    """Logical CPUs that may be used at once: the fewest of those there are, the affinity, the quota rounded up."""
    known = [count for count in (threads, affinity, None if quota is None else math.ceil(quota)) if count]
    return min(known) if known else None
