"""Which batch fits: what deep looks said of growth, held against the device as it is. Kept over a session's restarts.

Runs that differ in the batch size alone are the same training: a look at one batch forecasts the next, and what is
measured there teaches the error. Any other setting makes another training, which is remembered by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Final

from memtop.model.forecast import (
    UNTAUGHT,
    error_bytes,
    error_of,
    highest,
    max_batch,
    max_length,
    peak_of_length,
)
from memtop.model.forecast_record import ForecastRecord
from memtop.model.process_limit import DEVICE, PIECES, ProcessLimit, Room, kept, room, tightest
from memtop.model.records import InputTensor, MemoryRecord, Setting
from memtop.model.text import one_line
from memtop.protocol import records as wire
from memtop.session.grown import (
    Known,
    Look,
    Shape,
    basis,
    length_words,
    lines_of,
    looked,
    of_a_pixel,
    pixel_words,
    side_of,
)

_SAME: Final = frozenset({"batch_size", "steps", "seed", "learning_rate"})
"""Settings that leave what a sample costs as it is."""
_TAKEN: Final = ("runtime", "context", "other_processes")
"""What tensors can't have."""
_MOVED: Final = 0.02
"""The limit moves with every sample of the device: a smaller share of it is no news."""

Now = Callable[[str], MemoryRecord | None]
"""The newest memory record of a device."""


class Forecasts:
    """The forecasts of a session, for the training that runs."""

    def __init__(self) -> None:
        self._training: str = ""
        self._fresh = False
        """A run has begun whose log has not been told yet."""
        self._known: dict[tuple[str, str], dict[Shape, Known]] = {}
        self._limits: dict[tuple[str, str], tuple[ProcessLimit, ...]] = {}
        """Those on the process itself, by training and device, as the newest look found them."""
        self._newest: dict[tuple[str, str], ForecastRecord] = {}
        """By training and device."""
        self._seen: dict[str, Shape] = {}
        """By training, the largest sample of any batch."""
        self._lengths: dict[tuple[str, str], dict[tuple[int, int], Look]] = {}
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
        device, lines = one_line(message.device, 20), lines_of(message)
        if not lines:
            return []
        look = looked(t, message, lines)
        self._teach(device, look)
        self._limits[self._training, device] = tuple(
            ProcessLimit(name=one_line(one.name, 20), bytes=one.bytes, beside=one.beside) for one in message.limits
        )
        shapes = self._known.setdefault((self._training, device), {})
        shapes.setdefault(tuple(message.sample_shape), Known()).add(look, message.peak)
        made = self._made(t, device, now)
        self._newest[self._training, device], self._fresh = made, False
        return [made]

    def played(self, record: ForecastRecord) -> None:
        """A log's own word."""
        self._newest[self._training, record.device] = record

    def _teach(self, device: str, look: Look) -> None:
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
        largest = side_of(self._seen.get(self._training, ()), shape, look.image)
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
            basis=basis(known, shape, len(shapes), error)
            + length_words(look, error_of_length)
            + pixel_words(look, error_of_pixels)
            + self._larger(shape)
            + (_of_pieces(device) if process is None else f"; {process.words()}"),
            length=look.length,
            max_length=None if limit is None else max_length(look.curves, limit, error_of_length),
            lengths=list(look.curves),
            pieces_bytes=_pieces(device, limit, process),
            limit_is=None if limit is None else DEVICE if process is None else process.limit.name,
            image=list(look.image),
            max_pixels=pixels,
            bytes_per_pixel=of_a_pixel(look.pixels, pixels or prod(look.image)),
            pixels=list(look.pixels),
            largest_image=list(largest),
            largest_image_bytes=peak_of_length(look.pixels, prod(largest)) if look.pixels and largest else None,
        )

    def _largest(self, shapes: Mapping[Shape, Known]) -> tuple[Shape, Known]:
        """The largest sample that was looked at, and what is known of it."""
        shape = max(shapes, key=lambda one: (prod(one), max(look.t for look in shapes[one].looks.values())))
        return shape, shapes[shape]

    def _of_process(self, device: str, look: Look, error: float, limit: int | None, most: int | None) -> Room | None:
        """The limit on the process itself, where that decides and not the device's."""
        known = self._limits.get((self._training, device), ())
        rooms = [room(one, look.lines, error, look.blocks, look.batch) for one in known]
        return tightest(rooms, limit, most)

    def _larger(self, shape: Shape) -> str:
        seen = self._seen.get(self._training, ())
        if not shape or prod(seen) <= prod(shape):
            return ""
        return f"; samples of {'×'.join(map(str, seen))} were seen, too, which need more"


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
