"""The CUDA allocator's record as the lives of its blocks, held against the allocator's counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .cuda_blocks import Pieces
from .cuda_history import Recorded

TAKEN, FREED, DONE, RESERVED = range(4)
"""A block is taken; is freed; is waited for by nobody; bytes come from the driver or go back to it."""
_RESERVE = {"segment_alloc": 1, "segment_map": 1, "segment_free": -1, "segment_unmap": -1}


class Mismatch(Exception):
    """The record contradicts itself, or the counters."""


@dataclass(slots=True)
class Life:
    """A block, from when it is taken until it is free again."""

    address: int
    bytes: int
    """What was asked for."""
    block: int | None
    """What was given; `None` where it can't be known."""
    at: int
    """When it was taken; 0 where that was before the record began."""
    held: bool = False
    """Whether it was taken before the record began."""
    early: bool = False
    """Whether it was freed before that, too, and another stream still waited for it."""
    freed: bool = False
    birth: int = -1
    """The storage that has it."""


class Event(NamedTuple):
    """One entry of the record, and the block that it is about."""

    kind: int
    life: Life | None
    at: int
    bytes: int = 0
    """Of `RESERVED`: what was added."""


def events(recorded: Recorded) -> tuple[list[Life], list[Event]]:
    """The blocks, those of before first, and what was done with them. Times do not fall."""
    pieces = Pieces(recorded)
    lives = _held(recorded)
    there = {life.address: life for life in lives}
    done, at = [], 0
    for entry in recorded.entries:
        size, at = pieces.done(entry), max(at, entry.at)
        if entry.action == "alloc":
            life = there[entry.address] = Life(entry.address, entry.bytes, size, at)
            lives.append(life)
            done.append(Event(TAKEN, life, at))
        elif entry.action == "free_requested":
            done.append(Event(FREED, _freed(there.get(entry.address)), at))
        elif entry.action == "free_completed":
            done.append(Event(DONE, _completed(there.pop(entry.address, None)), at))
        elif entry.action in _RESERVE:
            done.append(Event(RESERVED, None, at, entry.bytes * _RESERVE[entry.action]))
    return lives, done


def _held(recorded: Recorded) -> list[Life]:
    lives = []
    for segment in recorded.segments:
        for one in segment.blocks:
            if one.state != "inactive":
                early = one.state != "active_allocated"
                lives.append(Life(one.address, one.requested, one.bytes, 0, held=True, early=early, freed=early))
    return lives


def _freed(life: Life | None) -> Life:
    if life is None or life.freed:
        raise Mismatch("it frees a block that was not taken")
    life.freed = True
    return life


def _completed(life: Life | None) -> Life:
    if life is None or not life.freed:
        raise Mismatch("it completes the free of a block that was not freed")
    return life


class Sums:
    """The allocator's counters as they run, in bytes, from where the record began."""

    def __init__(self, lives: list[Life], recorded: Recorded) -> None:
        held = [life for life in lives if life.held]
        self.live = sum(life.bytes for life in held if not life.early)
        """What was asked for, of blocks in use."""
        self.waiting = sum(life.bytes for life in held if life.early)
        """What was asked for, of freed blocks that another stream waits for."""
        self.allocated = sum(life.block or 0 for life in held if not life.early)
        self.active = sum(life.block or 0 for life in held)
        self.reserved = sum(block.bytes for segment in recorded.segments for block in segment.blocks)

    def add(self, event: Event) -> None:
        """What an entry does to them."""
        self.reserved += event.bytes
        if event.life is None:
            return
        size, block = event.life.bytes, event.life.block or 0
        if event.kind == TAKEN:
            self.live, self.allocated, self.active = self.live + size, self.allocated + block, self.active + block
        elif event.kind == FREED:
            self.live, self.waiting, self.allocated = self.live - size, self.waiting + size, self.allocated - block
        else:
            self.waiting, self.active = self.waiting - size, self.active - block


class Places(NamedTuple):
    """What holding the record against the counters has shown."""

    counts: dict[str, int]
    """How many blocks had been taken and freed, by moment."""
    blocks: bool
    """Whether the sizes of the blocks meet the counters, too."""


def checked(lives: list[Life], done: list[Event], recorded: Recorded) -> Places:
    """Where the moments lie in the record. Raises `Mismatch` where its sums are not the counters' at each of them.

    A counter was read after so many blocks taken and freed; what else was done before the next such change may lie
    before the reading or after it.
    """
    begun = recorded.marks.get("begin")
    if begun is None:
        raise Mismatch("the counters were not read")
    counts = {name: one.changes - begun.changes for name, one in recorded.marks.items() if name != "begin"}
    wanted = {count: recorded.marks[name] for name, count in counts.items()} | {0: begun}
    requested, allocated = set(), set()
    sums, count = Sums(lives, recorded), 0
    for event in [*done, None]:
        mark = wanted.get(count)
        if mark is not None and sums.live + sums.waiting == mark.requested:
            requested.add(count)
        if mark is not None and sums.allocated == mark.allocated:
            allocated.add(count)
        if event is not None:
            sums.add(event)
            count += event.kind in (TAKEN, FREED)
    if requested != set(wanted):
        raise Mismatch("it differs from the counters")
    return Places(counts, allocated == set(wanted) and all(life.block is not None for life in lives))
