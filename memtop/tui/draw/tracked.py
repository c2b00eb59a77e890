"""The marks of `memtop.track()`: what came and what went since the mark before, alike tensors in one row."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.segment import Segment

from memtop.model import units
from memtop.model.i18n import _
from memtop.model.snapshot import TensorGroup, Tracked
from memtop.model.text import one_line
from memtop.tui.draw.cells import Row, fit, flow, join, left, row_width, wrap
from memtop.tui.draw.figures import SizeColumn
from memtop.tui.draw.sheet import Sight, body, gutter, marked
from memtop.tui.view import View

NONE = (
    "no marks yet: `import memtop; memtop.track()` in the script marks a line, and what tensors came and went "
    "since the mark before stands here. Without memtop watching, the call does nothing."
)

Entry = tuple[int, int | None]
"""A row of the tab: which mark, and which of its groups (first those gained), or `None` for the mark itself."""


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """What the tab shows."""

    marks: Sequence[Tracked]
    visible: Sequence[Entry]
    sight: Sight


def entries(marks: Sequence[Tracked]) -> list[Entry]:
    """Each mark, followed by its groups."""
    return [
        (index, number)
        for index, mark in enumerate(marks)
        for number in (None, *range(len(mark.gained) + len(mark.lost)))
    ]


def tab(shown: Marks, width: int, height: int, view: View) -> list[Row]:
    """`height` rows, of which only those in sight are drawn."""
    palette = view.palette
    if not shown.marks:
        return [fit([Segment(f"  {line}", palette["dim"])], width) for line in wrap(NONE, width - 4)[:height]]
    size = SizeColumn(view.unit, max(mark.total for mark in shown.marks))

    def draw(place: int, here: bool) -> Row:
        index, number = shown.visible[place]
        mark = shown.marks[index]
        row = _mark(mark, here, width, view) if number is None else _group(mark, number, here, width, size, view)
        return marked(row, width, palette) if here else row

    return [fit(row, width) for row in body(len(shown.visible), shown.sight, height, draw)]


def _mark(mark: Tracked, here: bool, width: int, view: View) -> Row:
    palette = view.palette
    came, went = sum(group.bytes for group in mark.gained), sum(group.bytes for group in mark.lost)
    parts = [[Segment(one_line(mark.place, 200), palette["accent"])]]
    if mark.label:
        parts.append([Segment(one_line(mark.label, 200), palette["strong"])])
    parts += [[Segment(f"+{units.size(came, view.unit)}", palette["warn"])]] if came else []
    parts += [[Segment(f"−{units.size(went, view.unit)}", palette["good"])]] if went else []
    parts += [[Segment(_("no change"), palette["faint"])]] if not (mark.gained or mark.lost) else []
    parts.append([Segment(_("{size} alive").format(size=units.size(mark.total, view.unit)), palette["text"])])
    parts.append([Segment(_("at {duration}").format(duration=units.duration(mark.t)), palette["faint"])])
    return [gutter(here, palette), *join(parts, max(1, width - 2), Segment(" · ", palette["faint"]))]


def _group(mark: Tracked, number: int, here: bool, width: int, size: SizeColumn, view: View) -> Row:
    palette = view.palette
    gained = number < len(mark.gained)
    group = mark.gained[number] if gained else mark.lost[number - len(mark.gained)]
    sign = Segment("+ " if gained else "− ", palette["warn" if gained else "good"])
    words = Segment(f"{group.count:>5,} × {left(_shape(group), max(8, min(26, width - 36)))}", palette["text"])
    start = [gutter(here, palette), Segment("  "), sign, words, Segment("  "), Segment(size.text(group.bytes))]
    parts = [[Segment(one_line(word, 60), palette["dim"])] for word in (group.dtype, group.kind, group.device)]
    return [*start, Segment("  "), *flow(parts, max(1, width - row_width(start) - 2), 1, Segment("  "))[0]]


def _shape(group: TensorGroup) -> str:
    if not group.shape:
        return "()"
    return f"({', '.join(map(str, group.shape))}{',' if len(group.shape) == 1 else ''})"
