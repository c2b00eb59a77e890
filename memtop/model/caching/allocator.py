"""The allocator: best fit in two pools, blocks split and merged, segments taken, kept, and given back when short."""

from __future__ import annotations

import msgspec

from memtop.model.caching import sizes
from memtop.model.caching.blocks import Block, Pool
from memtop.model.caching.config import AllocatorConfig
from memtop.model.caching.expandable import Expandable
from memtop.model.caching.sizes import SMALL, UNIT

_BASE = 1 << 40
"""Where the first segment lies. Each one comes behind those before it, as fresh `cudaMalloc`s mostly do."""


class Shortage(msgspec.Struct, frozen=True, kw_only=True):
    """A request that could not be met, and how things stood after all that could be released had been. Bytes."""

    requested: int
    """What was asked for."""
    segment: int
    """What the driver was asked for to meet it."""
    allocated: int
    reserved: int
    limit: int
    largest_free: int
    """The largest cached block that a request of this kind may be given."""

    @property
    def unusable(self) -> int:
        """Reserved, used by nobody, and of no use for this request."""
        return self.reserved - self.allocated


class OutOfMemory(Exception):
    """`CachingAllocator.malloc` can't go on."""

    def __init__(self, shortage: Shortage) -> None:
        super().__init__(
            f"{shortage.requested:,} bytes do not fit: {shortage.reserved:,} of {shortage.limit:,} are reserved"
        )
        self.shortage = shortage


