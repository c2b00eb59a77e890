"""The help's rows: keys by heading, then what the colours and letters mean."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.segment import Segment

from memtop.model.categories import ALL, MEANING
from memtop.model.i18n import N_, _
from memtop.tui.draw.cells import Row, fit, left, wrap
from memtop.tui.palette import LETTERS, Palette, title

_ORDER = ("Here", "Training", "Looking", "memtop")
_KEYS = 11
_NAME = 17


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One binding."""

    group: str
    keys: str
    words: str
    enabled: bool


def help_rows(lines: Sequence[Line], width: int, palette: Palette) -> list[Row]:
    """All of it, `width` cells wide."""
    rows: list[Row] = []
    for group in _ORDER:
        inside = [line for line in lines if line.group == group]
        if inside:
            rows += [*_heading(_(group), palette), *_columns(inside, width, palette)]
    rows += _heading(_("Colours"), palette)
    for name in ALL:
        rows += _meaning(name, width, palette)
    rows += _heading(_("Reading the bars"), palette)
    rows += [[Segment(f" {line}", palette["dim"])] for line in wrap(_(_BARS), width - 2)]
    return [fit(row, width) for row in rows]


_BARS = N_(
    "The first bar is the whole device and always adds up. It is exact to an eighth of a cell; what is smaller is not "
    "widened to be seen: its letter in the table then stands in colour without a ground. Where the tensors are a "
    "sliver of the device, a second bar shows them alone, on the scale of their highest in this run. "
    "— is unknown, which is not zero; ~ is an estimate; figures that are old say how old."
)


def _heading(words: str, palette: Palette) -> list[Row]:
    return [Row(), [Segment(f" {words}", palette["title"])]]


def _columns(lines: Sequence[Line], width: int, palette: Palette) -> list[Row]:
    count = 2 if width >= 150 else 1
    room = width // count
    cells = [_line(line, room, palette) for line in lines]
    height = -(-len(cells) // count)
    return [[segment for x in range(count) for segment in _at(cells, y + x * height, room)] for y in range(height)]


def _at(cells: list[Row], index: int, room: int) -> Row:
    return cells[index] if index < len(cells) else [Segment(" " * room)]


def _line(line: Line, room: int, palette: Palette) -> Row:
    key, words = ("accent", "text") if line.enabled else ("key_off", "key_off")
    return fit(
        [Segment(f"  {left(line.keys, _KEYS)} ", palette[key]), Segment(_(line.words), palette[words])],
        room,
    )


def _meaning(name: str, width: int, palette: Palette) -> list[Row]:
    words = wrap(_(MEANING[name]), max(10, width - _NAME - 8))
    mark = Segment(f" {LETTERS[name]} ", palette.fill(name))
    first = [
        Segment("  "),
        mark,
        Segment(f" {left(title(name), _NAME)}", palette["text"]),
        Segment(words[0], palette["dim"]),
    ]
    return [first, *([Segment(" " * (_NAME + 6)), Segment(line, palette["dim"])] for line in words[1:])]
