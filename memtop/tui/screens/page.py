"""A full screen of rows that scroll, with a title above and the keys below."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from rich.segment import Segment
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen

from memtop.model.i18n import _
from memtop.tui.draw.cells import Row, fit, join
from memtop.tui.keys import BACK
from memtop.tui.widgets.lines import Lines

if TYPE_CHECKING:
    from memtop.tui.app import MemtopApp


class Page(Screen[None]):
    """Give it rows; escape goes back."""

    BINDINGS: ClassVar[list[BindingType]] = BACK
    HINTS: tuple[tuple[str, str], ...] = (("esc", "back"), ("↑ ↓", "scroll"))
    DEFAULT_CSS = "Page > #head, Page > #foot { height: 1; } Page > Lines { padding: 0 1; }"

    def compose(self) -> ComposeResult:
        yield Lines(id="head")
        yield Lines(id="body")
        yield Lines(id="foot")

    @property
    def memtop(self) -> MemtopApp:
        """The app, with what it adds to Textual's."""
        return cast("MemtopApp", self.app)

    def on_mount(self) -> None:
        """Keys reach the body, and no frame around it."""
        self.query_one("#head", Lines).can_focus = False
        self.query_one("#foot", Lines).can_focus = False
        self.focus_body()
        self.call_after_refresh(self.repaint)

    def focus_body(self) -> None:
        """Keys scroll the rows."""
        self.query_one("#body", Lines).focus()

    def on_resize(self) -> None:
        """Wrap anew."""
        self.call_after_refresh(self.repaint)

    def repaint(self) -> None:
        """Draw the newest."""
        self.frame()
        body = self.query_one("#body", Lines)
        self.show(body, max(1, body.room))

    def frame(self) -> None:
        """Draw the first line and the last."""
        width, palette = self.size.width, self.memtop.view.palette
        self.query_one("#head", Lines).show([fit(self.title_row(), width)])
        hints = [
            [Segment(key, palette["key"]), Segment(f" {_(words)}", palette["key_text"])] for key, words in self.hints
        ]
        notice = self.memtop.view.notice
        words = [Segment(notice, palette["accent"])] if notice else join(hints, width - 3, Segment("  "))
        self.query_one("#foot", Lines).show([fit([Segment(" "), *words], width)])

    @property
    def hints(self) -> tuple[tuple[str, str], ...]:
        """Keys and words of the last line."""
        return self.HINTS

    def title_row(self) -> Row:
        """The first line."""
        raise NotImplementedError

    def show(self, body: Lines, width: int) -> None:
        """Put the rows into `body`, `width` cells wide."""
        raise NotImplementedError

    def action_back(self) -> None:
        """Back to the screen below."""
        self.dismiss()