class CachingAllocator:
    """One device's allocator. The counters are those of `torch.cuda.memory_stats`, in bytes, without streams:
    `active` would be `allocated`."""

    def __init__(
        self,
        config: AllocatorConfig | None = None,
        limit: int | None = None,
        capped: bool = False,
        total: int | None = None,
    ) -> None:
        """`limit`: bytes that it may reserve at most, `None` for no limit. `capped`: the limit was set by
        `set_per_process_memory_fraction` and is not what the driver has: garbage is collected only then. `total`: bytes
        of the device; expandable segments are as large as it is."""
        self.config = config or AllocatorConfig()
        self.limit, self.total, self._capped = limit, total, capped
        self.requested = self.allocated = self.reserved = 0
        self.peak_allocated = self.peak_reserved = 0
        self.segments = 0
        """Calls of the driver for memory: `num_device_alloc`."""
        self.retries = 0
        """Requests that were met, or failed, only after the cache had been given back: `num_alloc_retries`."""
        self._pools = {small: Pool(small) for small in (True, False)}
        self._next = _BASE
        self._expandable = {small: Expandable(pool, self) for small, pool in self._pools.items()}
        self._heads: dict[int, Block] = {}
        """The first block of each segment that is not expandable, by its address."""

    # -- what a program does -----------------------------------------------------------------------------------------

    def malloc(self, requested: int) -> Block:
        """A block for `requested` bytes. Raises `OutOfMemory`; nothing is handed out then, though the cache was
        given back."""
        size = sizes.block(requested, self.config)
        pool = self._pools[size <= SMALL]
        block = self._find(pool, size) or self._grow(pool, size, requested)
        if self._splits(block, size):
            pool.add(block.cut(size))
        block.used, block.requested = True, requested
        self.requested += requested
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        return block

    def free(self, block: Block) -> None:
        """Give a block back. It becomes one with the free blocks on both sides."""
        assert block.used, "a block is freed once"
        self.requested -= block.requested
        self.allocated -= block.size
        block.used, block.requested = False, 0
        self.add(block)

    def empty_cache(self) -> None:
        """Segments, or pages, without a used block go back to the driver."""
        for small in (False, True):
            for block in self._pools[small]:
                if block.address in self._heads and block.whole:
                    self._release(block)
            self._expandable[small].release()

    def reset_peaks(self) -> None:
        """The peaks are what is held now."""
        self.peak_allocated, self.peak_reserved = self.allocated, self.reserved

    @property
    def cached(self) -> int:
        """Bytes reserved for no tensor."""
        return self.reserved - self.allocated

    def tiles(self) -> list[list[Block]]:
        """The blocks of each segment, in the order of their addresses; expandable segments with their unmapped ends."""
        heads = [*self._heads.values(), *(head for one in self._expandable.values() for head in one.heads)]
        return [list(head.row()) for head in heads]

    # -- what its parts share ----------------------------------------------------------------------------------------

    def fits(self, more: int) -> bool:
        """Whether the driver would still give so many bytes."""
        return self.limit is None or self.reserved + more <= self.limit

    def maps(self, more: int) -> bool:
        """Whether the driver would put memory behind so many bytes of pages. torch holds only the size of a segment
        against a cap, before it maps whole pages: they may lie above it."""
        return self._capped or self.fits(more)

    def took(self, more: int) -> None:
        """The driver gave memory; negative: it was given back."""
        self.reserved += more
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        self.segments += more > 0

    def place(self, size: int) -> int:
        """Addresses that nothing lies at."""
        begins, self._next = self._next, self._next + size
        return begins

    def add(self, block: Block) -> Block:
        """A block is free, one with its free neighbours. Returns what became of it."""
        pool, before, after = self._pools[block.small], block.before, block.after
        if after is not None and not after.used and after.mapped:
            pool.remove(after)
            block.swallow_next()
        if before is not None and not before.used and before.mapped:
            pool.remove(before)
            before.swallow_next()
            block = before
        pool.add(block)
        return block

    # -- finding and taking ------------------------------------------------------------------------------------------

    def _find(self, pool: Pool, size: int) -> Block | None:
        """The best fit among the free blocks."""
        pool.searched += 1
        candidates = pool.from_size(size)
        block = next(candidates, None)
        if block is None:
            return None
        if self.config.expandable:
            for larger in candidates:  # A block at the growing end counts as what it could grow to.
                if _reach(larger) >= _reach(block):
                    break
                block = larger
        limit = self.config.max_split
        if limit is not None and size < limit <= block.size:
            return None
        if limit is not None and size >= limit and block.size >= size + self.config.max_rounding:
            return None
        pool.remove(block)
        return block

    def _splits(self, block: Block, size: int) -> bool:
        rest = block.size - size
        if block.small or self.config.expandable:
            return rest >= UNIT
        limit = self.config.max_split
        return rest > SMALL and (limit is None or size < limit)

    def _grow(self, pool: Pool, size: int, requested: int) -> Block:
        """Memory from the driver; where it has none, after giving back what is cached."""
        self._collect()
        block = self._take(pool, size)
        if block is None and self._release_enough(pool, size):
            block = self._take(pool, size)
        if block is None:
            self.empty_cache()
            self.retries += 1
            block = self._take(pool, size)
        if block is None:
            segment = sizes.segment(size, self.config)
            told = {"allocated": self.allocated, "reserved": self.reserved, "limit": self.limit or 0}
            raise OutOfMemory(Shortage(requested=requested, segment=segment, largest_free=pool.largest, **told))
        return block

    def _take(self, pool: Pool, size: int) -> Block | None:
        """A new segment, or more pages of the expandable one. The block is not among the free ones."""
        segment = sizes.segment(size, self.config)
        if self.config.expandable:
            if self._capped and not self.fits(segment):
                return None
            return self._expandable[pool.small].take(size)
        if not self.fits(segment):
            return None
        self.took(segment)
        block = Block(self.place(segment), segment, pool.small)
        self._heads[block.address] = block
        return block

    # -- giving back -------------------------------------------------------------------------------------------------

    def _release(self, block: Block) -> None:
        """A whole free segment goes back to the driver."""
        self._pools[block.small].remove(block)
        del self._heads[block.address]
        self.took(-block.size)

    def _release_enough(self, pool: Pool, size: int) -> bool:
        """With a limit for splitting: give back blocks that can't be split, no more than are needed. Whether they do.

        A block of that size is always all of its segment, but in expandable ones, which are released as a whole."""
        limit = self.config.max_split
        if limit is None or self.config.expandable:
            return False
        wanted = max(size, limit)
        enough = next(pool.from_size(wanted), None)
        if enough is not None and enough.whole:
            self._release(enough)
            return True
        released = 0
        for block in reversed([one for one in pool.from_size(limit) if one.whole]):
            if released >= wanted:
                break
            released += block.size
            self._release(block)
        return released >= wanted

    def _collect(self) -> None:
        """Garbage collection, under a cap only: free segments that were not used for longer than others are."""
        if not (self._capped and self.limit and self.config.collect_above):
            return
        excess = self.reserved - int(self.config.collect_above * self.limit)
        pool = self._pools[False]
        idle = [block for block in pool if block.whole and block.address in self._heads]
        while excess > 0 and idle:
            threshold = sum(pool.searched - block.born for block in idle) / len(idle)
            old = [block for block in idle if pool.searched - block.born >= threshold]
            for block in old:
                excess -= block.size
                self._release(block)
            idle = [block for block in idle if block not in old]


def _reach(block: Block) -> int:
    """What a block could grow to: with the pages behind it that no memory stands behind yet."""
    return block.size + (block.after.size if block.after is not None and not block.after.mapped else 0)
