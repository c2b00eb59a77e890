"""The shapes of a look's births, each worked out once: a step makes the same few again and again."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from .attribution import INPUTS
from .births import DATA, HELD

if TYPE_CHECKING:
    from .found import Found

Shape = tuple[int, ...]


class Forms:
    """Elements of each birth, and which of them have the shape of something that parameters own."""

    def __init__(self, found: Found) -> None:
        known: dict[Shape, int] = {}
        own: set[Shape] = set()
        self.counts: list[int] = []
        """Elements by birth."""
        self.loose: list[int] = []
        """Births that no operator of the step made, and those of a loader."""
        self.origins = list(found.look.origins)
        """(birth, what its operator read)."""
        keep = self.counts.append
        for number, (birth, rank) in enumerate(zip(found.look.births, found.ranks, strict=True)):
            shape, phase = birth.shape, birth.phase
            count = known.get(shape)
            if count is None:
                count = known[shape] = prod(shape)
            keep(count)
            if birth.operator is None or phase == DATA:
                self.loose.append(number)
            if phase == HELD and rank < INPUTS:
                own.add(shape)
        self._dims = {dims(shape) for shape in own}
        self._own: dict[Shape, bool] = {}

    def is_own(self, shape: Shape) -> bool:
        """Whether a parameter, its gradient or its state looks so, dimensions of 1 left out and in any order."""
        told = self._own.get(shape)
        if told is None:
            told = self._own[shape] = dims(shape) in self._dims
        return told


def dims(shape: Shape) -> Shape:
    """A shape without dimensions of 1, in order of size."""
    return tuple(sorted(size for size in shape if size > 1))
