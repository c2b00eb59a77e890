"""What of a step's memory grows with the batch: for each phase, affine functions of the batch size.

A storage grows when its bytes are the batch size times something. That is passed on from the batch: what an operator
makes can grow only where it read something that does, and where its elements can be shared out among the samples.
Dimensions that equal the batch size by chance are told apart by the operator, not by the number:

- the product of two matrices that sums over the outermost dimension of both (a weight's gradient) has lost the batch;
- so has a reduction over the outermost dimension, unless another one is the batch size;
- a result of backward with exactly the shape of a parameter is that parameter's gradient, unless one of the growing
  tensors it was made of has as many elements;
- a vector that was made with a parameter or buffer of its own length is a statistic of a channel.

Parameters, buffers, gradients and optimizer state never grow, nor does what the optimizer's step makes. What is made of
no tensor (noise, masks, hidden states), or spread out from smaller ones (the gradient of a mean), grows where its first
or second dimension is the batch size. Pieces that a
loader makes one for each sample are counted as what they are together.

A comparison of all samples with all (similarities, distances) grows with the square of the batch: the product of two
matrices that keeps the batches of both, and what is as many times larger than all the growing tensors it is made of as
there are rows in them. What is made of such a tensor grows so, too, where it is as large, or has both dimensions left.

The highest instant at this batch need not be the highest at another: each phase is sent as the upper envelope of all
its instants, the corners of the convex hull of (fixed bytes, bytes a sample).
"""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import TYPE_CHECKING, Any

import torch

from .attribution import ACTIVATIONS, INPUTS, OTHER
from .births import BACKWARD, DATA, FORWARD, HELD, OPTIMIZER, PHASES, Birth
from .curves import by_phase
from .forms import Forms
from .replay import Course, arriving

if TYPE_CHECKING:
    from .found import Found

Lines = list[tuple[int, int]]
"""(fixed bytes, growing bytes at this batch)."""

_SCATTERED = "aten::embedding_dense_backward"


def batch_of(found: Found) -> int | None:
    """Samples of one batch: what a loader yielded, else the first dimension of the largest input. `None` for none."""
    look = found.look
    if look.samples:
        return look.samples
    whole = [birth for birth, rank in zip(look.births, found.ranks, strict=True) if rank == INPUTS and birth.shape]
    entered = [birth for birth in whole if birth.bytes == prod(birth.shape) * birth.dtype.itemsize]
    return int(max(entered, key=lambda birth: birth.bytes).shape[0]) if entered else None


def scaling(found: Found, made: Course, batch: int, growth: Growth, limited: bool) -> dict[str, Any]:
    """What the monitor is told of one device: the batch, and by phase the corners of its envelope, bytes."""
    return {
        "batch_size": batch,
        "batches": max(1, found.look.yielded),
        "peak": sum(made.highest),
        "rounding": rounding(made),
        "blocks": _blocks(made, growth.grows) if limited else [],
        "sample_shape": list(found.look.sample),
        "phases": _squares(found, made, batch, growth) if growth.squared else _affines(found, made, batch, growth),
    }


def _affines(found: Found, made: Course, batch: int, growth: Growth) -> list[dict[str, Any]]:
    return [
        {"phase": PHASES[phase], "lines": [_affine(fixed, grown, batch) for fixed, grown in lines]}
        for phase, lines in sorted(_envelopes(found, made, growth.grows).items())
    ]


def _squares(found: Found, made: Course, batch: int, growth: Growth) -> list[dict[str, Any]]:
    """Likewise with what grows with the square of the batch: [fixed bytes, bytes a sample, bytes a pair of samples]."""
    powers = [((number in growth.squared) + grows, 0) for number, grows in enumerate(growth.grows)]
    return [{"phase": one["phase"], "lines": one["curves"]} for one in by_phase(found, made, powers, batch)]


