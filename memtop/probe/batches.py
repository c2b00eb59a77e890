"""How many samples a batch holds, read off the shapes of what reaches a root module. Pure."""

from __future__ import annotations

from collections.abc import Sequence

Shape = tuple[int, ...]


def samples(shapes: Sequence[Shape], batch_first: bool | None = None) -> int | None:
    """The size of the batch dimension: the first position at which all tensors have the same size.

    Tensors of no dimension do not count; one of a single dimension (labels, lengths) has nothing but samples.
    `batch_first`: what the module itself says, where it does. `None` where the tensors disagree.
    """
    shaped = [shape for shape in shapes if shape]
    if not shaped:
        return None
    whole = [shape for shape in shaped if len(shape) > 1]
    if not whole:
        sizes = {shape[0] for shape in shaped}
        return sizes.pop() if len(sizes) == 1 else None
    positions = [1] if batch_first is False and all(len(shape) > 2 for shape in whole) else range(_common(whole))
    for position in positions:
        sizes = {shape[position] for shape in whole}
        if len(sizes) == 1 and sizes >= {shape[0] for shape in shaped if len(shape) == 1}:
            return sizes.pop()
    return None


def sequence(shapes: Sequence[Shape], whole_numbers: Sequence[bool]) -> int | None:
    """The length of the samples where they are sequences: the second dimension that tokens and masks share with all
    else. `whole_numbers` tells for each tensor whether it holds integers or truths. `None` where nothing says so."""
    tokens = {shape[1] for shape, whole in zip(shapes, whole_numbers, strict=True) if whole and len(shape) == 2}
    others = {shape[1] for shape in shapes if len(shape) > 1}
    return tokens.pop() if len(tokens) == 1 and others == tokens else None


def _common(shapes: Sequence[Shape]) -> int:
    """How many positions are looked at: batch or sequence first, never the features of a sample."""
    return min(2, *(len(shape) - 1 for shape in shapes))
