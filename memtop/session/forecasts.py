"""Which batch fits: what deep looks said of growth, held against the device as it is. Kept over a session's restarts.

Runs that differ in the batch size alone are the same training: a look at one batch forecasts the next, and what is
measured there teaches the error. Any other setting makes another training, which is remembered by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Final

import msgspec

from memtop.model.forecast import (
    UNTAUGHT,
    Affine,
    OfPixels,
    Point,
    Quadratic,
    error_bytes,
    error_of,
    highest,
    max_batch,
    max_length,
    peak_at,
    peak_of_length,
)
from memtop.model.forecast_record import ForecastRecord
from memtop.model.process_limit import DEVICE, PIECES, ProcessLimit, Room, kept, room, tightest
from memtop.model.records import InputTensor, MemoryRecord, Setting
from memtop.model.text import harmless, one_line
from memtop.protocol import records as wire

_SAME: Final = frozenset({"batch_size", "steps", "seed", "learning_rate"})
"""Settings that leave what a sample costs as it is."""
_TAKEN: Final = ("runtime", "context", "other_processes")
"""What tensors can't have."""
_MOVED: Final = 0.02
"""The limit moves with every sample of the device: a smaller share of it is no news."""

Shape = tuple[int, ...]
Now = Callable[[str], MemoryRecord | None]
"""The newest memory record of a device."""


class _Look(msgspec.Struct):
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


class _Known(msgspec.Struct):
    """What is known of one training with samples of one shape."""

    looks: dict[int, _Look] = msgspec.field(default_factory=dict)
    """By batch size, the newest."""
    points: dict[int, Point] = msgspec.field(default_factory=dict)

    def add(self, look: _Look, peak: int) -> None:
        """A deep look and its measured peak. The forecast for its batch was made from the nearest other one."""
        others = [one for one in self.looks.values() if one.batch != look.batch]
        nearest = min(others, key=lambda one: (abs(one.batch - look.batch), one.batch), default=None)
        predicted = None if nearest is None else peak_at(nearest.lines, look.batch)
        self.looks[look.batch] = look
        self.points[look.batch] = Point(batch_size=look.batch, measured_bytes=peak, predicted_bytes=predicted)

    @property
    def best(self) -> _Look:
        """The look at the largest batch: the nearest to the limit."""
        return self.looks[max(self.looks)]


