"""The scale of sizes at the left of a graph."""

from __future__ import annotations

from rich.segment import Segment

from memtop.model import units
from memtop.tui.draw.cells import Row, right
from memtop.tui.view import View

_APART = 6
"""Rows between two figures of a tall scale."""


def axis_width(view: View) -> int:
    """Cells that the scale takes."""
    return 9 if view.unit == "auto" else 14


def with_axis(row: Row, y: int, rows: int, top: int, view: View) -> Row:
    """Row `y` of a graph of `rows` rows from 0 to `top` bytes, with its figure where it has one."""
    shown = y in (0, rows - 1) or (rows >= 6 and y in _between(rows))
    words = units.size(top * (rows - y) // rows if y < rows - 1 else 0, view.unit) if shown else ""
    mark = right(words, axis_width(view) - 1) + ("┤" if words else "│")
    return [Segment(mark, view.palette["faint"]), *row]


def _between(rows: int) -> set[int]:
    parts = max(2, rows // _APART)
    return {rows * part // parts for part in range(1, parts)}
