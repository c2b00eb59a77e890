"""The largest batch that fits a device that is not here: plans at a few batch sizes, from a guess on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from memtop.model.extrapolate import at_batch
from memtop.model.plan import Plan
from memtop.model.step_events import StepEvents

MOST: Final = 1 << 32
"""Batches beyond this are no answer: nothing that matters grows with the batch."""
_FAR: Final = 64
"""The step's growth a sample is taken between a batch and so many times it, past the first phase's peak."""

Seen = tuple[int, StepEvents]
"""A batch size and the step that was run with it."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Batch sizes that were planned, and the answers. 0: not even the smallest fits."""

    plans: dict[int, Plan]
    sure: int
    """The largest whose upper end fits, too."""
    perhaps: int
    """The largest whose middle fits; at least `sure`."""
    bounded: bool
    """Whether a larger batch was seen not to fit; else it is as many as were wanted, or nothing grows."""


def search(
    first: Seen, second: Seen, plan: Callable[[StepEvents], Plan], limit: int, *, multiple: int = 1, most: int = MOST
) -> Found:
    """Plan batch sizes, multiples of `multiple` up to `most`, until the largest is bracketed.

    `plan` plays a step on the device of `limit` bytes. What is smaller than what fits is taken to fit, too, which holds
    but for a few per cent of fragmentation. Raises `Unlike` where the two steps did not do the same.
    """
    plans: dict[int, Plan] = {}

    def at(batch: int) -> Plan:
        if batch not in plans:
            plans[batch] = plan(at_batch(first, second, batch))
        return plans[batch]

    top = max(1, min(most, MOST) // multiple)
    grows = (at_batch(first, second, first[0] * _FAR).peak - at_batch(first, second, first[0]).peak) / (_FAR - 1)
    if grows <= 0:
        fits = at(multiple).fits
        return Found(plans=plans, sure=multiple * (fits == "yes"), perhaps=multiple * (fits != "no"), bounded=False)
    guess = int((limit - at(first[0]).used) / (grows / first[0]) + first[0]) // multiple
    perhaps = _largest(lambda count: at(count * multiple).fits != "no", guess, top)
    sure = _largest(lambda count: at(count * multiple).fits == "yes", perhaps, perhaps)
    return Found(plans=plans, sure=sure * multiple, perhaps=perhaps * multiple, bounded=perhaps < top)


def _largest(fits: Callable[[int], bool], guess: int, top: int) -> int:
    """The largest from 1 to `top` that fits; 0 for none. Strides that double away from the guess, then bisection."""
    here = max(1, min(guess, top))
    stride = max(1, here // 64)
    low, high = (here, top + 1) if fits(here) else (0, here)
    while low and low < top and high > top:
        there = min(top, low + stride)
        low, high = (there, high) if fits(there) else (low, there)
        stride *= 2
    while not low and high > 1:
        there = max(1, high - stride)
        low, high = (there, high) if fits(there) else (low, there)
        stride *= 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
