"""The lesson beside the main screen, open for as long as the person likes."""

from __future__ import annotations

from typing import Final

from memtop.tui.draw.cells import to_ascii
from memtop.tui.draw.lesson import lesson_panel
from memtop.tui.lessons import Taught
from memtop.tui.view import View
from memtop.tui.widgets.board import Rows

WIDTH: Final = 46


class LessonPanel(Rows):
    """A column at the right."""

    DEFAULT_CSS = f"LessonPanel {{ dock: right; width: {WIDTH}; height: 1fr; }}"

    def paint(self, taught: Taught, view: View) -> None:
        """Show this."""
        width, height = self.size
        if width and height:
            rows = lesson_panel(taught, width, height, view)
            self.put(to_ascii(rows) if view.ascii_only else rows)
