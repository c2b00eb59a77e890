"""The peak of each phase of a step as functions of the length of its sequences, from the powers of `lengths.py`."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any

from .births import FORWARD, HELD, PHASES
from .forms import Forms
from .lengths import Lengths, Powers, Unknown
from .pixels import Grid, Pixels
from .replay import Course, arriving

if TYPE_CHECKING:
    from .found import Found

Curve = tuple[int, int, int]
"""Bytes: fixed, and at this length those that grow with it and with its square."""

_OFF = 0.25
"""A larger error of a forecast for images of another size is no forecast."""


def lengths(found: Found, made: Course, batch: int, length: int, forms: Forms) -> list[dict[str, Any]]:
    """By phase what the peak is a function of: [fixed bytes, bytes a position, bytes a pair of positions] each.

    Raises `Unknown`.
    """
    return by_phase(found, made, Lengths(found, batch, length, forms).powers(sum(made.highest)), length)


def pixels(found: Found, made: Course, batch: int, image: Grid, forms: Forms) -> tuple[list[dict[str, Any]], float]:
    """Likewise of the pixels of an image: [fixed bytes, and at this size bytes that grow with the pixels, and with
    their square] each; and what that may be off at large sizes, as a share of it. Raises `Unknown`."""
    known = Pixels(found, batch, image, forms)
    powers = known.powers(sum(made.highest))
    if (error := known.error(made)) > _OFF:
        raise Unknown("convolutions and pooling round so small an image too much")
    told = _envelopes(found, made, powers, image[0] * image[1])
    return [{"phase": PHASES[phase], "curves": list(map(list, curves))} for phase, curves in told.items()], error


def by_phase(found: Found, made: Course, powers: Powers, length: int) -> list[dict[str, Any]]:
    """The same of anything that storages grow with powers of, and is `length` now."""
    told = _envelopes(found, made, powers, length)
    return [
        {"phase": PHASES[phase], "curves": [_whole(one, length) for one in curves]} for phase, curves in told.items()
    ]


def _envelopes(found: Found, made: Course, powers: Powers, length: int) -> dict[int, list[Curve]]:
    told = sorted(_instants(found, made, powers, length).items())
    return {phase: envelope(list(curves), length) for phase, curves in told}


def _whole(curve: Curve, length: int) -> list[int]:
    """Whole numbers whose value at this length is exact."""
    fixed, once, twice = curve
    return [fixed + once % length + twice % (length * length), once // length, twice // (length * length)]


def _instants(found: Found, made: Course, powers: Powers, length: int) -> dict[int, set[Curve]]:
    """By phase all instants that something was born or grew at, with the state that the optimizer is about to make."""
    births, sizes = found.look.births, made.held | arriving(found.look, found.ranks, made)
    now = [0, 0, 0]
    for number, size in sizes.items():
        _add(now, size, powers[number], length)
    phase, rising, told = FORWARD, True, {FORWARD: set[Curve]()}
    of_phase = told[FORWARD]
    for number, size, _ in made.steps:
        more = size - sizes.get(number, 0)
        sizes[number] = size
        if more > 0:
            begun = births[number].phase
            if begun != phase and begun != HELD:
                if rising:  # What goes on rising is higher at any length.
                    of_phase.add((now[0], now[1], now[2]))
                phase, of_phase = begun, told.setdefault(begun, set())
            rising = True
        elif more < 0 and rising:
            of_phase.add((now[0], now[1], now[2]))
            rising = False
        times, beside = powers[number]
        if beside:
            _add(now, more, powers[number], length)
        else:
            now[times] += more
    if rising:
        of_phase.add((now[0], now[1], now[2]))
    return {one: curves for one, curves in told.items() if curves}


def _add(now: list[int], size: int, power: tuple[int, int], length: int) -> None:
    """`size` bytes more of a storage that grows so. What is one position longer or shorter than the sequence is written
    out: each * (n + more), or each * (n * n + 2 * more * n + 1)."""
    times, more = power
    if not more:
        now[times] += size
        return
    each = size // (length + more) ** times
    now[times] += each * length**times
    if times > 1:
        now[1] += 2 * more * each * length
    now[0] += size - each * (length**times + (2 * more * length if times > 1 else 0))


def envelope(curves: list[Curve], length: int) -> list[Curve]:
    """Those that are the highest at some length from 1 on, in that order.

    Starts with the highest at length 1, and goes on with the one that overtakes it first.
    """
    at, left = 1, curves
    chosen: list[Curve] = []
    while True:
        highest = max(left, key=lambda one: _at(one, at, length))
        chosen.append(highest)
        first, left = _overtaken(highest, left, at, length)
        if first is None:
            return chosen
        at = first


def _overtaken(highest: Curve, curves: list[Curve], at: int, length: int) -> tuple[int | None, list[Curve]]:
    """The first whole length beyond `at` where another is above the one that is the highest there, `None` for nowhere;
    and those that may be the highest from there on."""
    fixed, once, twice = highest
    first, ahead = None, [highest]
    for one in curves:
        a, b = one[2] - twice, (one[1] - once) * length
        if a <= 0 and b <= 0:
            continue  # It is not above at `at`, and gains nothing.
        c = (one[0] - fixed) * length * length
        if a >= 0 and first is not None and (a * (first - 1) + b) * (first - 1) + c <= 0:
            ahead.append(one)  # Not before the first: what gains so rises above once.
            continue
        where = _above(a, b, c, at)
        if where is not None:
            ahead.append(one)
            first = where if first is None else min(first, where)
    return first, ahead


def _at(curve: Curve, at: int, length: int) -> int:
    """The bytes at a length, times the square of this length: whole numbers."""
    fixed, once, twice = curve
    return fixed * length * length + once * at * length + twice * at * at


def _above(a: int, b: int, c: int, at: int) -> int | None:
    """The first whole x beyond `at` where a * x * x + b * x + c is above 0, as it is not at `at`; `None`: nowhere."""
    if a == 0:
        return max(at, -c // b) + 1
    inside = b * b - 4 * a * c
    if inside < 0:
        return at + 1 if a > 0 else None
    root = (isqrt(inside) - b) // (2 * a)  # Of two the one where it rises.
    start = max(at + 1, root - 1)
    return next((x for x in range(start, max(start, root) + 4) if (a * x + b) * x + c > 0), None)
