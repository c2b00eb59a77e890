"""Expandable segments: ranges of addresses of a pool, which memory is put behind page by page.

Pages are 2 MiB for small blocks and `large_segment_size_mb` for large ones (driver API, so no smaller piece can be
given back). A request that no free block meets gets pages at the lowest address where free and unmapped blocks in a row
are large enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memtop.model.caching import sizes
from memtop.model.caching.blocks import Block, Pool

if TYPE_CHECKING:
    from memtop.model.caching.allocator import CachingAllocator

_ROOM = 1 << 44
"""Addresses of a segment where the device's memory is not known: one is always enough then."""


class Expandable:
    """The expandable segments of one pool: mostly one, another where no row of free blocks and holes has room."""

    def __init__(self, pool: Pool, allocator: CachingAllocator) -> None:
        self._pool, self._allocator = pool, allocator
        self.heads: list[Block] = []
        """The first block of each, by address."""

    def take(self, size: int) -> Block | None:
        """A free block of at least `size`, taken out of the pool; `None` where the driver has no more memory. Pages
        that were mapped on the way stay, as torch has it."""
        block = self._candidate(size)
        if not block.mapped:
            mapped = self._map(block, min(block.size, size))
            if mapped is None:
                return None
            block = mapped
        while block.size < size:
            behind = block.after
            if behind is None:  # More than the whole device was asked for.
                return None
            mapped = self._map(behind, min(behind.size, size - block.size))
            if mapped is None:
                return None
            block = mapped
        self._pool.remove(block)
        return block

    def release(self) -> None:
        """Give back the whole pages inside free blocks."""
        page = sizes.page(self._pool.small, self._allocator.config)
        for head in self.heads:
            for block in list(head.row()):
                if block.used or not block.mapped:
                    continue
                offset = block.address - head.address
                begins, ends = sizes.up(offset, page), (offset + block.size) // page * page
                if begins < ends:
                    self._unmap(block, block.address + begins - offset, ends - begins)
        self.heads = [head for head in self.heads if head.mapped or not head.whole]

    def _candidate(self, size: int) -> Block:
        """Where to begin: the lowest free or unmapped block with enough room behind it."""
        for block in (one for head in self.heads for one in head.row()):
            if block.mapped:
                continue
            before = block.before
            first = before if before is not None and not before.used else block
            if _room(first, size):
                return first
        return self._segment()

    def _segment(self) -> Block:
        """A fresh range of addresses: 9/8 of the device's memory, in whole pages."""
        page, total = sizes.page(self._pool.small, self._allocator.config), self._allocator.total
        room = _ROOM if total is None else sizes.up(total + total // 8, page)
        head = Block(self._allocator.place(room), room, self._pool.small, mapped=False)
        self.heads.append(head)
        return head

    def _map(self, block: Block, size: int) -> Block | None:
        """Put memory behind the first pages of an unmapped block. What is free then, with its neighbours."""
        more = min(sizes.up(size, sizes.page(self._pool.small, self._allocator.config)), block.size)
        if not self._allocator.maps(more):
            return None
        self._allocator.took(more)
        if more < block.size:
            block.cut(more)
        block.mapped = True
        return self._allocator.add(block)

    def _unmap(self, block: Block, begins: int, size: int) -> None:
        """Give the `size` bytes of pages from an address on back; what the free block has besides stays free."""
        self._pool.remove(block)
        if block.address < begins:
            rest = block.cut(begins - block.address)
            self._pool.add(block)
            block = rest
        if size < block.size:
            self._pool.add(block.cut(size))
        self._allocator.took(-size)
        block.mapped = False
        if block.after is not None and not block.after.mapped:
            block.swallow_next()
        if block.before is not None and not block.before.mapped:
            block.before.swallow_next()


def _room(block: Block, size: int) -> bool:
    """Whether the blocks from this one on, none of them used, are large enough together."""
    found = 0
    for one in block.row():
        if one.used:
            return False
        found += one.size
        if found >= size:
            return True
    return False
