"""Lines of facts, as the machine's panels need them: a label, figures, a level, words; and which of them fit."""

from __future__ import annotations

from rich.segment import Segment

from memtop.model import units
from memtop.model.i18n import _
from memtop.tui.draw.cells import Row, join, left, row_width
from memtop.tui.draw.spark import load_role, meter
from memtop.tui.palette import Palette
from memtop.tui.view import View

LABEL = 7
"""Cells of the label at the left."""
Ranked = tuple[int, Row]
"""A line and how soon it may be left out: the higher, the sooner."""


def best(lines: list[Ranked], height: int) -> list[Row]:
    """The `height` lines that matter most, in their order."""
    order = sorted(range(len(lines)), key=lambda index: (lines[index][0], index))
    return [lines[index][1] for index in sorted(order[: max(0, height)])]


def label(words: str, palette: Palette) -> Segment:
    return Segment(left(words, LABEL), palette["dim"])


def words(parts: list[str | None], width: int, palette: Palette, role: str = "dim") -> Row:
    return join([[Segment(part, palette[role])] for part in parts if part], width, Segment(" · ", palette["faint"]))


def percent(value: float | None, palette: Palette) -> Row:
    return [Segment("  —  " if value is None else f"{value:3.0f} %", palette["text" if value is not None else "faint"])]


def with_meter(
    start: Row, end: Row, part: float | None, whole: float | None, width: int, palette: Palette, calm: bool = False
) -> Row:
    """Figures at the left, a level in the middle, more figures at the right; the level takes what is left."""
    room = width - row_width(start) - row_width(end) - (4 if end else 2)
    if room < 6:
        return join([start, end], width, Segment("  "))
    role = "meter" if calm or part is None or not whole else load_role(100 * part / whole)
    gap = [Segment("  "), *end] if end else []
    return [*start, Segment("  "), *meter(part, whole, min(room, 40), palette, role), *gap]


def of(part: int | None, whole: int | None, view: View) -> Row:
    palette = view.palette
    return [
        Segment(units.size(part, view.unit).rjust(8), palette["text"]),
        Segment(_(" of {size}").format(size=units.size(whole, view.unit)), palette["dim"]),
    ]