class Forecasts:
    """The forecasts of a session, for the training that runs."""

    def __init__(self) -> None:
        self._training: str = ""
        self._fresh = False
        """A run has begun whose log has not been told yet."""
        self._known: dict[tuple[str, str], dict[Shape, _Known]] = {}
        self._limits: dict[tuple[str, str], tuple[ProcessLimit, ...]] = {}
        """Those on the process itself, by training and device, as the newest look found them."""
        self._newest: dict[tuple[str, str], ForecastRecord] = {}
        """By training and device."""
        self._seen: dict[str, Shape] = {}
        """By training, the largest sample of any batch."""
        self._lengths: dict[tuple[str, str], dict[tuple[int, int], _Look]] = {}
        """By training and device, then by batch size and length: the newest look at sequences."""
        self._missed: dict[tuple[str, str], dict[tuple[int, int], float]] = {}
        """Likewise what forecasts of a length from another one at the same batch were off by, as shares."""

    def begin(self, scenario: str | None, settings: Mapping[str, Setting]) -> None:
        """A target starts with these settings."""
        self._fresh = True
        self._training = repr((scenario, sorted((name, one) for name, one in settings.items() if name not in _SAME)))

    def saw(self, inputs: Sequence[InputTensor]) -> None:
        """A batch of these tensors was seen in a watched step, not necessarily by a deep look."""
        shape = tuple(inputs[0].shape[1:]) if inputs else ()
        if prod(shape) > prod(self._seen.get(self._training, ())):
            self._seen[self._training] = shape

    def newest(self, device: str) -> ForecastRecord | None:
        """The forecast for a device; `None` before the first deep look of this training."""
        return self._newest.get((self._training, device))

    def records(self) -> list[ForecastRecord]:
        """What a log that starts now is told."""
        return [one for (training, _), one in self._newest.items() if training == self._training]

    def heard(self, t: float, message: wire.Scaling, now: Now) -> list[ForecastRecord]:
        """A deep look told of growth."""
        device, lines = one_line(message.device, 20), _lines(message)
        if not lines:
            return []
        look = _look(t, message, lines)
        self._teach(device, look)
        self._limits[self._training, device] = tuple(
            ProcessLimit(name=one_line(one.name, 20), bytes=one.bytes, beside=one.beside) for one in message.limits
        )
        shapes = self._known.setdefault((self._training, device), {})
        shapes.setdefault(tuple(message.sample_shape), _Known()).add(look, message.peak)
        made = self._made(t, device, now)
        self._newest[self._training, device], self._fresh = made, False
        return [made]

    def played(self, record: ForecastRecord) -> None:
        """A log's own word."""
        self._newest[self._training, record.device] = record

    def _teach(self, device: str, look: _Look) -> None:
        """A look at sequences: how far the forecast from the nearest other length at this batch was off."""
        if look.length is None:
            return
        looks = self._lengths.setdefault((self._training, device), {})
        others = [one for one in looks.values() if one.batch == look.batch and one.curves and one.length != look.length]
        nearest = min(others, key=lambda one: abs((one.length or 0) - (look.length or 0)), default=None)
        looks[look.batch, look.length] = look
        predicted = 0 if nearest is None else peak_of_length(nearest.curves, look.length)
        if predicted > 0:
            missed = self._missed.setdefault((self._training, device), {})
            missed[look.batch, look.length] = abs(look.peak / predicted - 1)

    def missing(self, device: str, batch: int, length: int) -> int | None:
        """Bytes by which a batch of sequences so long is forecast to be above the limit, below 0 where it fits. `None`
        where that is not known, or for another batch."""
        made = self.newest(device)
        if made is None or not made.lengths or made.limit_bytes is None or batch != made.batch_size:
            return None
        return peak_of_length(made.lengths, length) - made.limit_bytes

    def room(self, device: str, batch: int, now: Now) -> int | None:
        """What tensors can have now in a step of that batch size; `None` where it is not known."""
        shapes = self._known.get((self._training, device))
        if not shapes:
            return None
        _, known = self._largest(shapes)
        limit = _limit(device, now(device), known.best.rounding)
        limits = self._limits.get((self._training, device), ())
        look = known.best
        rooms = [one.left - kept(one, look.lines, look.blocks, look.batch, batch) for one in limits]
        return min([*(max(0, one) for one in rooms), *([] if limit is None else [limit])], default=None)

    def missing_image(self, device: str, batch: int, pixels: int) -> int | None:
        """The same of a batch of images of so many pixels."""
        made = self.newest(device)
        if made is None or not made.pixels or made.limit_bytes is None or batch != made.batch_size:
            return None
        return peak_of_length(made.pixels, pixels) - made.limit_bytes

    def sampled(self, t: float, now: Now) -> list[ForecastRecord]:
        """A device was read: the limit may have moved. A record where the answer did."""
        changed = []
        for before in self.records():
            made = self._made(t, before.device, now)
            if made.limit_bytes is not None and (self._fresh or _moved(before, made)):
                self._newest[self._training, before.device] = made
                changed.append(made)
        self._fresh = self._fresh and not changed
        return changed

    def _made(self, t: float, device: str, now: Now) -> ForecastRecord:
        shapes = self._known[self._training, device]
        shape, known = self._largest(shapes)
        look, points = known.best, sorted(known.points.values(), key=lambda point: point.batch_size)
        error = error_of(points)
        limit = _limit(device, now(device), look.rounding)
        most = None if limit is None else max_batch(look.lines, limit, error)
        process = self._of_process(device, look, error, limit, most)
        if process is not None:
            limit, most = process.bytes, process.max_batch
        at = look.batch if most is None else most
        fixed, each = (highest(look.lines, at) or look.lines[0]).tangent(at)
        error_of_pixels = max(error, UNTAUGHT) + look.rounded
        pixels = None if limit is None else max_length(look.pixels, limit, error_of_pixels)
        largest = _side_of(self._seen.get(self._training, ()), shape, look.image)
        missed = self._missed.get((self._training, device), {}).values()
        error_of_length = max(error, *missed) if missed else max(error, UNTAUGHT)
        return ForecastRecord(
            t=t,
            rank=look.rank,
            device=device,
            step=look.step,
            batch_size=look.batch,
            batches=look.batches,
            sample_shape=list(shape),
            fixed_bytes=fixed,
            bytes_per_sample=each,
            phases=list(look.lines),
            max_batch_size=most,
            limit_bytes=limit,
            error_bytes=None if most is None else error_bytes(look.lines, at, error),
            points=points,
            basis=_basis(known, shape, len(shapes), error)
            + _of_length(look, error_of_length)
            + _of_pixels(look, error_of_pixels)
            + self._larger(shape)
            + (_of_pieces(device) if process is None else f"; {process.words()}"),
            length=look.length,
            max_length=None if limit is None else max_length(look.curves, limit, error_of_length),
            lengths=list(look.curves),
            pieces_bytes=_pieces(device, limit, process),
            limit_is=None if limit is None else DEVICE if process is None else process.limit.name,
            image=list(look.image),
            max_pixels=pixels,
            bytes_per_pixel=_of_a_pixel(look.pixels, pixels or prod(look.image)),
            pixels=list(look.pixels),
            largest_image=list(largest),
            largest_image_bytes=peak_of_length(look.pixels, prod(largest)) if look.pixels and largest else None,
        )

    def _largest(self, shapes: Mapping[Shape, _Known]) -> tuple[Shape, _Known]:
        """The largest sample that was looked at, and what is known of it."""
        shape = max(shapes, key=lambda one: (prod(one), max(look.t for look in shapes[one].looks.values())))
        return shape, shapes[shape]

    def _of_process(self, device: str, look: _Look, error: float, limit: int | None, most: int | None) -> Room | None:
        """The limit on the process itself, where that decides and not the device's."""
        known = self._limits.get((self._training, device), ())
        rooms = [room(one, look.lines, error, look.blocks, look.batch) for one in known]
        return tightest(rooms, limit, most)

    def _larger(self, shape: Shape) -> str:
        seen = self._seen.get(self._training, ())
        if not shape or prod(seen) <= prod(shape):
            return ""
        return f"; samples of {'×'.join(map(str, seen))} were seen, too, which need more"


