"""Operators that the CPU has in parts and CUDA in one: what the parts leave behind is not there on CUDA."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Final

from msgspec.structs import replace

from memtop.model.step_events import StepEvents

_SCORES: Final = "aten._safe_softmax"
"""What only `scaled_dot_product_attention` calls, where it has no kernel for all of it: on the CPU with dropout."""
_AROUND: Final = 12
"""Changes on both sides of the softmax among which the parts of one attention are."""


def masks_of_bytes(events: StepEvents) -> StepEvents:
    """Dropout keeps what it left standing as a tensor like its input on the CPU, as a byte for each element on CUDA. On
    the CPU it makes an empty tensor, fills it, and multiplies by it at once."""
    found = {}
    for (mask, size), (result, other) in zip(events.changes, events.changes[1:], strict=False):
        birth = events.births[mask]
        if events.phase(mask) != "forward" or not 0 < size == other == birth.bytes:
            continue
        if (events.operator(mask), events.operator(result)) == ("aten.empty_like", "aten.mul"):
            found[mask] = prod(birth.shape)
    return _resized(events, found)


def fused_attention(events: StepEvents) -> StepEvents:
    """Attention without its scores: the fused kernels keep a number for each row of them, four bytes."""
    rows, gone = {}, set()
    for index, (number, size) in enumerate(events.changes):
        shape = events.births[number].shape
        if not size or events.operator(number) != _SCORES or len(shape) < 2:
            continue
        rows[number] = 4 * prod(shape[:-1])
        gone |= _parts(events, index) - {number}
    changes = [change for change in events.changes if change[0] not in gone]
    kept = [index for index, change in enumerate(events.changes) if change[0] not in gone]
    moments = {name: sum(index < at for index in kept) for name, at in events.moments.items()}
    return _resized(replace(events, changes=changes, moments=moments), rows)


def _parts(events: StepEvents, index: int) -> set[int]:
    """The storages of one attention that no fused kernel makes: those as large as its scores, in forward and in the
    backward of its module, and the scaled queries and keys."""
    number, size = events.changes[index]
    module = events.births[number].module
    near = {one for one, _ in events.changes[max(0, index - _AROUND) : index + _AROUND]}
    scaled = [one for one, now in events.changes[max(0, index - _AROUND) : index] if now]
    scaled = [one for one in scaled if events.operator(one) == "aten.mul" and events.births[one].bytes < size]
    as_large = {
        one
        for one, now in events.changes
        if now == size
        and events.births[one].module == module
        and (one in near if events.phase(one) == "forward" else events.phase(one) == "backward")
    }
    return as_large | set(scaled[-2:])


def _resized(events: StepEvents, sizes: Mapping[int, int]) -> StepEvents:
    """The same step with other sizes of some storages."""
    births = [birth._replace(bytes=sizes.get(number, birth.bytes)) for number, birth in enumerate(events.births)]
    changes = [(number, sizes.get(number, size) if size else 0) for number, size in events.changes]
    return replace(events, births=births, changes=changes)
