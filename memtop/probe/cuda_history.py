"""The CUDA allocator's own record of one step: every block handed out and taken back, scratch inside operators too.

torch keeps it in C++ (`torch.cuda.memory._record_memory_history`), a ring for each device, for about 0.1 µs an entry:
without tracebacks it copies a few words under a lock that the allocator holds anyway. What the entries mean was read
off c10/cuda/CUDACachingAllocator.cpp, CachingDeviceAllocator.h and RingBuffer.h of torch 2.4 to 2.13:

- `alloc` and `free_requested` carry the block's address and the bytes asked for, before rounding. `free_completed` is
  the same block again when no other stream waits for it: at once, unless `record_stream` was used.
- `segment_alloc`, `segment_free`, `segment_map` and `segment_unmap` (expandable segments) are bytes taken from the
  driver and given back. `snapshot` is a mark without a block, one for each snapshot; `oom` carries no block either.
- `time_us` is the system's clock, whole microseconds, converted from the processor's tick counter.
- The ring is read oldest first; when it is full the oldest entries are gone. Ending the record empties it.
- Blocks of private pools (CUDA graphs, `MemPool`) are recorded like all others.

Taking the snapshot asks nothing of the device and waits for nothing on it. It holds each device's lock while it copies
that device's blocks and entries, and then builds a dict of ten or so keys for each: a few microseconds apiece, on the
training thread, once when the look begins (blocks alone) and once when it has ended. The allocator keeps no such record
under `cudaMallocAsync` and under a pluggable allocator, and raises where asked for one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from . import allocator

ENTRIES = 400_000
"""What the ring holds: steps of 130,000 blocks. About 150 bytes each while the step runs, as many as there are (60 MB
at the most), and about 700 more for as long as it takes to read them."""

UNSEEN = "scratch inside operators is not seen"
_TAIL = 1000
"""Entries at the end of the ring that are looked at for tracebacks. Ours takes none: where there are some, the person
has begun a history of their own while ours ran, and it is theirs to end."""
_NEEDED = ("_cuda_isHistoryEnabled", "_cuda_record_memory_history", "_cuda_memorySnapshot", "_cuda_memoryStats")


class Entry(NamedTuple):
    """One thing the allocator did."""

    action: str
    address: int
    bytes: int
    at: int
    """`time.monotonic_ns()`, nearly: to the microsecond and the error of converting two clocks."""


class Block(NamedTuple):
    """A piece of a segment, as it was when the record began."""

    address: int
    bytes: int
    requested: int
    """What was asked for; of a free block nothing that matters."""
    state: str
    """`active_allocated`, `inactive`, or else waited for by another stream."""


class Segment(NamedTuple):
    """Memory taken from the driver, as it was when the record began, its blocks in order."""

    small: bool
    """Whether blocks of 1 MiB and less are cut from it."""
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The record of one device: what there was, what was done, and where the moments of the step lie in it."""

    segments: list[Segment]
    entries: list[Entry]
    marks: dict[str, allocator.Mark] = field(default_factory=dict)
    """By moment; the one at the beginning is called `begin`."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The allocator's settings as torch names them."""


