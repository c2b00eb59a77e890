"""What of a step's memory grows with the length of its sequences: by phase, functions of the length at this batch.

Each storage grows as a power of the length: not at all, in proportion (tokens, hidden states) or with its square (the
scores of attention). The power is passed on from the batch: what an operator makes has no higher one than what it
read, but for a product of two matrices that keeps both their lengths (scores), and a comparison of all positions with
all; and it has one only where a dimension is a multiple of the length. A dimension that is the length less or plus one
(targets moved on by one, a token put in front) is told apart. A result of backward has the power of the tensor of
forward whose shape it has; a gradient of a parameter has none.

Nothing is said where a longer sequence makes more storages instead of larger ones (a Python loop over time), where
convolutions take positions away, or where a layer takes all positions as features: then it would be a guess.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from .attribution import INPUTS
from .births import BACKWARD, DATA, FORWARD, HELD, Birth

if TYPE_CHECKING:
    from .found import Found

Powers = list[tuple[int, int]]
"""For each birth (power of the length, what its dimension has more than the length)."""

_LEAST = 4
"""A shorter sequence has a length that too many other dimensions are multiples of."""
_DOUBT = 0.01
"""Of the peak: more bytes than this that came of sequences and lost their length unexplained, and nothing is said."""
_FEW = ("conv", "pool", "unfold", "fft", "stft", "im2col")
"""In the names of operators that take positions away or put them together."""


class Unknown(Exception):
    """The growth with the length can't be told; the message says why."""


def length_of(found: Found, batch: int) -> int | None:
    """How long the sequences are. Tokens are integers of (batch, length). Floats of (batch, length, features) are taken
    for sequences where no dimension of a parameter is a multiple of that length: channels, rows of a picture and
    positions put in a row would make one. `None` for no sequences."""
    look = found.look
    whole = [one for one, rank in zip(look.births, found.ranks, strict=True) if rank == INPUTS and len(one.shape) > 1]
    yielded = [one for one in whole if one.phase == DATA]  # Not what was cut out of it later, labels moved on by one.
    entered = [one for one in yielded or whole if one.shape[0] == batch and one.shape[1] >= _LEAST]
    tokens = {one.shape[1] for one in entered if len(one.shape) == 2 and not _floats(one)}
    if len(tokens) == 1:
        return int(tokens.pop())
    rows = {one.shape[1] for one in entered if len(one.shape) == 3 and _floats(one)}
    if tokens or len(rows) != 1 or len({len(one.shape) for one in entered}) > 1:
        return None
    length = int(rows.pop())
    own = {size for one, rank in zip(look.births, found.ranks, strict=True) if rank < INPUTS for size in one.shape}
    return None if any(size % length == 0 for size in own) else length


def _floats(birth: Birth) -> bool:
    return bool(birth.dtype.is_floating_point or birth.dtype.is_complex)


