"""Limits that somebody has set on this process's own memory (`ulimit -v`, `ulimit -d`), and what is taken of each.

Both count what is mapped, touched or not: on the CPU they end a training long before the machine's memory does.
`RLIMIT_AS` counts every mapping. `RLIMIT_DATA` counts the private writable ones, those that `mmap` makes included
(Linux 4.7 and newer), which is where torch's CPU allocator gets its memory.
"""

from __future__ import annotations

import resource
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

SHARE = "memory fraction"
"""The limit that a person sets on torch's own reserve of a GPU."""
_KINDS = (("RLIMIT_AS", 0), ("RLIMIT_DATA", 5))
"""A limit, and which figure of `/proc/self/statm` the kernel holds against it. The second has the main thread's stack
in it, which the kernel leaves out: some hundred KiB too much."""


class Reading(NamedTuple):
    """One limit, bytes."""

    name: str
    bytes: int
    """The soft limit."""
    used: int


def read() -> list[Reading]:
    """Every limit that is set; one call each, and no file is opened where there is none."""
    limits = [(name, place, resource.getrlimit(getattr(resource, name))[0]) for name, place in _KINDS]
    held = [one for one in limits if one[2] != resource.RLIM_INFINITY]
    if not held:
        return []
    try:
        pages = Path("/proc/self/statm").read_text().split()
        size = resource.getpagesize()
        return [Reading(name, limit, int(pages[place]) * size) for name, place, limit in held]
    except (OSError, ValueError, IndexError):  # Not Linux, or no /proc.
        return []


def tightest() -> Reading | None:
    """The limit that leaves least; `None` where none is set."""
    return min(read(), key=lambda one: one.bytes - one.used, default=None)


def beside(readings: Iterable[Sequence[Reading]], tensors: Sequence[int]) -> list[dict[str, int | str]]:
    """What is mapped for other things than tensors, of several instants with the tensor bytes of each: the least.

    Where the C library's heap is fullest it keeps least of what was freed. Limits that changed in between are left out.
    """
    least: dict[tuple[str, int], int] = {}
    times: dict[tuple[str, int], int] = {}
    for found, held in zip(readings, tensors, strict=True):
        for one in found:
            key = (one.name, one.bytes)
            left = max(0, one.used - held)
            least[key] = min(least.get(key, left), left)
            times[key] = times.get(key, 0) + 1
    whole = len(tensors)
    return [
        {"name": name, "bytes": size, "beside": least[name, size]}
        for (name, size), count in times.items()
        if count == whole
    ]


def as_told(found: Reading | None) -> Mapping[str, int | str] | None:
    """For the wire."""
    return None if found is None else found._asdict()
