"""The peak of each phase of a step as functions of the length of its sequences, from the powers of `lengths.py`."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any

from .attribution import STATE
from .births import FORWARD, HELD, OPTIMIZER, PHASES
from .lengths import Lengths, Powers
from .replay import Course

if TYPE_CHECKING:
    from .found import Found

Curve = tuple[int, int, int]
"""Bytes: fixed, and at this length those that grow with it and with its square."""


def lengths(found: Found, made: Course, batch: int, length: int) -> list[dict[str, Any]]:
    """By phase what the peak is a function of: [fixed bytes, bytes a position, bytes a pair of positions] each.

    Raises `Unknown`.
    """
    powers = Lengths(found, batch, length).powers(sum(made.highest))
    return [
        {"phase": PHASES[phase], "curves": [_whole(one, length) for one in envelope(list(curves), length)]}
        for phase, curves in sorted(_instants(found, made, powers, length).items())
    ]


def _whole(curve: Curve, length: int) -> list[int]:
    """Whole numbers whose value at this length is exact."""
    fixed, once, twice = curve
    return [fixed + once % length + twice % (length * length), once // length, twice // (length * length)]


def _instants(found: Found, made: Course, powers: Powers, length: int) -> dict[int, set[Curve]]:
    """By phase all instants that something was born or grew at, with the state that the optimizer is about to make."""
    births, ranks = found.look.births, found.ranks
    state = {n for n in made.standing() if ranks[n] == STATE and births[n].phase == OPTIMIZER}
    sizes = made.held | {n: size for n, size in made.standing().items() if n in state}
    now = [0, 0, 0]
    for number, size in sizes.items():
        _add(now, size, powers[number], length)
    phase, rising, told = FORWARD, True, {FORWARD: set[Curve]()}
    for number, size, _ in made.steps:
        more = size - sizes.get(number, 0)
        begun = births[number].phase if more > 0 and births[number].phase != HELD else phase
        if rising and (more < 0 or begun != phase):  # What goes on rising is higher at any length.
            told.setdefault(phase, set()).add((now[0], now[1], now[2]))
        sizes[number], phase, rising = size, begun, more > 0 or (rising and not more)
        _add(now, more, powers[number], length)
    if rising:
        told.setdefault(phase, set()).add((now[0], now[1], now[2]))
    return told


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
    at, curves = 1, _undominated(curves, length)
    highest = max(curves, key=lambda one: _at(one, at, length))
    chosen = [highest]
    while True:
        overtaken = [(_overtakes(highest, one, at, length), one) for one in curves if one != highest]
        ahead = [(where, one) for where, one in overtaken if where is not None]
        if not ahead:
            return chosen
        # What never overtakes this one is nowhere the highest from here on.
        curves = [highest, *(one for _, one in ahead)]
        at = min(where for where, _ in ahead)
        highest = max(curves, key=lambda one: _at(one, at, length))
        chosen.append(highest)


def _undominated(curves: list[Curve], length: int) -> list[Curve]:
    """Without most of those that are nowhere the highest: less in all than one that is the highest somewhere."""
    tops = {max(curves, key=lambda one: _at(one, at, length)) for at in (1, length, length << 4, length << 12)}
    return [
        one
        for one in curves
        if one in tops or not any(one[0] <= top[0] and one[1] <= top[1] and one[2] <= top[2] for top in tops)
    ]


def _at(curve: Curve, at: int, length: int) -> int:
    """The bytes at a length, times the square of this length: whole numbers."""
    fixed, once, twice = curve
    return fixed * length * length + once * at * length + twice * at * at


def _overtakes(before: Curve, after: Curve, at: int, length: int) -> int | None:
    """The first whole length beyond `at` where another is above; `None` for nowhere."""
    fixed, once, twice = (other - one for one, other in zip(before, after, strict=True))
    a, b, c = twice, once * length, fixed * length * length
    if a <= 0 and b <= 0:
        return None  # It is not above at `at`, and gains nothing.
    if a == 0:
        where = max(at, -c // b) + 1
        return where if _at(after, where, length) > _at(before, where, length) else where + 1
    inside = b * b - 4 * a * c
    if inside < 0:
        return at + 1 if a > 0 else None
    ends = sorted((-b + sign * isqrt(inside)) // (2 * a) for sign in (-1, 1))
    stops = sorted({at + 1, *(max(at + 1, end + step) for end in ends for step in (-1, 0, 1, 2))})
    return next((stop for stop in stops if _at(after, stop, length) > _at(before, stop, length)), None)
