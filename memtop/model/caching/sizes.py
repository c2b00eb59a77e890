"""From what is asked for to the size of a block, and from that to the segment it is cut from. Sizes are bytes.

Constants of c10/core/AllocatorConfig.h (torch 2.13): kMinBlockSize, kSmallSize, kSmallBuffer, kMinLargeAlloc,
kRoundLarge.
"""

from __future__ import annotations

from typing import Final

from memtop.model.caching.config import INTERVALS, MIB, AllocatorConfig

UNIT: Final = 512
SMALL: Final = MIB
"""Blocks up to this size are small: they have a pool of their own."""
SMALL_SEGMENT: Final = 2 * MIB
_OWN_SEGMENT: Final = 10 * MIB
"""From this size on a block gets a segment of its own size, in steps of `_LARGE_STEP`."""
_LARGE_STEP: Final = 2 * MIB


def block(requested: int, config: AllocatorConfig) -> int:
    """The size of the block for a request: whole units of 512 bytes, or the next division of its power of two."""
    if requested < UNIT:
        return UNIT
    divisions = config.divisions[min(max(requested.bit_length() - MIB.bit_length(), 0), INTERVALS - 1)]
    if divisions > 1 and requested > UNIT * divisions:
        return _next_division(requested, divisions)
    return up(requested, UNIT)


def segment(size: int, config: AllocatorConfig) -> int:
    """The size of the segment that a block of `size` is cut from, where none has room. Expandable segments grow by
    pages instead."""
    if size <= SMALL:
        return SMALL_SEGMENT
    return config.large_segment if size < _OWN_SEGMENT else up(size, _LARGE_STEP)


def page(small: bool, config: AllocatorConfig) -> int:
    """What an expandable segment grows by."""
    return SMALL_SEGMENT if small else config.large_segment


def up(size: int, step: int) -> int:
    """`size` in whole steps."""
    return -(-size // step) * step


def _next_division(size: int, divisions: int) -> int:
    """Between two powers of two lie equal divisions; `divisions` is a power of two itself."""
    if size & (size - 1) == 0:
        return size
    floor = 1 << (size.bit_length() - 1)
    step = floor >> (divisions.bit_length() - 1)
    return up(size, step) if step else 2 * floor
