"""The storages of a step, played several times through an allocator: each step takes up what the last one left."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from math import prod

from memtop.model.caching import CachingAllocator, Shortage
from memtop.model.caching.blocks import Block
from memtop.model.on_cuda import CONVOLVE, MULTIPLY
from memtop.model.reductions import scratch
from memtop.model.step_events import StepEvents

_FROM_THE_START = ("parameters", "buffers", "other_tensors")
"""What is there before the first step begins."""

_SEMAPHORES = 512
"""Bytes of what blocks that sum together wait at: a few each, in a block of the smallest size."""


@dataclass
class Played:
    """What the allocator had at most. Bytes."""

    allocated: int = 0
    reserved: int = 0
    by_step: list[int] = field(default_factory=list)
    """Peak of what was reserved, a step; the last one may have failed."""
    retries: int = 0
    failed: Shortage | None = None
    number: int | None = None
    """The storage that there was no room for; `None` for one of before the step, or a workspace."""


class Player:
    """One step, again and again."""

    def __init__(self, events: StepEvents, allocator: CachingAllocator, workspace: int, scratch: bool) -> None:
        """`workspace`: bytes that cuBLAS takes in each thread, at its first product. `scratch`: convolutions take twice
        what they make while they run, for copies of what they read and write in another layout."""
        self._events, self._allocator = events, allocator
        self._workspace, self._scratch = workspace, scratch
        self._live: dict[int, Block] = {}
        self._deaths = events.deaths()
        self._multiplied: set[bool] = set()
        """Whether in backward: autograd has a thread of its own there."""
        self.played = Played()

    def step(self) -> None:
        """Play it once more. Raises `OutOfMemory`."""
        first = not self.played.by_step
        self.played.by_step.append(0)
        self._allocator.peak_reserved = self._allocator.reserved
        waiting = self._begin_first() if first else self._take_up()
        for index, (number, size) in enumerate(self._events.changes):
            self._come(waiting.pop(index, []))
            self._change(number, size)
        for numbers in waiting.values():
            self._come(numbers)
        self._settle()

    def done(self) -> Played:
        """What it came to."""
        self._settle()
        self.played.allocated, self.played.retries = self._allocator.peak_allocated, self._allocator.retries
        self.played.reserved = max(self.played.by_step)
        return self.played

    def _settle(self) -> None:
        self.played.by_step[-1] = self._allocator.peak_reserved

    def _begin_first(self) -> dict[int, list[int]]:
        """What is there before the first step; by place in it, what comes in its course and is held afterwards."""
        waiting: dict[int, list[int]] = defaultdict(list)
        moments = self._events.moments
        for number in self._events.held:
            category = self._events.category(number)
            if category == "optimizer_state":
                waiting[moments.get("backward_end", 0)].append(number)
            elif category == "gradients" and number not in self._deaths:
                waiting[moments.get("forward_end", 0)].append(number)
            elif category in _FROM_THE_START or number not in self._deaths:
                self._come([number])
        return waiting

    def _take_up(self) -> dict[int, list[int]]:
        """What the last step left is what this one holds: the same storage, or one as large of the same category."""
        births, category = self._events.births, self._events.category
        left, live = self._live, {}
        alike: dict[tuple[str, int], list[int]] = defaultdict(list)
        for number in [one for one in self._events.held if one in left]:
            live[number] = left.pop(number)
        for number, block in left.items():
            alike[category(number), block.requested].append(number)
        missing = []
        for number in self._events.held:
            if number in live:
                continue
            found = alike[category(number), births[number].bytes]
            if found:
                live[number] = left.pop(found.pop(0))
            else:
                missing.append(number)
        for block in left.values():
            self._allocator.free(block)
        self._live = live
        self._come(missing)
        return {}

    def _come(self, numbers: list[int]) -> None:
        """Storages of before the step, as far as it knows."""
        for number in numbers:
            self._change(number, self._events.births[number].bytes)

    def _change(self, number: int, size: int) -> None:
        """A storage is born, resized, or dies."""
        old = self._live.get(number)
        if size:
            self.played.number = number
            if old is None:
                self._before(number, size)
            self._live[number] = self._allocator.malloc(size)
            if old is None:
                self._after(number)
        else:
            self._live.pop(number, None)
        if old is not None:
            self._allocator.free(old)

    def _before(self, number: int, size: int) -> None:
        """What its operator needs besides."""
        phase = self._events.phase(number)
        if phase == "held":
            return
        operator = self._events.operator(number)
        backward = phase in ("backward", "recompute")
        if self._workspace and operator in MULTIPLY and backward not in self._multiplied:
            self._multiplied.add(backward)
            self._allocator.malloc(self._workspace)
        if self._scratch and operator in CONVOLVE:
            self._allocator.free(self._allocator.malloc(2 * size))

    def _after(self, number: int) -> None:
        """What its operator takes once its result has a place. The sum that is the gradient of a bias runs over all
        rows of the newest tensor that is as wide."""
        events = self._events
        if events.played or events.phase(number) != "backward" or events.operator(number) != "aten.sum":
            return
        shape = events.births[number].shape
        columns = prod(shape)
        if not shape or shape[-1] != columns:
            return
        for other in reversed(self._live):
            summed = events.births[other].shape
            if other != number and len(summed) > 1 and summed[-1] == columns and prod(summed) > columns:
                if more := scratch(prod(summed) // columns, columns):
                    taken = [self._allocator.malloc(each) for each in (more, _SEMAPHORES)]
                    for block in taken:
                        self._allocator.free(block)
                return
