"""What deep looks said of growth, one by one: their figures, and the words for what a forecast rests on."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import msgspec

from memtop.model.forecast import Affine, OfPixels, Point, Quadratic, peak_at, peak_of_length
from memtop.model.text import harmless, one_line
from memtop.protocol import records as wire

Shape = tuple[int, ...]


class Look(msgspec.Struct):
    """One deep look, as growth."""

    t: float
    rank: int
    step: int
    batch: int
    batches: int
    rounding: int
    lines: tuple[Affine, ...]
    length: int | None
    curves: tuple[Quadratic, ...]
    why_not: str
    """Why there are no curves."""
    peak: int
    blocks: tuple[tuple[int, int], ...]
    """Of `process_limit`."""
    image: Shape = ()
    pixels: tuple[OfPixels, ...] = ()
    rounded: float = 0.0
    """What sides that are rounded may make of a forecast for larger images, as a share of it."""
    no_pixels: str = ""
    """Why there are no functions of the pixels."""


class Known(msgspec.Struct):
    """What is known of one training with samples of one shape."""

    looks: dict[int, Look] = msgspec.field(default_factory=dict)
    """By batch size, the newest."""
    points: dict[int, Point] = msgspec.field(default_factory=dict)

    def add(self, look: Look, peak: int) -> None:
        """A deep look and its measured peak. The forecast for its batch was made from the nearest other one."""
        others = [one for one in self.looks.values() if one.batch != look.batch]
        nearest = min(others, key=lambda one: (abs(one.batch - look.batch), one.batch), default=None)
        predicted = None if nearest is None else peak_at(nearest.lines, look.batch)
        self.looks[look.batch] = look
        self.points[look.batch] = Point(batch_size=look.batch, measured_bytes=peak, predicted_bytes=predicted)

    @property
    def best(self) -> Look:
        """The look at the largest batch: the nearest to the limit."""
        return self.looks[max(self.looks)]


def looked(t: float, message: wire.Scaling, lines: tuple[Affine, ...]) -> Look:
    """A probe's word of one look, with `lines_of` it."""
    curves = tuple(
        Quadratic(phase=harmless(one.phase, 20), fixed_bytes=fixed, bytes_per_position=once, bytes_per_pair=twice)
        for one in message.lengths
        for fixed, once, twice in one.curves
    )
    return Look(
        t=t,
        rank=message.rank,
        step=message.step,
        batch=message.batch_size,
        batches=message.batches,
        rounding=message.rounding,
        lines=lines,
        length=message.length,
        curves=curves if message.length is not None else (),
        why_not=one_line(message.length_unknown or "", 100),
        peak=message.peak,
        blocks=tuple((one, whole) for one, whole in message.blocks),
        **_images(message),
    )


def _images(message: wire.Scaling) -> dict[str, Any]:
    """What was said of images, as fields of a look."""
    image = tuple(message.image) if len(message.image) == 2 else ()
    pixels = tuple(
        OfPixels(
            phase=harmless(one.phase, 20),
            pixels=prod(image),
            fixed_bytes=fixed,
            growing_bytes=grows,
            squared_bytes=squares,
        )
        for one in message.pixels
        for fixed, grows, squares in one.curves
        if image
    )
    why = one_line(message.pixels_unknown or "", 100)
    return {"image": image, "pixels": pixels, "rounded": message.pixels_error or 0.0, "no_pixels": why}


def of_a_pixel(curves: Sequence[OfPixels], pixels: int) -> int | None:
    """What one more adds to the peak, from here to a hundredth more."""
    more = pixels // 100 + 1
    if not curves:
        return None
    return (peak_of_length(curves, pixels + more) - peak_of_length(curves, pixels)) // more


def side_of(seen: Shape, shape: Shape, image: Shape) -> Shape:
    """Height and width of the largest sample seen, where it is larger than that which was looked at; else nothing."""
    if not image or len(seen) != len(shape) or prod(seen) <= prod(shape):
        return ()
    return seen[1:] if shape[1:] == image else seen[:2]


def pixel_words(look: Look, error: float) -> str:
    """What the answer for larger images rests on; nothing where the inputs are none."""
    if not look.image:
        return ""
    size = "×".join(map(str, look.image))
    if not look.pixels:
        return f"; other images than {size}: not known" + (f", {look.no_pixels}" if look.no_pixels else "")
    rounded = f" ({100 * look.rounded:.1f} % of it for sides that are rounded)" if look.rounded >= 0.0005 else ""
    return f"; other images from those of {size}, error ± {100 * error:.1f} %{rounded}"


def length_words(look: Look, error: float) -> str:
    """What the answer for longer sequences rests on; nothing where the inputs are no sequences."""
    if look.length is None:
        return ""
    if not look.curves:
        return f"; other lengths than {look.length}: not known" + (f", {look.why_not}" if look.why_not else "")
    return f"; other lengths from that at {look.length}, error ± {100 * error:.1f} %"


def lines_of(message: wire.Scaling) -> tuple[Affine, ...]:
    """What the peak of each phase is a function of."""
    return tuple(
        Affine(
            phase=harmless(one.phase, 20),
            fixed_bytes=line[0],
            bytes_per_sample=line[1],
            bytes_per_pair=line[2] if len(line) > 2 else 0,
        )
        for one in message.phases
        for line in one.lines
    )


def basis(known: Known, shape: Shape, shapes: int, error: float) -> str:
    """Which looks a forecast rests on, and how far off it may be."""
    look, batches = known.best, sorted(known.points)
    words = f"deep look{'s' * (len(batches) > 1)} at batch {', '.join(map(str, batches[-4:]))}"
    if look.batches > 1:
        words += f" (the largest of {look.batches} batches a step)"
    if shape:
        words += f", samples of {'×'.join(map(str, shape))}"
    if shapes > 1:
        words += f", the largest of {shapes} shapes seen"
    taught = any(point.predicted_bytes is not None for point in known.points.values())
    return words + f"; error ± {100 * error:.1f} %, " + ("as measured" if taught else "not measured yet")
