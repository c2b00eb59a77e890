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

from typing import TYPE_CHECKING, Any, NamedTuple

from .attribution import INPUTS
from .births import BACKWARD, DATA, FORWARD, Birth
from .forms import Forms

if TYPE_CHECKING:
    from .found import Found

Powers = list[tuple[int, int]]
"""For each birth (power of the length, what its dimension has more than the length)."""

_LEAST = 4
"""A shorter sequence has a length that too many other dimensions are multiples of."""
DOUBT = 0.01
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


class _Sight(NamedTuple):
    """What a shape says of the length."""

    flat: tuple[int, ...]
    """The shape with samples and positions in a row: gradients have one form where the tensors had the other."""
    spread: int
    """How often the length is in the dimensions: what a power can't be above."""
    less: int
    """In how many dimensions it is, less one position."""
    more: int
    """Likewise plus one."""
    squared: bool
    """Whether all positions may be held against all others: two dimensions are the length, or so near."""
    own: bool
    """Whether it is that of a parameter."""
    plain: bool
    """Whether a dimension is the length, if it is anything of it, and no two are."""

    def beside(self, power: int) -> tuple[int, int]:
        """(power, what a dimension has more than the length: -1 or 1), at most this power; (0, 0) where none is so
        near."""
        if self.less:
            return min(power, self.less), -1
        return (min(power, self.more), 1) if self.more else (0, 0)


