"""What of a step's memory grows with the size of its images: by phase, functions of the pixels at this batch.

Each storage grows as a power of the pixels: not at all, in proportion (feature maps, whatever their scale) or with
their square (attention of all places with all). The power is passed on from the batch. What an operator makes has a
grid of places, as its sources have; convolutions, pooling and resizing make another one. Where they shrink a side to
less, or to more, than the same part of it, that comes out as an error: it is smaller the larger the image.

Nothing is said where a layer takes all places as features (its weights fit one size), where a parameter has the size of
the image (positions), where an image is resized to a size of its own, or where attention has as many places as
channels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .attribution import INPUTS
from .births import BACKWARD, DATA, FORWARD, Birth
from .forms import Forms
from .lengths import DOUBT, Powers, Unknown

if TYPE_CHECKING:
    from .found import Found
    from .replay import Course

Grid = tuple[int, int]
"""Height and width of a feature map."""
Shape = tuple[int, ...]

_LEAST = 8
"""A lower or narrower image has sides that too many other dimensions equal."""
_CHANNELS = 16
"""Images have no more."""
_SPATIAL = ("conv", "pool", "upsample", "pad", "grid_sampler")
"""In the names of operators that may give their result another grid."""
_SURE = 64
"""A grid of fewer places is in too many dimensions as a factor by chance."""


def image_of(found: Found, batch: int) -> Grid | None:
    """Height and width of the images that go in, (batch, channels, height, width) or channels last. `None` for none, or
    for several sizes."""
    whole = [one for one, rank in zip(found.look.births, found.ranks, strict=True) if rank == INPUTS]
    yielded = [one for one in whole if one.phase == DATA]
    sizes = {grid for one in yielded or whole if (grid := _grid(one.shape, batch)) is not None}
    return sizes.pop() if len(sizes) == 1 else None


def _grid(shape: Shape, batch: int) -> Grid | None:
    if len(shape) != 4 or shape[0] != batch:
        return None
    if shape[1] <= _CHANNELS and min(shape[2:]) >= _LEAST:
        return int(shape[2]), int(shape[3])
    return (int(shape[1]), int(shape[2])) if shape[3] <= 4 and min(shape[1:3]) >= _LEAST else None


class Pixels:
    """The power of the number of pixels that each birth grows with."""

    def __init__(self, found: Found, batch: int, image: Grid, forms: Forms) -> None:
        self._look, self._ranks, self._batch, self._image = found.look, found.ranks, batch, image
        self._births, self._forms, self._counts = found.look.births, forms, forms.counts
        self._powers = [0] * len(self._births)
        self._grids: dict[int, Grid] = {}
        """By birth that grows."""
        self._scales: dict[Grid, tuple[float, float]] = {image: (1.0, 1.0)}
        """Which part of the image's height and width each grid is, as strides and factors say."""
        self._shapes: dict[Shape, tuple[int, Grid] | None] = {}
        """By shape what tensors of forward grew with; `None` where two differed."""
        self._lost: list[int] = []

    def powers(self, peak: int) -> Powers:
        """For each birth. Raises `Unknown`, too, where more of a peak of so many bytes is in doubt than is borne."""
        births, ranks = self._births, self._ranks
        fresh = {one.bytes for one in map(births.__getitem__, self._look.batch) if _places(one.shape, self._image)}
        for number in self._forms.loose:
            if ranks[number] >= INPUTS:
                # A batch of before is known by its storage alone: one like those of this step.
                like = number in self._look.batch and births[number].bytes in fresh
                if like or _places(births[number].shape, self._image):
                    self._set(number, 1, self._image)
        for number, read in self._forms.origins:
            if ranks[number] >= INPUTS:
                self._born(number, births[number], read)
        lost = sum(births[number].bytes for number in self._lost)
        if lost > DOUBT * peak:
            raise Unknown("tensors are made of parts of an image")
        return [(power, 0) for power in self._powers]

    def error(self, made: Course) -> float:
        """What the forecast may be off at sizes so large that the rest does not count, as a share of what grows: sides
        that were rounded, or lost a border."""
        off, grows = 0.0, 1
        for number, size in made.standing(made.peak).items():
            if power := self._powers[number]:
                (height, width), (rows, columns) = self._grids[number], self._scales[self._grids[number]]
                whole = rows * self._image[0] * columns * self._image[1]
                off += size * abs((whole / (height * width)) ** power - 1)
                grows += size
        return off / grows

    def _set(self, number: int, power: int, grid: Grid) -> None:
        self._powers[number], self._grids[number] = power, grid

    def _born(self, number: int, birth: Birth, read: list[int]) -> None:
        powers, shape = self._powers, birth.shape
        sources = [one for one in read if powers[one]]
        product = self._look.origins.inner.get(number)
        if birth.phase == BACKWARD:
            if (product is None or product[0]) and self._is_of_a_parameter(number, sources):
                return
            known = self._shapes.get(shape)
            if known is not None:
                self._set(number, *known)
                return
        power, grid = 0, self._image
        if sources:
            main = max(sources, key=lambda one: (powers[one], self._area(one)))
            grid = self._grids[main]
            power, grid = self._grown(number, birth, read, sources, main, product)
            explained = product is not None or number in self._look.origins.shrunk or "adaptive" in str(birth.operator)
            if power < powers[main] and not explained:
                self._lost.append(number)
        elif not any(self._ranks[one] < INPUTS for one in read):
            grid = next((one for one in self._scales if _places(shape, one)), grid)
            power = int(_places(shape, grid) > 0)
        if power:
            self._set(number, power, grid)
        if birth.phase != BACKWARD and self._shapes.setdefault(shape, (power, grid)) != (power, grid):
            self._shapes[shape] = None

    def _area(self, number: int) -> int:
        height, width = self._grids[number]
        return height * width

    def _is_of_a_parameter(self, number: int, sources: list[int]) -> bool:
        """Whether a result of backward that sums over places is a parameter's gradient."""
        counts = self._counts
        own = self._forms.is_own(self._births[number].shape)
        return own and all(counts[one] != counts[number] for one in sources)

    def _grown(
        self, number: int, birth: Birth, read: list[int], sources: list[int], main: int, product: Any
    ) -> tuple[int, Grid]:
        """(power, grid) of what was made of what grows. Raises `Unknown`."""
        power, grid, name = self._powers[main], self._grids[main], str(birth.operator)
        if product is not None:
            return self._product(birth.phase, birth.shape, sources, grid, *product), grid
        if any(part in name for part in _SPATIAL):
            if "adaptive" in name:
                return 0, grid
            if len(birth.shape) == 4 and birth.phase != BACKWARD:
                return self._moved(grid, (int(birth.shape[2]), int(birth.shape[3])), name, power)
        elif any(self._ranks[one] < INPUTS and self._is_placed(self._births[one].shape, grid) for one in read):
            raise Unknown("a parameter has the size of the image")
        counts = self._counts
        reduced = self._look.origins.shrunk.get(number)
        if reduced is None and any(counts[one] <= counts[number] for one in sources if self._powers[one] == power):
            return power, grid
        return min(power, _places(birth.shape, grid)), grid

    def _moved(self, before: Grid, after: Grid, name: str, power: int) -> tuple[int, Grid]:
        """A convolution, pooling or resizing has made another grid."""
        if after == (1, 1):
            return 0, before
        rows, columns = (_scale(one, two, "upsample" in name) for one, two in zip(before, after, strict=True))
        known = self._scales[before]
        self._scales.setdefault(after, (known[0] * rows, known[1] * columns))
        return power, after

    def _product(self, phase: int, shape: Shape, sources: list[int], grid: Grid, contracts: bool, inner: int) -> int:
        """A product of matrices: the powers of both, less twice that of the dimension that it sums over."""
        area, powers = grid[0] * grid[1], sorted(self._powers[one] for one in sources)[-2:]
        if len(powers) < 2:
            if shape[0] == self._batch and inner % area == 0 and inner * shape[0] == self._counts[sources[0]]:
                raise Unknown("a layer takes all places as features: its weights fit one size")
            whole = inner * shape[0] == self._counts[sources[0]] and shape[0] > self._batch
            return powers[0] if whole else min(powers[0], _places(shape, grid))
        if powers[-1] > 1:
            return sum(powers) - 2
        outer = all(size % area == 0 for size in shape[-2:])
        if outer and inner % area == 0 and phase == FORWARD:
            raise Unknown("places and channels are the same number: which attention sums over can't be told")
        if inner % area == 0 and (contracts or not outer):
            return 0
        return 2 if outer else 1

    def _is_placed(self, shape: Shape, grid: Grid) -> bool:
        """Whether a parameter has something for each place; a token put in front has one, too."""
        if sum(size > 1 for size in shape) < 2:
            return False
        area = grid[0] * grid[1]
        return area > 1 and (area in shape or area + 1 in shape or grid in pairwise(shape))


def _places(shape: Shape, grid: Grid) -> int:
    """How often the grid is in the dimensions: as two of them or as one in a row."""
    area = grid[0] * grid[1]
    pairs = sum(pair == grid for pair in pairwise(shape))
    return pairs + sum(size == area or (area >= _SURE and size % area == 0) for size in shape if size)


def _scale(before: int, after: int, resized: bool) -> float:
    """Which part of a side is left, or by how much it has grown: a whole number or its inverse, whatever was cut off or
    rounded away. Raises `Unknown` for a size that has nothing to do with that of before."""
    small, large = sorted((before, after))
    times = max(1, round(large / small))
    if resized and abs(large - times * small) > times:
        raise Unknown("images are resized to a size of their own")
    return float(times) if after > before else 1 / times