def _affine(fixed: int, grown: int, batch: int) -> list[int]:
    """[fixed bytes, bytes a sample], whole numbers whose value at this batch is exact."""
    return [fixed + grown % batch, grown // batch]


def _blocks(made: Course, growing: list[bool]) -> list[list[int]]:
    """Of what grows, where it is most, by size: [bytes of the smallest, bytes of all]."""
    found: dict[int, list[int]] = {}
    for number, size in made.standing(_fullest(made, growing)).items():
        if growing[number]:
            one = found.setdefault(size.bit_length(), [size, 0])
            one[0], one[1] = min(one[0], size), one[1] + size
    return [one for _, one in sorted(found.items())]


def _fullest(made: Course, growing: list[bool]) -> int:
    """After how many changes most of what grows is alive. At a small batch that need not be at the peak."""
    sizes = {number: size for number, size in made.held.items() if growing[number]}
    grown = most = sum(sizes.values())
    best = 0
    for count, (number, size, _) in enumerate(made.steps, 1):
        if growing[number]:
            grown += size - sizes.get(number, 0)
            sizes[number] = size
            if grown > most:
                most, best = grown, count
    return best


def rounding(made: Course) -> int:
    """Bytes of the allocator's rounding at the peak; 0 where it is not known."""
    counters = made.counters
    return 0 if counters is None else max(0, counters["allocated"] - counters["requested"])


def _envelopes(found: Found, made: Course, growing: list[bool]) -> dict[int, Lines]:
    """By phase the corners of all its instants. Deaths make no instant higher, so births and growths alone count."""
    births = found.look.births
    fixed = grown = 0
    sizes = made.held | arriving(found.look, found.ranks, made)
    for number, size in sizes.items():
        if growing[number]:
            grown += size
        else:
            fixed += size
    highest: dict[int, dict[int, int]] = {FORWARD: {grown: fixed}}
    phase, of_phase = FORWARD, highest[FORWARD]
    for number, size, _ in made.steps:
        more = size - sizes.get(number, 0)
        sizes[number] = size
        if growing[number]:
            grown += more
        else:
            fixed += more
        if more > 0:
            begun = births[number].phase
            if begun != phase and begun != HELD:
                phase, of_phase = begun, highest.setdefault(begun, {})
            if of_phase.get(grown, -1) < fixed:
                of_phase[grown] = fixed
    return {one: hull(points) for one, points in highest.items() if points}


def hull(points: dict[int, int]) -> Lines:
    """The corners, least growth first, of the highest of all `fixed + growing / batch * size` for sizes from 0 on.

    `points` are fixed bytes by growing bytes.
    """
    corners: Lines = []
    for grown in sorted(points):
        fixed = points[grown]
        while corners and corners[-1][0] <= fixed:
            corners.pop()  # Grows less, and is never higher.
        while len(corners) > 1 and _below(corners[-2], corners[-1], (fixed, grown)):
            corners.pop()
        corners.append((fixed, grown))
    return corners


def _below(before: tuple[int, int], line: tuple[int, int], after: tuple[int, int]) -> bool:
    """Whether a line is nowhere the highest: its successor overtakes its predecessor no later than it does."""
    return (before[0] - after[0]) * (line[1] - before[1]) <= (before[0] - line[0]) * (after[1] - before[1])


class Growth:
    """Which births grow with a batch of `batch` samples."""

    def __init__(self, found: Found, batch: int, forms: Forms) -> None:
        self._look, self._ranks, self._batch = found.look, found.ranks, batch
        self._births, self._forms, self._counts = found.look.births, forms, forms.counts
        self._grows = [False] * len(self._births)
        self._shapes: set[tuple[int, ...]] = set()
        """Shapes of what grows."""
        self._square: set[tuple[int, ...]] = set()
        """Shapes of what grows with the square of the batch."""
        self.squared: set[int] = set()
        """Births that do."""
        self._work_out()

    @property
    def grows(self) -> list[bool]:
        """For each birth, whether it grows."""
        return self._grows

    def _work_out(self) -> None:
        grows, ranks, births, shapes = self._grows, self._ranks, self._births, self._shapes
        self._begin()
        for number, read in self._forms.origins:
            if ranks[number] >= INPUTS and self._is_born_growing(number, read):
                grows[number] = True
                shape = births[number].shape
                shapes.add(shape)
                if (self.squared or len(shape) > 1) and self._is_squared(number, shape, read):
                    self.squared.add(number)
                    self._square.add(shape)
        self._pieces()
        self._blocks(len(self._look.refs))

    def _is_squared(self, number: int, shape: tuple[int, ...], read: list[int]) -> bool:
        """Whether it is a comparison of all samples with all, or made of one."""
        counts, sources = self._counts, [one for one in read if self._grows[one]]
        both = shape in self._square or (len(shape) > 1 and shape[0] == shape[1] and shape[0] % self._batch == 0)
        product = self._look.origins.inner.get(number)
        before = self.squared.intersection(sources)
        if before:
            least = min(counts[one] for one in before)
            # Nearly as large is all but the samples with themselves.
            return before.issuperset(sources) if product is not None else both or 2 * counts[number] > least
        if product is not None:
            return not product[0] and self._is_of_both(shape, product[1], [counts[one] for one in sources])
        if not sources:
            return shape in self._square
        if not both or self._births[number].phase == BACKWARD or any(self._ranks[one] < INPUTS for one in read):
            return False  # A layer: an embedding of as many words as there are samples is no comparison.
        rows, births = shape[0], self._births
        return all(births[one].shape[:1] == (rows,) and counts[one] * rows <= counts[number] for one in sources)

    def _is_of_both(self, shape: tuple[int, ...], inner: int, sources: list[int]) -> bool:
        """Whether a product of matrices has the samples of both in its two dimensions."""
        left, right = (shape[0], shape[1]) if len(shape) == 2 else (1, 1)
        return (
            left % self._batch == right % self._batch == 0
            and len(sources) > 1
            and sorted(sources[-2:]) == sorted((left * inner, right * inner))
        )

    def _begin(self) -> None:
        """What was there before, and what a loader yielded: no operator of the step made it."""
        seen = len(self._look.refs)
        for number in self._forms.loose:
            birth = self._births[number]
            if number < seen and birth.operator is None and self._ranks[number] in (INPUTS, ACTIVATIONS, OTHER):
                self._grows[number] = self._is_whole(birth) and self._is_batched(birth.shape)
        batch = [(number, self._births[number]) for number in self._look.batch]
        yielded = {birth.bytes for _, birth in batch if birth.phase == DATA and self._is_whole(birth)}
        for number, birth in batch:
            # A view of a larger tensor says nothing of that one: like those of this step it may still be.
            self._grows[number] = self._grows[number] or (birth.bytes in yielded and birth.bytes % self._batch == 0)

    def _is_whole(self, birth: Birth) -> bool:
        """Whether a tensor is all of its storage: a view of a larger one says nothing of that one's size."""
        return bool(birth.bytes == prod(birth.shape) * birth.dtype.itemsize)

    def _is_batched(self, shape: tuple[int, ...]) -> bool:
        """Whether the batch size stands where batches stand: first, or second where there are three or more."""
        return bool(shape) and (shape[0] == self._batch or (len(shape) > 2 and shape[1] == self._batch))

    def _is_born_growing(self, number: int, read: list[int]) -> bool:
        grows, births, batch = self._grows, self._births, self._batch
        birth = births[number]
        shape = birth.shape
        sources = [one for one in read if grows[one]]
        if not sources:
            known = birth.phase == BACKWARD and shape in self._shapes and not self._forms.is_own(shape)
            counts = self._counts
            spread = all(counts[one] < counts[number] for one in read)  # True of what is made of no tensor
            return spread and (known or self._is_batched(shape))
        if len(shape) == 1 and birth.dtype is torch.uint8 and birth.phase != BACKWARD:
            return True  # A library's workspace (oneDNN's of an LSTM): bytes without form, padded.
        count = self._counts[number]
        if count % batch or count < batch:
            return False
        contracted = self._look.origins.products.get(number)
        if contracted:
            return bool(shape[0] == batch and not self._forms.is_own(shape))
        if contracted is False and len(sources) == 1:
            return True
        if birth.phase == BACKWARD:
            if self._is_of_a_parameter(birth, count, sources):
                return False
        elif len(shape) == 1 and any(self._ranks[one] < 2 and births[one].shape == shape for one in read):
            return False
        shrunk = self._look.origins.shrunk.get(number)
        return shrunk is None or self._outlives(*shrunk)

    def _is_of_a_parameter(self, birth: Birth, count: int, sources: list[int]) -> bool:
        """Whether a result of backward is a parameter's gradient."""
        if not self._forms.is_own(birth.shape):
            return False
        scattered = getattr(getattr(birth.operator, "_schema", None), "name", "") == _SCATTERED
        return scattered or all(self._counts[one] != count for one in sources)

    def _outlives(self, shape: tuple[int, ...], reduced: Any) -> bool:
        """Whether the batch is left when these dimensions of a shape have been reduced."""
        gone = [reduced] if isinstance(reduced, int) else reduced
        if not isinstance(gone, (list, tuple)) or not all(isinstance(one, int) for one in gone):
            return not isinstance(gone, (list, tuple)) and gone is not None
        lost = {one % len(shape) for one in gone} if shape else set()
        left = [size for place, size in enumerate(shape) if place not in lost]
        return 0 not in lost or self._batch in left

    def _pieces(self) -> None:
        """What a loader makes for each sample and puts together: as many of a kind as there are samples."""
        kinds: Counter[Any] = Counter()
        births, batch = self._births, self._look.batch
        loose = [n for n in self._forms.loose if births[n].phase == DATA and n not in batch]
        for number in loose:
            kinds[_kind(self._births[number])] += 1
        for number in loose:
            birth = self._births[number]
            self._grows[number] = kinds[_kind(birth)] % self._batch == 0 or birth.shape[:1] == (self._batch,)

    def _blocks(self, seen: int) -> None:
        """Blocks of a GPU's allocator without a storage: the scratch of an operator whose result grows is taken to grow
        too, and what was there before and goes in this step (a result that the script still held) as well."""
        for number in range(seen, len(self._births)):
            birth = self._births[number]
            self._grows[number] = birth.phase != HELD and birth.phase != OPTIMIZER and birth.bytes % self._batch == 0


def _kind(birth: Birth) -> tuple[Any, ...]:
    return birth.line, birth.operator, birth.shape
