"""The events of a look, played again with what each storage is: bytes by category through one step, and its peak."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .attribution import CATEGORIES, STATE
from .births import HELD, OPTIMIZER, Moment, Resize
from .look import Look

POINTS = 4000
"""Points of a trace, at most."""

Vector = tuple[int, ...]
"""Bytes by category, in the order of `CATEGORIES`."""

Change = tuple[int, int, int]
"""Birth, the bytes that it has from now on (0: it died), and the time."""


@dataclass
class Course:
    """One device through one step. Times are `time.monotonic_ns()`, sizes bytes."""

    device: str
    held: dict[int, int]
    """Bytes by birth of what was there before the step."""
    times: list[int]
    points: list[Vector]
    """What was held after each change, the state at the start first."""
    steps: list[Change] = field(default_factory=list)
    """The changes; `points[n]` is what was held after `n` of them."""
    moments: dict[str, tuple[int, int]] = field(default_factory=dict)
    """When each moment was, and after how many changes."""
    peak: int = 0
    """The index of the highest point, the first of several."""
    cause: int = -1
    """The birth that reached the peak; -1 where the step never rose above its start."""
    played: bool = False
    """Whether the allocator's own record was played: scratch inside operators is among the births then."""
    counters: dict[str, int] | None = None
    """Of a course so played: the allocator's counters at the peak, where they can be told."""
    _standing: dict[int | None, dict[int, int]] = field(default_factory=dict)
    """What was alive after so many changes, as far as somebody has asked. Only once the course is whole."""

    @property
    def highest(self) -> Vector:
        """What the peak was made of."""
        return self.points[self.peak]

    def standing(self, count: int | None = None) -> dict[int, int]:
        """Bytes by birth of what was alive after `count` changes (all of them where it is `None`). Asked for again and
        again: not to be changed."""
        known = self._standing.get(count)
        if known is None:
            sizes = dict(self.held)
            for number, size, _ in self.steps[:count]:
                sizes[number] = size
            known = self._standing[count] = {number: size for number, size in sizes.items() if size}
        return known


def changes(look: Look) -> Iterator[Change | Moment]:
    """The events as changes of one storage each. A death has the time of the event before it.

    Where autograd adds up the gradients of a tensor with several users it does so in place, but not under a dispatch
    mode: there the sum is born and the old one dies at once. Such a death is told first, so that what only the look
    itself brought about does not count.
    """
    numbers = {id(ref): number for number, ref in enumerate(look.refs)}
    births, events = look.births, list(look.events)
    at, told = look.began, -1
    for index, event in enumerate(events):
        if type(event) is int:
            at = births[event].at
            told = _replaced(look.sums[event], events, index + 1, numbers) if event in look.sums else -1
            if told >= 0:
                yield told, 0, at
            yield event, births[event].bytes, at
        elif type(event) is Moment:
            at = event.at
            yield event
        elif type(event) is Resize:
            yield event.birth, event.bytes, at
        elif (number := numbers[id(event)]) != told:
            yield number, 0, at


def _replaced(summands: tuple[int, ...], events: list[Any], index: int, numbers: dict[int, int]) -> int:
    """Which of the summands dies before anything else is born; -1 for none."""
    while index < len(events) and (number := numbers.get(id(events[index]))) is not None:
        if number in summands:
            return number
        index += 1
    return -1


def course(look: Look, ranks: list[int], device: str, events: list[Change | Moment]) -> Course:
    """What happened on one device. `events` are the look's `changes`."""
    held = {n: one.bytes for n, one in enumerate(look.births) if one.phase == HELD and one.device == device}
    now = [0] * len(CATEGORIES)
    for number, size in held.items():
        now[ranks[number]] += size
    made = Course(device, held, [look.began], [tuple(now)])
    total = best = sum(now)
    sizes, births, steps = dict(held), look.births, made.steps
    for event in events:
        if isinstance(event, Moment):
            made.moments.setdefault(event.name, (event.at, len(steps)))
            continue
        number, size, at = event
        if births[number].device != device:
            continue
        grown = size - sizes.get(number, 0)
        sizes[number] = size
        now[ranks[number]] += grown
        total += grown
        steps.append(event)
        made.times.append(at)
        made.points.append(tuple(now))
        if total > best:
            best, made.peak, made.cause = total, len(steps), number
    return made


def arriving(look: Look, ranks: list[int], made: Course) -> dict[int, int]:
    """Bytes by birth of state that an optimizer made in this step and keeps: the next step has it from its start."""
    births = look.births
    return {
        number: size
        for number, size in made.standing().items()
        if ranks[number] == STATE and births[number].phase == OPTIMIZER
    }


def thinned(made: Course, limit: int = POINTS) -> tuple[list[int], int]:
    """Indices of at most `limit` points, first and last among them, and which of them is the peak.

    Each stretch keeps its highest point and its last, so nothing between two kept points was higher than both.
    """
    count = len(made.points)
    if count <= limit:
        return list(range(count)), made.peak
    totals = [sum(point) for point in made.points]
    stretch = -(-count // (limit // 2 - 1))
    kept = {0, made.peak}
    for start in range(0, count, stretch):
        end = min(start + stretch, count)
        kept |= {max(range(start, end), key=totals.__getitem__), end - 1}
    chosen = sorted(kept)
    return chosen, chosen.index(made.peak)
