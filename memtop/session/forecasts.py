"""Which batch fits: what deep looks said of growth, held against the device as it is. Kept over a session's restarts.

Runs that differ in the batch size alone are the same training: a look at one batch forecasts the next, and what is
measured there teaches the error. Any other setting makes another training, which is remembered by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Final

import msgspec

from memtop.model.forecast import (
    UNTAUGHT,
    Affine,
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
        shape = max(shapes, key=lambda one: (prod(one), max(look.t for look in shapes[one].looks.values())))
        known = shapes[shape]
        look, points = known.best, sorted(known.points.values(), key=lambda point: point.batch_size)
        error = error_of(points)
        limit = _limit(now(device), look.rounding)
        most = None if limit is None else max_batch(look.lines, limit, error)
        at = look.batch if most is None else most
        line = highest(look.lines, at) or look.lines[0]
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
            fixed_bytes=line.fixed_bytes,
            bytes_per_sample=line.bytes_per_sample,
            phases=list(look.lines),
            max_batch_size=most,
            limit_bytes=limit,
            error_bytes=None if most is None else error_bytes(look.lines, at, error),
            points=points,
            basis=_basis(known, shape, len(shapes), error) + _of_length(look, error_of_length) + self._larger(shape),
            length=look.length,
            max_length=None if limit is None else max_length(look.curves, limit, error_of_length),
            lengths=list(look.curves),
        )

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
    )


def _of_length(look: _Look, error: float) -> str:
    """What the answer for longer sequences rests on; nothing where the inputs are no sequences."""
    if look.length is None:
        return ""
    if not look.curves:
        return f"; other lengths than {look.length}: not known" + (f", {look.why_not}" if look.why_not else "")
    return f"; other lengths from that at {look.length}, error ± {100 * error:.1f} %"


def _lines(message: wire.Scaling) -> tuple[Affine, ...]:
    return tuple(
        Affine(phase=harmless(one.phase, 20), fixed_bytes=fixed, bytes_per_sample=grows)
        for one in message.phases
        for fixed, grows in one.lines
    )


def _limit(now: MemoryRecord | None, rounding: int) -> int | None:
    """What tensors can have: what is free, what they have, and what the allocator keeps for them."""
    if now is None or now.device_total is None or now.bytes.get("free") is None:
        return None
    return max(0, now.device_total - rounding - sum(now.bytes.get(name) or 0 for name in _TAKEN))


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
