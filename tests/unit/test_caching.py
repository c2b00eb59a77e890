"""The model of CUDA's caching allocator: documented constants and rules, and what torch's own tests assert on GPUs."""

from __future__ import annotations

import pytest

from memtop.model.caching import AllocatorConfig, CachingAllocator, ConfigError, OutOfMemory, parse, sizes
from memtop.model.caching.config import MIB

DEFAULT = AllocatorConfig()
CUBLAS = 8_519_680


@pytest.mark.parametrize(
    ("requested", "block", "segment"),
    [
        (0, 512, 2 * MIB),
        (1, 512, 2 * MIB),
        (512, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        (10 * MIB + 1, 10 * MIB + 512, 12 * MIB),
        (21 * MIB, 21 * MIB, 22 * MIB),
    ],
)
def test_sizes_are_rounded_as_documented(requested: int, block: int, segment: int) -> None:
    """512 bytes; small blocks up to 1 MiB from 2 MiB, up to 10 MiB from 20 MiB, larger in steps of 2 MiB."""
    assert sizes.block(requested, DEFAULT) == block
    allocator = CachingAllocator()
    taken = allocator.malloc(requested)
    assert (allocator.requested, allocator.reserved) == (requested, segment)
    # A large block keeps what is not more than 1 MiB over.
    assert taken.size == (block if segment - block > MIB or segment == 2 * MIB else segment)


def test_the_first_matmul() -> None:
    """cuBLAS's workspace: 8,519,680 bytes allocated and 20 MiB reserved, as reported for `Linear(1, 1)` on an A10G."""
    allocator = CachingAllocator()
    for size in (4, 4, 4):
        allocator.malloc(size)
    workspace = allocator.malloc(CUBLAS)
    assert (workspace.size, allocator.allocated) == (CUBLAS, CUBLAS + 3 * 512)
    assert allocator.reserved == 22 * MIB


def _power2_div(size: int, divisions: int) -> float:
    """What torch's test of these settings computes: written there, in another way than the allocator's own."""
    power = 1
    while power < size:
        power *= 2
    if power == size:
        return power
    step, found = power / 2 / divisions, power / 2
    while found < size:
        found += step
    return found


@pytest.mark.parametrize(
    ("text", "divisions"),
    [
        ("", 1),
        ("roundup_power2_divisions:4", 4),
        ("garbage_collection_threshold:0.5,max_split_size_mb:40", 1),
        ("roundup_power2_divisions:[64:8,128:2,256:2,512:2,1024:1,>:1]", 8),
        ("garbage_collection_threshold:0.5,roundup_power2_divisions:[64:2,128:8,>:1]", 2),
    ],
)
def test_divisions_round_as_torchs_own_test_asserts(text: str, divisions: int) -> None:
    """`test_allocator_settings` of torch: 21 Mi floats, with each of these settings."""
    size = 4 * 21 * MIB
    assert sizes.block(size, parse(text)) == (size if divisions == 1 else _power2_div(size, divisions))


def test_divisions_are_those_torchs_own_test_of_the_parser_asserts() -> None:
    config = parse("roundup_power2_divisions:[64:8,128:2,256:4,512:2,1024:4,>:1]")
    found = {size: config.divisions[size.bit_length() - 1] for size in (1, 32, 64, 128, 256, 512)}
    assert found == {1: 8, 32: 8, 64: 8, 128: 2, 256: 4, 512: 2}
    assert config.divisions[11:] == (1,) * 5


@pytest.mark.parametrize(
    ("text", "divisions"),
    [
        ("[64:4,128:2,>:8]", (4,) * 7 + (2,) + (8,) * 8),
        ("[1:2,8:8,64:4,>:1]", (2, 0, 0, 8, 0, 0, 4) + (1,) * 9),
        ("[4:8]", (8,) * 3 + (0,) * 13),
        ("[>:4]", (0,) + (4,) * 15),
    ],
)
def test_divisions_are_those_torchs_snapshot_tells(text: str, divisions: tuple[int, ...]) -> None:
    """`allocator_settings` of torch 2.14's `_snapshot()` after these were set: `>` begins above the last size."""
    assert parse(f"roundup_power2_divisions:{text}").divisions == divisions


def test_a_segment_size_of_ones_own() -> None:
    """`large_segment_size_mb:40`: 2 MiB are allocated, and 40 reserved."""
    allocator = CachingAllocator(parse("large_segment_size_mb:40"))
    allocator.malloc(2 * MIB)
    assert (allocator.allocated, allocator.reserved) == (2 * MIB, 40 * MIB)


@pytest.mark.parametrize(
    "text",
    [
        "foo:1,bar:2",
        "garbage_collection_threshold:1.2",
        "garbage_collection_threshold:many",
        "max_split_size_mb:2",
        "max_split_size_mb:x",
        "max_non_split_rounding_mb:4",
        "expandable_segments:true",
        "roundup_power2_divisions:3",
        "roundup_power2_divisions:[64,>:1]",
        "backend:cudaMallocAsync",
        "nonsense",
        ",",
    ],
)
def test_what_torch_refuses_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_settings_of_pinned_memory_change_nothing() -> None:
    assert parse(" pinned_use_background_threads:True, backend:native ") == DEFAULT


def test_the_best_fit_is_taken_and_the_lowest_of_equals() -> None:
    allocator = CachingAllocator()
    blocks = [allocator.malloc(size * MIB) for size in (40, 20, 30, 20)]
    addresses = [block.address for block in blocks]
    for block in blocks:
        allocator.free(block)
    assert allocator.malloc(20 * MIB).address == addresses[1]
    assert allocator.malloc(20 * MIB).address == addresses[3]
    assert allocator.malloc(19 * MIB).address == addresses[2]
    assert allocator.reserved == 110 * MIB


def test_neighbours_become_one_again() -> None:
    allocator = CachingAllocator()
    first, second, third = (allocator.malloc(4 * MIB) for _ in range(3))
    allocator.free(first)
    allocator.free(third)
    assert [block.size for block in allocator.tiles()[0]] == [4 * MIB, 4 * MIB, 12 * MIB]
    allocator.free(second)
    assert [block.size for block in allocator.tiles()[0]] == [20 * MIB]
    allocator.empty_cache()
    assert (allocator.reserved, allocator.tiles()) == (0, [])


def test_a_block_that_is_large_enough_to_be_oversize_is_not_split() -> None:
    """torch's notes: blocks of `max_split_size_mb` and more serve only requests nearly as large."""
    allocator = CachingAllocator(parse("max_split_size_mb:40"))
    block = allocator.malloc(100 * MIB)
    allocator.free(block)
    assert allocator.malloc(30 * MIB).address != block.address
    assert allocator.malloc(79 * MIB).address != block.address, "more than 20 MiB would be lost"
    allocator.free(again := allocator.malloc(81 * MIB))
    assert (again.address, again.size) == (block.address, 100 * MIB)


def test_a_request_that_does_not_fit_gives_the_cache_back_first() -> None:
    """A hundred 2 MiB blocks that are free are of no use for 150 MiB, until the driver has them again."""
    allocator = CachingAllocator(limit=200 * MIB)
    blocks = [allocator.malloc(20 * MIB) for _ in range(8)]
    for block in blocks:
        allocator.free(block)
    assert allocator.malloc(150 * MIB).size == 150 * MIB
    assert (allocator.reserved, allocator.retries, allocator.peak_reserved) == (150 * MIB, 1, 160 * MIB)


def test_out_of_memory_says_what_was_asked_for_and_what_is_in_the_way() -> None:
    allocator = CachingAllocator(limit=64 * MIB)
    held = [allocator.malloc(20 * MIB) for _ in range(2)]
    pieces = [allocator.malloc(5 * MIB) for _ in range(4)]
    for piece in (pieces[0], pieces[2]):
        allocator.free(piece)
    with pytest.raises(OutOfMemory) as caught:
        allocator.malloc(8 * MIB)
    told = caught.value.shortage
    assert (told.requested, told.segment, told.limit) == (8 * MIB, 20 * MIB, 64 * MIB)
    assert (told.allocated, told.reserved, told.largest_free) == (50 * MIB, 60 * MIB, 5 * MIB)
    assert told.unusable == 10 * MIB
    allocator.free(held[0])
    assert allocator.malloc(8 * MIB).size == 8 * MIB, "a program may free something and try again"


def test_expandable_segments_grow_by_pages_without_tails() -> None:
    """2 MiB pages for small blocks, 20 MiB ones for large; nothing is lost between two large blocks."""
    allocator = CachingAllocator(parse("expandable_segments:True"))
    allocator.malloc(1000)
    assert allocator.reserved == 2 * MIB
    for _ in range(4):
        allocator.malloc(21 * MIB)
    assert allocator.reserved == 2 * MIB + 100 * MIB
    native = CachingAllocator()
    for _ in range(4):
        native.malloc(21 * MIB)
    assert native.reserved == 88 * MIB


def test_expandable_segments_serve_what_fragments_the_native_ones() -> None:
    """torch's note on them: a batch a little larger fits into the pages that a smaller one left behind."""

    def twice(config: AllocatorConfig) -> int:
        allocator = CachingAllocator(config)
        for size in (50, 55):
            for block in [allocator.malloc(size * MIB) for _ in range(20)]:
                allocator.free(block)
        return allocator.reserved

    assert twice(parse("expandable_segments:True")) == 1100 * MIB
    assert twice(DEFAULT) == 20 * 50 * MIB + 20 * 56 * MIB


def test_pages_inside_free_blocks_go_back_when_memory_is_short() -> None:
    allocator = CachingAllocator(parse("expandable_segments:True"), limit=100 * MIB)
    blocks = [allocator.malloc(25 * MIB) for _ in range(4)]
    allocator.free(blocks[1])
    allocator.free(blocks[2])  # 25 to 75 MiB are free: pages 40 to 60 lie in it whole.
    with pytest.raises(OutOfMemory) as caught:
        allocator.malloc(60 * MIB)
    assert (caught.value.shortage.reserved, allocator.allocated) == (80 * MIB, 50 * MIB)
    assert allocator.malloc(19 * MIB).size == 19 * MIB
    assert allocator.malloc(15 * MIB).size == 15 * MIB, "and are mapped again where there is a hole"


@pytest.mark.parametrize(("capped", "retries"), [(True, 0), (False, 1)])
def test_garbage_is_collected_only_under_a_cap(capped: bool, retries: int) -> None:
    """Above its share of what `set_per_process_memory_fraction` allows, before new memory is taken; without a cap the
    request has to fail first."""
    config = parse("garbage_collection_threshold:0.5")
    allocator = CachingAllocator(config, limit=120 * MIB, capped=capped)
    allocator.free(allocator.malloc(70 * MIB))
    allocator.malloc(72 * MIB)
    assert (allocator.reserved, allocator.retries) == (72 * MIB, retries)


def test_the_growing_end_counts_as_what_it_may_grow_to() -> None:
    """A larger block that can't grow is the better fit: the end of the expandable segment is kept for what needs it."""
    allocator = CachingAllocator(parse("expandable_segments:True"))
    inner = allocator.malloc(30 * MIB)
    allocator.malloc(5 * MIB)
    end = allocator.malloc(25 * MIB)
    address = inner.address
    allocator.free(inner)
    allocator.free(end)
    assert allocator.malloc(20 * MIB).address == address
