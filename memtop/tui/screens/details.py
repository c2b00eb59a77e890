"""The details: every figure at every moment, formulas, lesson, machine."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType

from memtop.model.i18n import _
from memtop.model.text import harmless
from memtop.tui.draw.cells import Row
from memtop.tui.draw.details import details
from memtop.tui.screens.page import Page
from memtop.tui.widgets.lines import Lines


class DetailsScreen(Page):
    """All that is known, in words."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v,enter", "back", "back", id="screen.close", tooltip="Back to the main screen", key_display="v"),
    ]
    HINTS = (("esc", "back"), ("↑ ↓ pgup pgdn", "scroll"), ("u", "units"), ("t", "theme"), ("?", "help"), ("q", "quit"))

    def title_row(self) -> Row:
        snapshot, palette = self.memtop.session.snapshot(), self.memtop.view.palette
        title = Segment(f" {harmless(snapshot.title)} ", palette["strong"])
        return [
            Segment(_(" details "), palette["brand"]),
            title,
            Segment(harmless(snapshot.phase_text), palette["dim"]),
        ]

    def show(self, body: Lines, width: int) -> None:
        body.show(details(self.memtop.session.snapshot(), width, self.memtop.view))