def _look(t: float, message: wire.Scaling, lines: tuple[Affine, ...]) -> _Look:
    curves = tuple(
        Quadratic(phase=harmless(one.phase, 20), fixed_bytes=fixed, bytes_per_position=once, bytes_per_pair=twice)
        for one in message.lengths
        for fixed, once, twice in one.curves
    )
    return _Look(
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


def _of_a_pixel(curves: Sequence[OfPixels], pixels: int) -> int | None:
    """What one more adds to the peak, from here to a hundredth more."""
    more = pixels // 100 + 1
    if not curves:
        return None
    return (peak_of_length(curves, pixels + more) - peak_of_length(curves, pixels)) // more


def _side_of(seen: Shape, shape: Shape, image: Shape) -> Shape:
    """Height and width of the largest sample seen, where it is larger than that which was looked at; else nothing."""
    if not image or len(seen) != len(shape) or prod(seen) <= prod(shape):
        return ()
    return seen[1:] if shape[1:] == image else seen[:2]


def _of_pixels(look: _Look, error: float) -> str:
    """What the answer for larger images rests on; nothing where the inputs are none."""
    if not look.image:
        return ""
    size = "×".join(map(str, look.image))
    if not look.pixels:
        return f"; other images than {size}: not known" + (f", {look.no_pixels}" if look.no_pixels else "")
    rounded = f" ({100 * look.rounded:.1f} % of it for sides that are rounded)" if look.rounded >= 0.0005 else ""
    return f"; other images from those of {size}, error ± {100 * error:.1f} %{rounded}"


def _of_length(look: _Look, error: float) -> str:
    """What the answer for longer sequences rests on; nothing where the inputs are no sequences."""
    if look.length is None:
        return ""
    if not look.curves:
        return f"; other lengths than {look.length}: not known" + (f", {look.why_not}" if look.why_not else "")
    return f"; other lengths from that at {look.length}, error ± {100 * error:.1f} %"


def _lines(message: wire.Scaling) -> tuple[Affine, ...]:
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


def _limit(device: str, now: MemoryRecord | None, rounding: int) -> int | None:
    """What tensors can have: what is free, what they have, and what the allocator keeps for them; on a GPU but for what
    it keeps in pieces."""
    if now is None or now.device_total is None or now.bytes.get("free") is None:
        return None
    whole = max(0, now.device_total - rounding - sum(now.bytes.get(name) or 0 for name in _TAKEN))
    return whole if device == "cpu" else whole - whole // PIECES


def _pieces(device: str, limit: int | None, process: Room | None) -> int | None:
    """What a limit on a GPU leaves to the allocator's pieces, bytes; `None` where there are none."""
    if device == "cpu" or limit is None:
        return None
    return limit // (PIECES - 1) if process is None else process.kept


def _of_pieces(device: str) -> str:
    return "" if device == "cpu" else "; a tenth of the GPU's memory is left to what torch's allocator keeps in pieces"


def _moved(before: ForecastRecord, after: ForecastRecord) -> bool:
    """Whether it says something else, or the limit is another by more than what it trembles."""
    if before.basis != after.basis:
        return True
    if before.limit_bytes is None or after.limit_bytes is None:
        return before.limit_bytes != after.limit_bytes
    return abs(after.limit_bytes - before.limit_bytes) > _MOVED * max(1, before.limit_bytes)


def _basis(known: _Known, shape: Shape, shapes: int, error: float) -> str:
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
