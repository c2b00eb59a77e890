"""A limit on a process's own memory (`ulimit -v`, `ulimit -d`, a share of a GPU): how much of it tensors can have, and
which batch fits.

A limit by `ulimit` counts addresses, and not all that tensors gave back can be had again. glibc maps blocks of 32 MiB
and more one by one, and returns them; smaller ones lie in a heap, in which a freed block often does not serve a request
for as many bytes (torch asks for aligned ones), and which keeps up to 64 MiB at its top. Where convolutions,
perceptrons and stacks of small layers ran out under `RLIMIT_AS`, the heap had 0.5 to 1.2 times as many bytes beside as
its tensors had (and which batches fitted was not even in order: 380 failed where 420 passed). So twice as much as its
tensors need is allowed for it, to the end of the step: the answer is an estimate on the safe side. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final

import msgspec

from memtop.model.forecast import LARGEST, Affine, peak_at
from memtop.model.units import size

DEVICE: Final = "device"
"""The name of the limit where none on the process holds: what the device itself has."""
SHARE: Final = "memory fraction"
"""The name of the limit on what torch may reserve of a GPU."""
PIECES: Final = 10
"""Of a GPU's memory one part in so many is left to what torch's allocator keeps in pieces that no request fits: tensors
filled 90 to 96 % of caps of 256 MiB to 24 GiB when the first request failed."""
MAPPED: Final = 32 << 20
"""Bytes from which on a block is mapped by itself: glibc's `DEFAULT_MMAP_THRESHOLD_MAX` on 64 bits."""
TOP: Final = 64 << 20
"""Bytes that glibc leaves at the top of the heap: twice that."""

Blocks = Sequence[tuple[int, int]]
"""Of storages that grow with the batch, where they are most: bytes of one and of all of about its size."""


class ProcessLimit(msgspec.Struct, frozen=True, kw_only=True):
    """One limit, bytes."""

    name: str
    """`RLIMIT_AS`, `RLIMIT_DATA` or `SHARE`."""
    bytes: int
    beside: int
    """What is mapped of it for other things than tensors."""

    @property
    def left(self) -> int:
        """What tensors and the holes between them can have."""
        return max(0, self.bytes - self.beside)


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What a limit on the process comes to: an estimate."""

    limit: ProcessLimit
    kept: int
    """Bytes that are allowed for the C library's heap at the answer; of a GPU for the allocator's pieces."""
    max_batch: int | None
    """The largest batch below which all fit; 0 where not even one sample does; `None` where nothing grows."""

    @property
    def bytes(self) -> int:
        """What tensors can have."""
        return max(0, self.limit.left - self.kept)

    def words(self) -> str:
        """What the limit is and what is taken off it."""
        one = self.limit
        if one.name == SHARE:
            return (
                f"the limit is the share of the GPU that the training lets torch reserve: {size(one.bytes)} less "
                f"{size(self.kept)} for what its allocator keeps in pieces, an estimate"
            )
        return (
            f"the limit is {one.name}, set on the process: {size(one.bytes)} less {size(one.beside)} that are mapped "
            f"beside tensors and {size(self.kept)} that the C library may keep of what is freed, an estimate"
        )


def room(limit: ProcessLimit, lines: Sequence[Affine], error: float, blocks: Blocks, batch: int) -> Room:
    """What a limit leaves for tensors, by a look at `batch` samples. `error` is a share of the peak."""
    margin = 1 + Fraction(error).limit_denominator(10**9)

    def fits(at: int) -> bool:
        return int(peak_at(lines, at) * margin) + kept(limit, lines, blocks, batch, at) <= limit.left

    most = _last(fits, sorted({(MAPPED * batch - 1) // one for one, _ in blocks if one}))
    at = batch if most >= LARGEST else max(1, most)
    return Room(limit=limit, kept=kept(limit, lines, blocks, batch, at), max_batch=None if most >= LARGEST else most)


def kept(limit: ProcessLimit, lines: Sequence[Affine], blocks: Blocks, batch: int, at: int) -> int:
    """What is allowed for the heap at a batch size, beside the peak.

    The heap grows to twice its blocks, where those are most, and stays so: in a phase in which they are gone all of it
    is beside the tensors. What lies at its top comes on top of that. A GPU's memory is none of the C library's.
    """
    if limit.name == SHARE:
        return limit.left // PIECES
    heap = sum(whole * at // batch for one, whole in blocks if one * at < MAPPED * batch)
    whole = sum(one for _, one in blocks) * at // batch
    highest = max((line.at(at) + 2 * heap - _inside(line, at, heap, whole) for line in lines), default=2 * heap)
    return max(0, highest - peak_at(lines, at)) + min(TOP, limit.left // 8)


def _inside(line: Affine, at: int, heap: int, whole: int) -> int:
    """Bytes of a phase's tensors that lie in the heap, where `heap` of `whole` do that grow."""
    return min(heap, line.bytes_per_sample * at * heap // whole) if whole else 0


def _last(fits: Callable[[int], bool], edges: Sequence[int]) -> int:
    """The largest batch below which all fit. Between two edges, where blocks leave the heap, the need only rises."""
    low = 0
    for edge in (*edges, LARGEST):
        if edge <= low:
            continue
        if fits(edge):
            low = edge
            continue
        high = edge
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low
    return low


def tightest(rooms: Sequence[Room], device: int | None, device_batch: int | None) -> Room | None:
    """The limit on the process that decides; `None` where the device's own `device` bytes (not known: `None`), with the
    batch that fits there, are less."""
    found = min(rooms, key=lambda one: (one.max_batch is None, one.max_batch or 0, one.bytes), default=None)
    if found is None or device is None or found.max_batch == device_batch:
        return found if found is not None and (device is None or found.bytes <= device) else None
    if found.max_batch is None:
        return None
    return found if device_batch is None or found.max_batch < device_batch else None
