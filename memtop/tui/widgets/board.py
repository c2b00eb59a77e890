"""Draws rows that a pure function made, and only those that changed: the main screen's one widget, and its base."""

from __future__ import annotations

from itertools import takewhile

from rich.cells import cell_len
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from memtop.model.snapshot import Snapshot
from memtop.tui.draw.board import board
from memtop.tui.draw.cells import Row
from memtop.tui.view import View


def changed_span(old: Row, new: Row, width: int) -> tuple[int, int]:
    """(first cell, one past the last cell) in which two rows differ; equal rows give an empty span."""
    if old == new:
        return 0, 0
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    tail = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old[:same:-1], new[:same:-1], strict=False)))
    start = sum(cell_len(segment.text) for segment in new[:same])
    end = width - sum(cell_len(segment.text) for segment in (new[-tail:] if tail else ()))
    return start, max(start, end)


class Rows(Widget):
    """Rows of exactly its width. Cells that stay as they are, are left alone."""

    DEFAULT_CSS = "Rows { width: 1fr; height: 1fr; }"
    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[Row] = []
        self._strips: list[Strip] = []
        self._base = Style.null()

    def put(self, rows: list[Row]) -> None:
        """Show these."""
        width, base = self.size.width, self.rich_style
        if (
            base != self._base
            or len(rows) != len(self._rows)
            or (self._strips and self._strips[0].cell_length != width)
        ):
            self._base, self._rows = base, rows
            self._strips = [Strip(row, width).apply_style(base) for row in rows]
            self.refresh()
            return
        regions = list(self._update(rows, width))
        if regions:
            self.refresh(*regions)

    def _update(self, rows: list[Row], width: int) -> list[Region]:
        regions = []
        for y, (old, new) in enumerate(zip(self._rows, rows, strict=True)):
            start, end = changed_span(old, new, width)
            if end > start:
                self._strips[y] = Strip(new, width).apply_style(self._base)
                regions.append(Region(start, y, end - start, 1))
        self._rows = rows
        return regions

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width, self.rich_style)


class Board(Rows):
    """Everything on the main screen."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[Snapshot, View] | None = None

    def paint(self, snapshot: Snapshot, view: View) -> None:
        """Show this."""
        self._shown = (snapshot, view)
        width, height = self.size
        if width and height:
            self.put(board(snapshot, width, height, view))

    def on_resize(self) -> None:
        """Another layout may hold now."""
        if self._shown is not None:
            self.paint(*self._shown)
