"""One step through time: which points of a trace a picture shows, and where its phases lie. Arithmetic only."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

import msgspec

from memtop.model.deep_records import TraceRecord
from memtop.model.text import one_line
from memtop.tui.draw.remember import Remembered

CLOSEST: Final = 4096
"""How many times larger than the whole step a part of it can be shown."""


class Window(msgspec.Struct, frozen=True):
    """The part of a step that is shown, seconds since it began."""

    start: float
    end: float

    @property
    def span(self) -> float:
        """Seconds from left to right."""
        return self.end - self.start


class Span(msgspec.Struct, frozen=True):
    """One phase of the step, seconds since it began."""

    name: str
    start: float
    end: float


def _sound(trace: TraceRecord) -> bool:
    count = len(trace.times)
    return (
        0 <= trace.peak < count == len(trace.points)
        and all(len(point) == len(trace.columns) for point in trace.points)
        and all(before <= after for before, after in zip(trace.times, trace.times[1:], strict=False))
    )


sound: Remembered[TraceRecord, bool] = Remembered(_sound)
"""Whether a trace is what it says: a target may send anything."""


def whole(trace: TraceRecord) -> Window:
    """All of the step, its last point included."""
    return Window(0.0, max(trace.seconds, trace.times[-1] if trace.times else 0.0, 1e-9))


def around(trace: TraceRecord, at: float, zoom: int) -> Window:
    """The step `zoom` times enlarged, as near to `at` in its middle as the step's ends allow."""
    every = whole(trace)
    span = every.span / max(1, zoom)
    start = min(max(0.0, at - span / 2), every.end - span)
    return Window(start, start + span)


def holding(trace: TraceRecord, window: Window, at: float) -> Window:
    """The window moved no further than it must so that `at` is in it."""
    if window.start <= at <= window.end:
        return window
    every = whole(trace)
    start = at if at < window.start else at - window.span
    start = min(max(0.0, start), max(0.0, every.end - window.span))
    return Window(start, start + window.span)


def column_of(at: float, window: Window, width: int) -> int | None:
    """The column that a time falls into; `None` outside of the window."""
    if not window.start <= at <= window.end or width <= 0:
        return None
    return min(width - 1, int((at - window.start) / window.span * width))


def _totals(trace: TraceRecord) -> list[int]:
    return [sum(value for value in point if value > 0) for point in trace.points]


totals: Remembered[TraceRecord, list[int]] = Remembered(_totals)
"""What a picture stacks at each point: the sum of its categories, of which none is drawn below zero."""


def slots(trace: TraceRecord, window: Window, width: int) -> list[int | None]:
    """For each of `width` columns the index of its highest point: a mean would hide the peak.

    A column without a point of its own shows the last one before it, since bytes stay until they are freed; before
    the first point there is nothing.
    """
    sums, times = totals(trace), trace.times
    edges = [window.start + window.span * x / width for x in range(1, width)]
    # The last column holds its right edge, so that the step's end is in the picture.
    ends = [bisect_left(times, edge) for edge in edges] + [bisect_right(times, window.end)]
    start = bisect_left(times, window.start)
    found: list[int | None] = []
    for end in ends:
        if end > start:
            found.append(max(range(start, end), key=sums.__getitem__))
        else:
            found.append(start - 1 if start > 0 else None)
        start = max(start, end)
    return found


def moved(trace: TraceRecord, window: Window, width: int, at: int, by: int) -> int:
    """The point `by` shown points to the right of point `at` (to the left where negative).

    From the window's edge on it is the next point of the trace, whether it is shown or not.
    """
    shown = dict.fromkeys(point for point in slots(trace, window, width) if point is not None)
    ahead = sorted((point for point in shown if (point > at if by > 0 else point < at)), reverse=by < 0)
    if not ahead:
        return max(0, min(len(trace.times) - 1, at + (1 if by > 0 else -1)))
    return ahead[min(abs(by), len(ahead)) - 1]


def first_from(times: Sequence[float], at: float) -> int:
    """The index of the first point at a time or after it; the last one where there is none."""
    return min(bisect_left(times, at), max(0, len(times) - 1))


def nearest(times: Sequence[float], at: float) -> int:
    """The index of the point nearest to a time; 0 where there is none."""
    if not times:
        return 0
    after = bisect_left(times, at)
    if after == 0:
        return 0
    if after == len(times):
        return len(times) - 1
    return after if times[after] - at < at - times[after - 1] else after - 1


def _spans(trace: TraceRecord) -> list[Span]:
    ends = [mark.at for mark in trace.marks[1:]] + [whole(trace).end]
    return [
        Span(one_line(mark.name, 40), mark.at, end)
        for mark, end in zip(trace.marks, ends, strict=True)
        if mark.name != "end" and end > mark.at
    ]


spans: Remembered[TraceRecord, list[Span]] = Remembered(_spans)
"""The phases in their order; what lies after the step's end is none."""


def phase_at(trace: TraceRecord, at: float) -> str | None:
    """The phase that a time lies in."""
    return next((span.name for span in reversed(spans(trace)) if span.start <= at <= span.end), None)


def bands(trace: TraceRecord, window: Window, width: int) -> list[str | None]:
    """The phase of each column: that which takes most of its time."""
    found: list[str | None] = []
    inside = [span for span in spans(trace) if span.end > window.start and span.start < window.end]
    step, first = window.span / width, 0
    for x in range(width):
        left, right = window.start + x * step, window.start + (x + 1) * step
        while first < len(inside) and inside[first].end <= left:
            first += 1
        best, most = None, 0.0
        for span in inside[first:]:
            if span.start >= right:
                break
            shared = min(right, span.end) - max(left, span.start)
            if shared > most:
                best, most = span.name, shared
        found.append(best)
    return found


def ticks(window: Window, width: int, room: int) -> list[tuple[int, float]]:
    """(column, seconds) at round times, `room` cells apart at least."""
    least = window.span * room / max(1, width)
    if least <= 0:
        return []
    power = 1e-12
    while power * 10 <= least:
        power *= 10
    step = next((power * factor for factor in (1, 2, 5, 10) if power * factor >= least), power * 10)
    found, number = [], int(window.start / step)
    while number * step <= window.end:
        column = column_of(number * step, window, width)
        if column is not None:
            found.append((column, number * step))
        number += 1
    return found
