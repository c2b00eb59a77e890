"""How high a step's memory will be at another batch size, and which batch fits: pure arithmetic in whole bytes.

A step is a set of affine functions of the batch size, several for each phase (an upper envelope: the highest instant at
one batch is not the highest at another); its peak is the highest of them. What a deep look saw is exact at the batch it
saw. `error` is a share of the peak, learned from what was measured at other batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import ceil
from typing import Final

import msgspec

LARGEST: Final = 1 << 40
"""Batch sizes beyond this are no answer: nothing that matters grows with the batch."""
TAUGHT: Final = 0.013
"""The least error, as a share of the peak: scratch inside operators, which a deep look on the CPU can't see, was at
most so much of the allocator's own peak (a ResNet-18; 0 to 1.3 % over five models)."""
UNTAUGHT: Final = 0.02
"""The error of a forecast that no second batch has been held against. Forecasts at 2, 4 and 8 times the batch were off
by 0.2 % at most (`tests/bench/bench_forecast.py`); the rest is for models unlike those."""


class Affine(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one phase of a step as a function of the batch size."""

    phase: str
    """`data`, `forward`, `backward`, `recompute` or `optimizer`."""
    fixed_bytes: int
    """What stays, whatever the batch."""
    bytes_per_sample: int
    """What each sample adds."""

    def at(self, batch: int) -> int:
        """Bytes at this batch size."""
        return self.fixed_bytes + self.bytes_per_sample * batch


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A batch size whose peak was measured by a deep look."""

    batch_size: int
    measured_bytes: int
    predicted_bytes: int | None = None
    """What was forecast from another batch; `null` where there was none to forecast from."""


class Quadratic(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one phase of a step as a function of the length of its sequences, at one batch size."""

    phase: str
    """`data`, `forward`, `backward`, `recompute` or `optimizer`."""
    fixed_bytes: int
    """What stays, whatever the length; below 0 where something is a position shorter than the sequence."""
    bytes_per_position: int
    """What each position adds: a token, with all its samples."""
    bytes_per_pair: int
    """What each pair of positions adds: the scores of attention."""

    def at(self, length: int) -> int:
        """Bytes at this length."""
        return self.fixed_bytes + self.bytes_per_position * length + self.bytes_per_pair * length * length


def peak_of_length(curves: Iterable[Quadratic], length: int) -> int:
    """The peak at this length, bytes; 0 for no functions."""
    return max((curve.at(length) for curve in curves), default=0)


def max_length(curves: Sequence[Quadratic], limit: int, margin: float = 0.0) -> int | None:
    """The longest sequence whose peak, raised by `margin` (a share of it), is at most `limit` bytes.

    0 where not even the shortest fits; `None` where nothing grows with the length, so that memory sets no bound.
    """
    room = int(limit / (1 + Fraction(margin).limit_denominator(10**9)))
    if not curves or peak_of_length(curves, LARGEST) <= room:
        return None
    low, high = 0, LARGEST  # Bytes never fall as the length grows: what fits is found by halving.
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if peak_of_length(curves, middle) <= room else (low, middle)
    return low


def highest(lines: Iterable[Affine], batch: int) -> Affine | None:
    """The function that makes the peak at this batch size; `None` where there is none."""
    return max(lines, key=lambda line: line.at(batch), default=None)


def peak_at(lines: Iterable[Affine], batch: int) -> int:
    """The peak at this batch size, bytes; 0 for no functions."""
    return max((line.at(batch) for line in lines), default=0)


def max_batch(lines: Iterable[Affine], limit: int, margin: float = 0.0, multiple_of: int = 1) -> int | None:
    """The largest batch size whose peak, raised by `margin` (a share of it), is at most `limit` bytes.

    A multiple of `multiple_of`; 0 where not even the smallest fits; `None` where nothing grows with the batch, so that
    memory sets no bound. Raises `ValueError` for a margin below 0 or a multiple below 1.
    """
    if margin < 0 or multiple_of < 1:
        raise ValueError("a margin is 0 or more, a multiple 1 or more")
    room = int(limit / (1 + Fraction(margin).limit_denominator(10**9)))
    bounds = []
    for line in lines:
        if line.bytes_per_sample > 0:
            bounds.append((room - line.fixed_bytes) // line.bytes_per_sample)
        elif line.fixed_bytes > room:
            return 0
    if not bounds or min(bounds) > LARGEST:
        return None
    return max(0, min(bounds)) // multiple_of * multiple_of


def error_of(points: Iterable[Point]) -> float:
    """The error to allow for, as a share of the peak: the largest that was seen; `UNTAUGHT` where none could be."""
    seen = [
        abs(point.measured_bytes / point.predicted_bytes - 1) for point in points if point.predicted_bytes is not None
    ]
    return max(TAUGHT, *seen) if seen else UNTAUGHT


def error_bytes(lines: Sequence[Affine], batch: int, error: float) -> int:
    """That share at a batch size, bytes, rounded up."""
    return ceil(peak_at(lines, batch) * error)