class History:
    """A record that is running."""

    def __init__(self, segments: dict[int, list[Segment]], settings: dict[str, Any], notes: set[str]) -> None:
        self._segments = segments
        self._settings = settings
        self._notes = notes
        self._marks: dict[int, dict[str, allocator.Mark]] = {}
        self._process = os.getpid()
        self._over = False

    @classmethod
    def begin(cls, devices: Iterable[int], notes: set[str]) -> History | None:
        """Begin to record; `devices` are those whose moments will be marked. `None` where that can't be: CUDA has not
        begun, a graph is being captured, the allocator keeps no record, or the person has theirs on, which is then
        left alone. Why goes into `notes`."""
        reason = _obstacle()
        if reason is not None:
            if reason:
                notes.add(f"{UNSEEN}: {reason}")
            return None
        _switch(True)
        try:
            taken = torch.cuda.memory._snapshot()
            made = cls(_segments(taken), dict(taken.get("allocator_settings") or {}), notes)
            made.mark("begin", devices)
        except Exception as error:  # Another torch tells it otherwise: the look goes on without.
            _switch(False)
            notes.add(f"{UNSEEN}: its memory history can't be read, {type(error).__name__}: {error}")
            return None
        return made

    def mark(self, moment: str, devices: Iterable[int]) -> None:
        """The step is at this moment: where in the record that is."""
        for device in devices:
            self._marks.setdefault(device, {})[moment] = allocator.mark(device)

    def end(self) -> dict[str, Recorded]:
        """End recording. By device's name, what was recorded; a device whose ring was too small is not among them."""
        if not self._running():
            return {}
        theirs, self._over = False, True
        try:
            ahead = time.time_ns() - time.monotonic_ns()
            traces = torch.cuda.memory._snapshot()["device_traces"]
            theirs = any(one.get("frames") for trace in traces for one in trace[-_TAIL:])
            if theirs:
                self._notes.add(f"{UNSEEN}: the program's own memory history came on")
                return {}
            read = ((index, self._read(index, trace, ahead)) for index, trace in enumerate(traces))
            return {f"cuda:{index}": recorded for index, recorded in read if recorded is not None}
        except Exception as error:
            self._notes.add(f"{UNSEEN}: its memory history can't be read, {type(error).__name__}: {error}")
            return {}
        finally:
            if not theirs:
                _switch(False)

    def drop(self) -> None:
        """End recording, whatever was recorded."""
        if self._running():
            self._over = True
            _switch(False)

    def _running(self) -> bool:
        """A forked child has no CUDA to speak to; and the person may have switched recording off."""
        return not self._over and self._process == os.getpid() and bool(torch._C._cuda_isHistoryEnabled())

    def _read(self, index: int, trace: list[dict[str, Any]], ahead: int) -> Recorded | None:
        if len(trace) >= ENTRIES:
            self._notes.add(f"{UNSEEN}: the step had more than {ENTRIES:,} allocator events")
            return None
        names = [one["action"] for one in trace]
        first = names.index("snapshot") + 1 if "snapshot" in names else 0
        entries = [
            Entry(one["action"], one.get("addr", 0), one["size"], one.get("time_us", 0) * 1000 - ahead)
            for one in trace[first:]
        ]
        segments, marks = self._segments.get(index, []), self._marks.get(index, {})
        return Recorded(segments=segments, entries=entries, marks=marks, settings=self._settings)


def _obstacle() -> str | None:
    """Why recording can't begin; empty where nothing needs to be said, `None` where it can."""
    if not torch.cuda.is_initialized():
        return ""
    if not all(hasattr(torch._C, name) for name in _NEEDED):
        return "this torch keeps no memory history"
    if torch.cuda.get_allocator_backend() != "native":
        return f"the allocator {torch.cuda.get_allocator_backend()} keeps no memory history"
    if torch.cuda.is_current_stream_capturing():
        return "a CUDA graph is being captured"
    if torch._C._cuda_isHistoryEnabled():
        return "the program's own memory history is on"
    return None


def _switch(on: bool) -> None:
    """`stacks="python"` where none are taken: the other choice warms up C++ unwinding. Ending empties the ring."""
    if on:
        torch.cuda.memory._record_memory_history("all", context=None, stacks="python", max_entries=ENTRIES)
    else:
        torch.cuda.memory._record_memory_history(None)


def _segments(taken: dict[str, Any]) -> dict[int, list[Segment]]:
    """The segments of a snapshot by device. Blocks lie one after another, whether or not each says where."""
    found: dict[int, list[Segment]] = {}
    for one in taken["segments"]:
        blocks, address = [], one["address"]
        for block in one["blocks"]:
            blocks.append(Block(address, block["size"], block.get("requested_size", 0), block["state"]))
            address += block["size"]
        found.setdefault(one["device"], []).append(Segment(one["segment_type"] == "small", tuple(blocks)))
    return found
