"""Blocks of memory side by side, and the free ones of a pool in the order in which the allocator looks at them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator


class Block:
    """A piece of a segment. `size`, `requested` and `address` are bytes."""

    __slots__ = ("address", "after", "before", "born", "mapped", "requested", "size", "small", "used")

    def __init__(self, address: int, size: int, small: bool, mapped: bool = True) -> None:
        self.address, self.size, self.small = address, size, small
        self.used = False
        self.mapped = mapped
        """Whether memory stands behind it: always, but in expandable segments."""
        self.requested = 0
        self.born = 0
        """How often its pool had been searched when it became free: what old means to garbage collection."""
        self.before: Block | None = None
        self.after: Block | None = None

    @property
    def whole(self) -> bool:
        """Whether it is all of its segment."""
        return self.before is None and self.after is None

    def row(self) -> Iterator[Block]:
        """This block and those behind it."""
        block: Block | None = self
        while block is not None:
            yield block
            block = block.after

    def cut(self, size: int) -> Block:
        """Shorten it to `size`; what is left over comes behind it."""
        rest = Block(self.address + size, self.size - size, self.small, self.mapped)
        rest.before, rest.after, self.size = self, self.after, size
        if rest.after is not None:
            rest.after.before = rest
        self.after = rest
        return rest

    def swallow_next(self) -> None:
        """Become one with the block behind it."""
        gone = self.after
        assert gone is not None
        self.size += gone.size
        self.after = gone.after
        if gone.after is not None:
            gone.after.before = self


class Pool:
    """The free blocks of one pool: by size, then by address. The first that is large enough is the best fit."""

    def __init__(self, small: bool) -> None:
        self.small = small
        self.searched = 0
        self._order: list[tuple[int, int]] = []
        self._at: dict[int, Block] = {}

    def __iter__(self) -> Iterator[Block]:
        return iter([self._at[address] for _, address in self._order])

    def __len__(self) -> int:
        return len(self._order)

    def add(self, block: Block) -> None:
        """A block is free."""
        block.born = self.searched
        insort(self._order, (block.size, block.address))
        self._at[block.address] = block

    def remove(self, block: Block) -> None:
        """It is no longer free, or goes away."""
        del self._order[bisect_left(self._order, (block.size, block.address))]
        del self._at[block.address]

    def from_size(self, size: int) -> Iterator[Block]:
        """Those of `size` and more, the smallest first."""
        for index in range(bisect_left(self._order, (size, -1)), len(self._order)):
            yield self._at[self._order[index][1]]

    @property
    def largest(self) -> int:
        """Bytes of the largest one; 0 where there is none."""
        return self._order[-1][0] if self._order else 0
