"""Whatever is asked of the model, its blocks tile their segments and its counters add up; the tests' own stand-in for
the allocator, written apart from it, gives the same blocks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the stand-in is a device for torch's tensors")

from memtop.model.caching import AllocatorConfig, CachingAllocator, OutOfMemory, parse
from memtop.model.caching.blocks import Block
from memtop.model.caching.config import MIB
from tests.unit.cuda_allocator import Native

SIZES = st.one_of(
    st.integers(0, 5000),
    st.integers(MIB - 2000, MIB + 2000),
    st.integers(MIB, 30 * MIB),
    st.sampled_from([MIB, 2 * MIB, 10 * MIB, 10 * MIB - 1, 20 * MIB, 20 * MIB + 1, 40 * MIB]),
)
COURSE = st.lists(st.one_of(SIZES, st.integers(-30, -1)), max_size=60)
"""A size is asked for; -n frees what is alive and was the nth to come, modulo what there is."""
CONFIGS = st.sampled_from(
    [
        "",
        "expandable_segments:True",
        "max_split_size_mb:20",
        "max_split_size_mb:24,max_non_split_rounding_mb:30",
        "roundup_power2_divisions:4",
        "expandable_segments:True,large_segment_size_mb:12",
        "garbage_collection_threshold:0.3",
    ]
)


def check(allocator: CachingAllocator, live: list[Block]) -> None:
    """Everything that must hold at any time."""
    assert allocator.requested <= allocator.allocated <= allocator.reserved <= allocator.peak_reserved
    assert allocator.allocated <= allocator.peak_allocated <= allocator.peak_reserved
    used = {id(block) for block in live}
    mapped = 0
    for row in allocator.tiles():
        for block, behind in zip(row, [*row[1:], None], strict=True):
            assert block.size > 0
            assert block.after is behind
            if behind is not None:
                assert behind.before is block
                assert behind.address == block.address + block.size
                assert behind.small == block.small
                free = not block.used and not behind.used
                assert not (free and block.mapped == behind.mapped), "two free neighbours are one"
            assert block.used == (id(block) in used)
            assert not block.used or block.mapped
            mapped += block.size * block.mapped
    assert mapped == allocator.reserved
    assert sum(block.size for block in live) == allocator.allocated
    assert all(block.requested <= block.size for block in live)
    assert allocator.limit is None or allocator.reserved <= allocator.limit


@settings(max_examples=120, deadline=None)
@given(course=COURSE, text=CONFIGS, limit=st.sampled_from([None, 64 * MIB, 120 * MIB]), capped=st.booleans())
def test_blocks_tile_and_counters_add_up(course: list[int], text: str, limit: int | None, capped: bool) -> None:
    allocator = CachingAllocator(parse(text), limit=limit, capped=capped)
    live: list[Block] = []
    for what in course:
        if what < 0:
            if live:
                allocator.free(live.pop(-what % len(live)))
        else:
            try:
                live.append(allocator.malloc(what))
            except OutOfMemory as error:
                told = error.shortage
                assert told.limit == limit
                assert told.largest_free < max(what, 1) or "split" in text
        check(allocator, live)
    for block in live:
        allocator.free(block)
    allocator.empty_cache()
    assert (allocator.requested, allocator.allocated, allocator.reserved) == (0, 0, 0)


@settings(max_examples=120, deadline=None)
@given(course=COURSE)
def test_without_settings_it_is_the_stand_in_of_our_tests(course: list[int]) -> None:
    allocator, other = CachingAllocator(AllocatorConfig()), Native()
    live: list[tuple[Block, int]] = []
    for what in course:
        if what >= 0:
            live.append((allocator.malloc(what), other.malloc(what)))
        elif live:
            block, address = live.pop(-what % len(live))
            allocator.free(block)
            other.free(address)
        for name in ("requested", "allocated", "reserved"):
            assert getattr(allocator, name) == other.current[name]
        assert [(block.size, block.requested) for block, _ in live] == [
            (other.pieces[address].size, other.pieces[address].requested) for _, address in live
        ]
    allocator.empty_cache()
    other.empty_cache()
    assert allocator.reserved == other.current["reserved"]