class Lengths:
    """The power of the length that each birth grows with."""

    def __init__(self, found: Found, batch: int, length: int, forms: Forms) -> None:
        self._look, self._ranks, self._batch, self._length = found.look, found.ranks, batch, length
        self._births, self._forms, self._counts = found.look.births, forms, forms.counts
        self._found: Powers = [(0, 0)] * len(self._births)
        self._sights: dict[tuple[int, ...], _Sight] = {}
        self._shapes: dict[tuple[int, ...], tuple[int, int] | None] = {}
        """By shape what tensors of forward grew with; `None` where two differed."""
        self._lost: list[int] = []
        """Births that read what grows, and have neither a length nor an operator that takes it away."""

    def powers(self, peak: int) -> Powers:
        """For each birth. Raises `Unknown`, too, where more of a peak of so many bytes is in doubt than is borne."""
        found, births, ranks, shapes = self._found, self._births, self._ranks, self._shapes
        fresh = {one.bytes for one in map(births.__getitem__, self._look.batch) if self._begun(one)[0]}
        for number in self._forms.loose:
            if ranks[number] >= INPUTS and number < len(self._look.refs):
                birth = births[number]
                # A batch of before is known by its storage alone: one like those of this step.
                like = number in self._look.batch and birth.bytes in fresh
                found[number] = (1, 0) if like else self._begun(birth)
        sights, products, shrunk = self._sights, self._look.origins.inner, self._look.origins.shrunk
        for number, read in self._forms.origins:
            if ranks[number] < INPUTS:
                continue
            birth = births[number]
            sight = sights.get(birth.shape) or self._seen(birth.shape)
            if birth.phase != FORWARD:
                known = shapes.get(sight.flat) if birth.phase == BACKWARD and not sight.own else None
                found[number] = known or self._born(number, birth, sight, read)
                continue
            most = max([found[one][0] for one in read], default=0)
            if sight.plain and 0 < most <= sight.spread and number not in products and number not in shrunk:
                power = (most, 0)  # Nearly always.
            else:
                power = self._born(number, birth, sight, read)
            found[number] = power
            if shapes.setdefault(sight.flat, power) != power:
                shapes[sight.flat] = None
        lost = sum(births[number].bytes for number in self._lost)
        if lost > DOUBT * peak:
            raise Unknown("tensors are made of parts of a sequence, position by position")
        return found

    def _begun(self, birth: Birth) -> tuple[int, int]:
        """What no operator of the step made: the length stands where lengths stand, first or second."""
        return (int(self._length in birth.shape[:2] or birth.shape[:1] == (self._batch * self._length,)), 0)

    def _seen(self, shape: tuple[int, ...]) -> _Sight:
        """What this shape says, worked out."""
        length, batch = self._length, self._batch
        flat = shape
        if len(shape) > 2 and shape[0] == batch and self._carries(shape[1]):
            flat = (shape[0] * shape[1], *shape[2:])
        spread = sum(1 + (size % (length * length) == 0) for size in shape if size and size % length == 0)
        less, more = (sum(size in (near, batch * near) for size in shape) for near in (length - 1, length + 1))
        squared = sum(abs(size - length) <= 1 for size in shape) > 1
        sight = self._sights[shape] = _Sight(
            flat, spread, less, more, squared, self._forms.is_own(shape), not (squared or less or more)
        )
        return sight

    def _born(self, number: int, birth: Birth, sight: _Sight, read: list[int]) -> tuple[int, int]:
        found = self._found
        sources = [one for one in read if found[one][0]]
        product = self._look.origins.inner.get(number)
        if birth.phase == BACKWARD:
            if (product is None or product[0]) and self._is_of_a_parameter(number, sources):
                return (0, 0)
            if (known := self._shapes.get(sight.flat)) is not None:
                return known
        if not sources:
            return self._of_none(number, sight, read)
        most = max([found[one][0] for one in sources])
        if len(birth.shape) == 1 and birth.dtype.itemsize == 1 and birth.phase != BACKWARD and most == 1:
            return (1, 0)  # A library's workspace: bytes without form, padded.
        if product is not None:
            most = self._product(birth, [found[one][0] for one in read], *product)
        elif sight.squared and self._is_crossed(number, read, sources):
            most = 2
        elif number in self._look.origins.shrunk:
            most -= self._reduced(most, *self._look.origins.shrunk[number])
        return self._kept(number, sight, most, sources, product)

    def _is_of_a_parameter(self, number: int, sources: list[int]) -> bool:
        """Whether a result of backward that sums over positions is a parameter's gradient."""
        counts = self._counts
        own = self._forms.is_own(self._births[number].shape)
        return own and all(counts[one] != counts[number] for one in sources)

    def _of_none(self, number: int, sight: _Sight, read: list[int]) -> tuple[int, int]:
        """Made of nothing that grows: positions, masks, zeros; or a slice of a parameter or buffer."""
        counts = self._counts
        if read and not any(counts[one] > counts[number] for one in read):
            return (0, 0)
        exact = self._births[number].shape.count(self._length)
        return (min(2, exact), 0) if exact else sight.beside(2)

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

    def _is_crossed(self, number: int, read: list[int], sources: list[int]) -> bool:
        """Whether all positions were held against all others: i >= j."""
        counts = self._counts
        if any(self._ranks[one] < INPUTS for one in read):
            return False
        # As many times as there are positions: tensors put side by side are only a few times as large.
        return all(counts[one] * (self._length - 1) <= counts[number] for one in sources)

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

    def _kept(self, number: int, sight: _Sight, power: int, sources: list[int], product: Any) -> tuple[int, int]:
        """That power, as far as the dimensions have it."""
        exact, near = (min(power, sight.spread), 0), sight.beside(power)
        kept, more = exact
        if near[0] and (not exact[0] or all(self._found[one][1] for one in sources)):
            kept, more = near  # What it was made of was not the length either.
        if kept < power and (birth := self._births[number]).phase == FORWARD:
            if any(part in str(birth.operator) for part in _FEW):
                raise Unknown("convolutions or pooling take positions away")
            whole = {self._counts[one] for one in sources}
            if product is not None and product[1] * birth.shape[0] in whole:
                raise Unknown("a layer takes all positions as features: its weights fit one length")
            self._lost.append(number)
        return (kept, more)

    def _carries(self, size: int) -> bool:
        """Whether the length may be in a dimension, or one position more or less than it."""
        length, batch = self._length, self._batch
        return bool(size) and (
            size % length == 0 or size in (length - 1, length + 1, batch * (length - 1), batch * (length + 1))
        )
