"""How large the blocks are that the CUDA allocator handed out: its record says what was asked for, not what was given.

A block begins where a free piece began: that piece is known, for the record starts from a snapshot of all of them, and
what happened to them since is in the record. Which free piece to take was the allocator's choice and need not be
guessed. The rules are those of `round_size`, `should_split` and `try_merge_blocks` in c10/cuda/CUDACachingAllocator.cpp
(torch 2.4 to 2.13). Where settings change them (`roundup_power2_divisions`, a pool that never splits), the sums don't
meet the allocator's counters, and whoever asks must see that they do.
"""

from __future__ import annotations

from .cuda_history import Entry, Recorded

_UNIT = 512
"""Sizes are rounded up to it, and a small remainder must have it to be split off."""
_LARGE_REMAINDER = 1024**2
"""What a large block must have left over, and more, for the rest to be split off."""
_SMALL_SEGMENT = 2 * 1024**2
"""Segments of this size hold small blocks; those for large ones are larger."""


class Pieces:
    """The free pieces of one device by address, as they come and go."""

    def __init__(self, recorded: Recorded) -> None:
        limit = recorded.settings.get("max_split_size", -1)
        self._limit: int | None = limit if limit >= 0 else None
        """Blocks of this size and more are never split; `None` where there is no such limit."""
        self._expandable = bool(recorded.settings.get("expandable_segments"))
        self._free: dict[int, tuple[int, bool]] = {}
        """Size, and whether it is for small blocks, by address."""
        self._ends: dict[int, int] = {}
        """Address of a free piece by its end."""
        self._starts: set[int] = set()
        """Where segments begin: pieces are never merged across."""
        self._used: dict[int, tuple[int, bool]] = {}
        for segment in recorded.segments:
            self._starts.add(segment.blocks[0].address)
            for block in segment.blocks:
                if block.state == "inactive":
                    self._put(block.address, block.bytes, segment.small)
                else:
                    self._used[block.address] = block.bytes, segment.small

    def done(self, entry: Entry) -> int | None:
        """What an entry did. Of `alloc` the block's size; `None` of others, and where it can't be known."""
        action, address, size = entry[:3]
        if action == "alloc":
            return self._take(address, -(-max(size, 1) // _UNIT) * _UNIT)
        if action == "free_completed" and address in self._used:
            self._put(address, *self._used.pop(address))
        elif action == "segment_alloc":
            self._starts.add(address)
            self._put(address, size, size <= _SMALL_SEGMENT)
        elif action == "segment_map":
            self._put(address, size, False)
        elif action in ("segment_free", "segment_unmap"):
            self._starts.discard(address)
            self._cut(address, size)
        return None

    def _take(self, address: int, size: int) -> int | None:
        """A block of `size` at the beginning of a free piece; all of it where the rest is not worth splitting off."""
        if address not in self._free:
            return None
        whole, small = self._free.pop(address)
        del self._ends[address + whole]
        if self._splits(whole - size, size, small):
            self._put(address + size, whole - size, small)
            whole = size
        self._used[address] = whole, small
        return whole

    def _splits(self, rest: int, size: int, small: bool) -> bool:
        if small or self._expandable:
            return rest >= _UNIT
        return rest > _LARGE_REMAINDER and (self._limit is None or size < self._limit)

    def _put(self, address: int, size: int, small: bool) -> None:
        """A piece is free: one with the free pieces before and behind it in its segment."""
        end = address + size
        if address not in self._starts and address in self._ends:
            start = self._ends.pop(address)
            size += self._free.pop(start)[0]
            address = start
        if end not in self._starts and end in self._free:
            more, _ = self._free.pop(end)
            end += more
            size += more
        self._free[address] = size, small
        self._ends[end] = address

    def _cut(self, address: int, size: int) -> None:
        """Memory goes back to the driver: out of a free piece, whose ends may stay."""
        for start, (whole, small) in self._free.items():
            if start <= address and address + size <= start + whole:
                del self._free[start], self._ends[start + whole]
                if start < address:
                    self._put(start, address - start, small)
                if address + size < start + whole:
                    self._put(address + size, start + whole - address - size, small)
                return
