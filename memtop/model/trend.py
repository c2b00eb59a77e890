"""Whether memory will run out if it goes on like this. Pure; remembers what it has said so that it does not flap."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from memtop.model.units import number, size

_KEPT = 64
"""Steps that a trend rests on, at most."""
_LEAST = 8
"""Steps that a trend rests on, at least."""
_AHEAD = 20
"""How many times the steps that a trend was seen over it may be carried into the future."""
_CALM = 3
"""Times in a row that the opposite must be found before a warning is taken back."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One watched step at the same moment of each."""

    step: int
    held: int
    """Tensor bytes."""
    inputs: int
    """Bytes of the batch."""
    free: int
    """Bytes that could still be had, the allocator's cache included."""
    length: int | None = None
    """Of the batch's sequences, or whatever its second dimension is; `None` where it has none."""


class Foretold(msgspec.Struct, frozen=True, kw_only=True):
    """What will not fit."""

    text: str
    remedy: str
    steps: int | None
    """Until memory is full; `None` where a larger input is what will not fit."""


def growth(seen: Sequence[Seen]) -> float | None:
    """Bytes a step by which what is held grows with inputs as large as before; `None` where it does not grow steadily.

    The second half must lie above the first throughout, and inputs must not be the reason.
    """
    if len(seen) < _LEAST:
        return None
    half = len(seen) // 2
    early, late = seen[:half], seen[half:]
    if max(one.inputs for one in late) > max(one.inputs for one in early):
        return None
    if min(one.held for one in late) <= max(one.held for one in early):
        return None
    third = max(1, len(seen) // 3)
    slopes = [_slope(seen[0], seen[-1]), _slope(seen[0], seen[-1 - third]), _slope(seen[-1 - third], seen[-1])]
    # What levels off grows less and less: the slowest of the spans is what is believed.
    least = min(slopes)
    return least if least > 0.25 * max(slopes) > 0 else None


def _slope(one: Seen, other: Seen) -> float:
    return (other.held - one.held) / max(1, other.step - one.step)


def steps_left(seen: Sequence[Seen]) -> int | None:
    """Steps until what is free is used up at the present growth; `None` where that is further than can be told."""
    rate = growth(seen)
    if rate is None:
        return None
    left = int(seen[-1].free / rate)
    return left if left <= _AHEAD * (seen[-1].step - seen[0].step) else None


def larger_input(seen: Sequence[Seen], largest: int) -> int | None:
    """Bytes that would be missing if an input of `largest` bytes came again; `None` where it fits or can't be told.

    From the newest step and another of clearly different size: what an input byte costs, by the smaller of two slopes.
    """
    if not seen or largest <= seen[-1].inputs:
        return None
    newest = seen[-1]
    others = [one for one in seen if abs(one.inputs - newest.inputs) * 4 >= max(one.inputs, newest.inputs)]
    costs = [(one.held - newest.held) / (one.inputs - newest.inputs) for one in others if one.inputs != newest.inputs]
    costs = [cost for cost in costs if cost > 0]
    if len(costs) < 2:
        return None
    missing = min(costs) * (largest - newest.inputs) - newest.free
    return int(missing) if missing > 0 else None


class Trend:
    """The steps of one device, and whether they warn."""

    def __init__(self) -> None:
        self._seen: deque[Seen] = deque(maxlen=_KEPT)
        self._largest = 0
        self._shape = ""
        self._length: int | None = None
        self._calm = 0
        self.warning: Foretold | None = None

    def add(
        self, seen: Seen, shape: str, missing: Callable[[int], int | None] = lambda length: None
    ) -> Foretold | None:
        """One more step, its inputs of `shape`; a warning where that is news. `missing` forecasts the bytes that a
        sequence so long is above the limit, 0 or less where it fits; `None` where there is no such forecast."""
        self._seen.append(seen)
        if seen.inputs >= self._largest:
            self._largest, self._shape, self._length = seen.inputs, shape, seen.length
        found = self._find(seen, missing)
        if found is not None:
            self._calm, before, self.warning = 0, self.warning, found
            return found if before is None or (before.steps is None) != (found.steps is None) else None
        self._calm += 1
        if self._calm >= _CALM:
            self.warning = None
        return None

    def _find(self, newest: Seen, forecast: Callable[[int], int | None]) -> Foretold | None:
        known = list(self._seen)
        left = steps_left(known)
        if left is not None:
            rate = growth(known) or 0.0
            text = f"this will not fit in about {number(left)} steps: {size(round(rate))} more with every step"
            return Foretold(text=text, remedy=f"{size(newest.free)} are left; the lines say what is kept", steps=left)
        advice = "cap the length, or use a smaller batch for long inputs"
        above = None if self._length is None else forecast(self._length)
        if above is not None:
            if above <= 0:
                return None
            text = f"one more sequence of length {number(self._length)} will not fit: ~{size(above)} would be missing"
            return Foretold(text=text, remedy=advice, steps=None)
        missing = larger_input(known, self._largest)
        if missing is None:
            return None
        text = f"one more input like the largest so far, {self._shape}, will not fit: {size(missing)} would be missing"
        return Foretold(text=text, remedy=advice, steps=None)
