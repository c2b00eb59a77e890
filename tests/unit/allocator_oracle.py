"""The CPU allocator's own record of a step, through torch's profiler: what a deep look is held against.

Allocations of the caching-free CPU allocator, scratch inside operators included. Frees of blocks that were there before
are not told, so what the step began with has to be added by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def allocations(step: Callable[[], Any]) -> list[tuple[int, int, int]]:
    """(time in ns, address, bytes; below 0 where freed) of one call of `step`, in order."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as taken:
        kept = step()
    del kept
    assert taken.profiler is not None
    results = taken.profiler.kineto_results
    assert results is not None
    found = [
        (one.start_time_ns, one.extra_fields.ptr, one.extra_fields.alloc_size)
        for one in _walk(results.experimental_event_tree())
        if one.tag == torch._C._profiler._EventType.Allocation
    ]
    return sorted(found, key=lambda one: one[0])


def highest(step: Callable[[], Any]) -> int:
    """The most bytes that storages and scratch born in the step took at once."""
    known: dict[int, int] = {}
    now = best = 0
    for _, address, size in allocations(step):
        if size > 0:
            known[address] = size
            now += size
        elif address in known:
            now -= known.pop(address)
        best = max(best, now)
    return best


def _walk(events: list[Any]) -> Iterator[Any]:
    stack = list(events)
    while stack:
        event = stack.pop()
        yield event
        stack += event.children
