"""Rows of styled text that scroll: help, details and the target's output."""

from __future__ import annotations

from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from memtop.tui.draw.cells import Row


class Lines(ScrollView, can_focus=True):
    """Holds rows and shows those in sight."""

    DEFAULT_CSS = "Lines { width: 1fr; height: 1fr; }"
    ALLOW_SELECT = False

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: list[Row] = []

    @property
    def room(self) -> int:
        """Cells of a row: the width without the scrollbar."""
        return self.scrollable_content_region.width

    @property
    def at_end(self) -> bool:
        """Whether the last row is in sight."""
        return self.scroll_offset.y >= self.max_scroll_y

    def show(self, rows: list[Row], follow: bool = False) -> None:
        """Show these rows; with `follow` the last of them stays in sight."""
        if rows == self._rows:
            return
        self._rows = rows
        self.virtual_size = Size(self.room, len(rows))
        if follow:
            self.scroll_end(animate=False)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line in sight."""
        width, index = self.room, y + self.scroll_offset.y
        base: Style = self.rich_style
        if index >= len(self._rows):
            return Strip.blank(width, base)
        return Strip(self._rows[index]).adjust_cell_length(width, base).apply_style(base)