class Lengths:
    """The power of the length that each birth grows with."""

    def __init__(self, found: Found, batch: int, length: int) -> None:
        self._look, self._ranks, self._batch, self._length = found.look, found.ranks, batch, length
        self._births = found.look.births
        self._found: Powers = [(0, 0)] * len(self._births)
        own = [birth for birth, rank in zip(self._births, found.ranks, strict=True) if rank < INPUTS]
        self._own = {_dims(birth.shape) for birth in own if birth.phase == HELD}
        self._shapes: dict[tuple[int, ...], tuple[int, int] | None] = {}
        """By shape what tensors of forward grew with; `None` where two differed."""
        self._lost: list[int] = []
        """Births that read what grows, and have neither a length nor an operator that takes it away."""

    def powers(self, peak: int) -> Powers:
        """For each birth. Raises `Unknown`, too, where more of a peak of so many bytes is in doubt than is borne."""
        fresh = {one.bytes for one in map(self._births.__getitem__, self._look.batch) if self._begun(one)[0]}
        for number, birth in enumerate(self._births[: len(self._look.refs)]):
            if self._ranks[number] >= INPUTS and (birth.operator is None or birth.phase == DATA):
                # A batch of before is known by its storage alone: one like those of this step.
                like = number in self._look.batch and birth.bytes in fresh
                self._found[number] = (1, 0) if like else self._begun(birth)
        for number, read in self._look.origins:
            if self._ranks[number] >= INPUTS:
                self._found[number] = self._born(number, read)
                if self._births[number].phase == FORWARD:
                    self._learn(self._births[number].shape, self._found[number])
        lost = sum(self._births[number].bytes for number in self._lost)
        if lost > _DOUBT * peak:
            raise Unknown("tensors are made of parts of a sequence, position by position")
        return self._found

    def _begun(self, birth: Birth) -> tuple[int, int]:
        """What no operator of the step made: the length stands where lengths stand, first or second."""
        return (int(self._length in birth.shape[:2] or birth.shape[:1] == (self._batch * self._length,)), 0)

    def _learn(self, shape: tuple[int, ...], power: tuple[int, int]) -> None:
        key = self._flat(shape)
        if self._shapes.setdefault(key, power) != power:
            self._shapes[key] = None

    def _flat(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape with samples and positions in a row: gradients have one form where the tensors had the other."""
        if len(shape) > 2 and shape[0] == self._batch and self._carries(shape[1]):
            return (shape[0] * shape[1], *shape[2:])
        return shape

    def _born(self, number: int, read: list[int]) -> tuple[int, int]:
        birth = self._births[number]
        sources = [one for one in read if self._found[one][0]]
        product = self._look.origins.inner.get(number)
        if birth.phase == BACKWARD:
            if (product is None or product[0]) and self._is_of_a_parameter(birth, sources):
                return (0, 0)
            if (known := self._shapes.get(self._flat(birth.shape))) is not None:
                return known
        if not sources:
            return self._of_none(birth, read)
        most = max(self._found[one][0] for one in sources)
        if len(birth.shape) == 1 and birth.dtype.itemsize == 1 and birth.phase != BACKWARD and most == 1:
            return (1, 0)  # A library's workspace: bytes without form, padded.
        if product is not None:
            most = self._product(birth, [self._found[one][0] for one in read], *product)
        elif self._is_crossed(birth, read, sources):
            most = 2
        elif number in self._look.origins.shrunk:
            most -= self._reduced(most, *self._look.origins.shrunk[number])
        return self._kept(number, most, sources, product)

    def _is_of_a_parameter(self, birth: Birth, sources: list[int]) -> bool:
        """Whether a result of backward that sums over positions is a parameter's gradient."""
        return _dims(birth.shape) in self._own and all(
            prod(self._births[one].shape) != prod(birth.shape) for one in sources
        )

    def _of_none(self, birth: Birth, read: list[int]) -> tuple[int, int]:
        """Made of nothing that grows: positions, masks, zeros; or a slice of a parameter or buffer."""
        if read and not any(prod(self._births[one].shape) > prod(birth.shape) for one in read):
            return (0, 0)
        exact = birth.shape.count(self._length)
        return (min(2, exact), 0) if exact else self._beside(birth.shape, 2)

    def _product(self, birth: Birth, powers: list[int], contracts: bool, inner: int) -> int:
        """A product of matrices: the powers of both, less twice that of the dimension that it sums over."""
        both = sorted(powers)[-2:]
        if both[0] == 0:
            return both[-1]
        if both[-1] > 1:
            return sum(both) - 2
        outer = all(self._carries(size) for size in birth.shape[-2:])
        if self._carries(inner) and (contracts or not outer):
            return 0
        return 2 if outer else 1

    def _is_crossed(self, birth: Birth, read: list[int], sources: list[int]) -> bool:
        """Whether all positions were held against all others: i >= j."""
        near = sum(abs(size - self._length) <= 1 for size in birth.shape)
        if near < 2 or any(self._ranks[one] < INPUTS for one in read):
            return False
        # As many times as there are positions: tensors put side by side are only a few times as large.
        return all(prod(self._births[one].shape) * (self._length - 1) <= prod(birth.shape) for one in sources)

    def _reduced(self, power: int, shape: tuple[int, ...], reduced: Any) -> int:
        """How many lengths a reduction over these dimensions of a shape takes away."""
        gone = [reduced] if isinstance(reduced, int) else reduced
        if not shape or not isinstance(gone, (list, tuple)) or not all(isinstance(one, int) for one in gone):
            return power
        lost = {one % len(shape) for one in gone} if gone else set(range(len(shape)))
        places = [place for place, size in enumerate(shape) if self._carries(size)]
        exact = [place for place in places if shape[place] == self._length and (place or shape[0] != self._batch)]
        chosen = (exact if len(exact) >= power else places)[:power]
        return len(lost.intersection(chosen))

    def _kept(self, number: int, power: int, sources: list[int], product: Any) -> tuple[int, int]:
        """That power, as far as the dimensions have it."""
        birth = self._births[number]
        exact, near = (min(power, self._spread(birth.shape)), 0), self._beside(birth.shape, power)
        beside = not any(self._found[one][1] == 0 for one in sources)  # What it was made of was not the length either.
        kept, more = near if near[0] and (beside or not exact[0]) else exact
        if kept < power and birth.phase == FORWARD:
            if any(part in str(birth.operator) for part in _FEW):
                raise Unknown("convolutions or pooling take positions away")
            whole = {prod(self._births[one].shape) for one in sources}
            if product is not None and product[1] * birth.shape[0] in whole:
                raise Unknown("a layer takes all positions as features: its weights fit one length")
            self._lost.append(number)
        return (kept, more)

    def _carries(self, size: int) -> bool:
        """Whether the length may be in a dimension, or one position more or less than it."""
        return bool(size) and (size % self._length == 0 or self._beside((size,), 1)[0] == 1)

    def _spread(self, shape: tuple[int, ...]) -> int:
        """How often the length is in the dimensions: what a power can't be above."""
        length = self._length
        return sum(1 + (size % (length * length) == 0) for size in shape if size and size % length == 0)

    def _beside(self, shape: tuple[int, ...], power: int) -> tuple[int, int]:
        """(power, what a dimension has more than the length: -1 or 1), at most this power; (0, 0) where none is so
        near."""
        for more in (-1, 1):
            near = self._length + more
            if count := sum(size in (near, self._batch * near) for size in shape):
                return min(power, count), more
        return 0, 0


def _dims(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(size for size in shape if size > 1))
