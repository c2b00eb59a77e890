"""What the tables of a deep look share: columns that go where there is no room, a mark, and what is in sight."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from rich.segment import Segment
from rich.style import Style

from memtop.model.i18n import _
from memtop.tui.draw.cells import Row, fit, left, right
from memtop.tui.palette import Palette

GAP = 2
"""Cells between two columns."""


class Column(msgspec.Struct, frozen=True):
    """One column of figures."""

    name: str
    title: str
    width: int
    wanted: int
    """How soon it may be left out: the higher, the sooner."""
    at_left: bool = False


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows are in sight, and which one is marked."""

    cursor: int = 0
    top: int = 0

    def moved(self, to: int, count: int, height: int) -> Sight:
        """The mark on row `to` of `count`, moved into sight by as little scrolling as that takes."""
        cursor = max(0, min(to, count - 1))
        top = max(cursor - max(1, height) + 1, min(self.top, cursor))
        return Sight(cursor=cursor, top=max(0, min(top, max(0, count - height))))


def chosen(columns: Sequence[Column], width: int, least: int) -> list[Column]:
    """The columns that fit beside a first one of `least` cells, in their order."""
    room, kept = width - least, set[str]()
    for column in sorted(columns, key=lambda column: column.wanted):
        if column.width + GAP <= room:
            kept.add(column.name)
            room -= column.width + GAP
    return [column for column in columns if column.name in kept]


def head(first: str, columns: Sequence[Column], width: int, sorted_by: str, palette: Palette) -> Row:
    """The titles; that of the column which orders the rows is marked."""
    room = width - sum(column.width + GAP for column in columns)
    row = [_title(first, max(0, room), sorted_by == first, True, palette)]
    for column in columns:
        row.append(Segment(" " * GAP))
        row.append(
            _title(column.title, column.width, sorted_by in (column.name, column.title), column.at_left, palette)
        )
    return row


def _title(words: str, width: int, here: bool, at_left: bool, palette: Palette) -> Segment:
    words = _(words)
    text = f"{words} ▾" if here and words else words
    return Segment((left if at_left else right)(text, width), palette["accent" if here else "faint"])


def body(count: int, sight: Sight, height: int, draw: Callable[[int, bool], Row]) -> list[Row]:
    """The rows in sight, `height` of them: only these are drawn."""
    last = min(count, sight.top + height)
    rows = [draw(index, index == sight.cursor) for index in range(sight.top, last)]
    return rows + [Row()] * (height - len(rows))


def gutter(here: bool, palette: Palette) -> Segment:
    """The first two cells of a row: the mark, or nothing."""
    return Segment("▸ " if here else "  ", palette["accent"])


def marked(row: Row, width: int, palette: Palette) -> Row:
    """The row that the cursor stands on: on a ground of its own, where the theme has one."""
    colour = palette["track"].color
    row = fit(row, width)
    if colour is None or palette.mono:
        return row
    ground = Style(bgcolor=colour)
    return [
        segment
        if segment.style is not None and segment.style.bgcolor is not None
        else Segment(segment.text, ground if segment.style is None else segment.style + ground)
        for segment in row
    ]
