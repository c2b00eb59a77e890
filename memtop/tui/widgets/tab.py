"""What the tabs of a deep look have in common: rows from a pure function, drawn again only when something changed."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from memtop.model.i18n import _
from memtop.model.snapshot import Snapshot
from memtop.tui.draw.cells import Row, fit, to_ascii
from memtop.tui.draw.peak import WAITING
from memtop.tui.draw.sheet import Sight
from memtop.tui.view import View
from memtop.tui.widgets.board import Rows

_WHEEL = 3
"""Rows that the mouse wheel scrolls."""


class Tab(Rows, can_focus=True):
    """One tab. A subclass takes what it needs from a snapshot and draws it."""

    HINTS: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Its keys for the screen's last line."""

    class Reordered(Message):
        """Its rows stand in another order."""

    def __init__(self) -> None:
        super().__init__()
        self._snapshot: Snapshot | None = None
        self._view = View()
        self._drawn: tuple[object, ...] = ()

    def paint(self, snapshot: Snapshot, view: View) -> None:
        """Show this, where it is in sight."""
        self._snapshot, self._view = snapshot, view
        self.take(snapshot)
        self.draw_again()

    def draw_again(self) -> None:
        """Draw what is known, unless it stands there already."""
        width, height = self.size
        state = (width, height, self._view.palette, self._view.unit, self._view.ascii_only, *self.state())
        if not width or not height or self._snapshot is None or state == self._drawn:
            return
        self._drawn = state
        self.put(self._framed(width, height))

    def _framed(self, width: int, height: int) -> list[Row]:
        """One empty cell at each side where there is room for it."""
        side = 1 if width >= 40 else 0
        if self.ready:
            rows = self.draw(width - 2 * side, height, self._view)
        else:
            rows = [[Segment(_(WAITING), self._view.palette["dim"])]]
        rows = [[Segment(" " * side), *fit(row, width - 2 * side), Segment(" " * side)] for row in rows[:height]]
        rows += [[Segment(" " * width)]] * (height - len(rows))
        return to_ascii(rows) if self._view.ascii_only else rows

    def on_resize(self) -> None:
        """Another size, or in sight for the first time."""
        self.draw_again()

    # -- what a subclass says ----------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether there is anything to draw."""
        raise NotImplementedError

    def take(self, snapshot: Snapshot) -> None:
        """Keep what of this snapshot is new."""
        raise NotImplementedError

    def state(self) -> tuple[object, ...]:
        """All that the rows are made from: the same state draws the same rows."""
        raise NotImplementedError

    def draw(self, width: int, height: int, view: View) -> list[Row]:
        """The rows."""
        raise NotImplementedError

    # -- searching ---------------------------------------------------------------------------------------------------

    wanted: str | None = None
    """What the rows are narrowed to; `None` where a tab can't be searched."""

    def narrow(self, wanted: str) -> None:
        """Show only what has these letters; all of it where there are none."""


class Sheet(Tab):
    """A tab of rows with a mark on one of them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "down", id="sheet.down", tooltip="The next row", show=False),
        Binding("up,k", "move(-1)", "up", id="sheet.up", tooltip="The row before", show=False),
        Binding("pagedown", "page(1)", "page down", id="sheet.page_down", tooltip="A page down", show=False),
        Binding("pageup", "page(-1)", "page up", id="sheet.page_up", tooltip="A page up", show=False),
        Binding("home,g", "edge(-1)", "first", id="sheet.first", tooltip="The first row", show=False),
        Binding("end,G", "edge(1)", "last", id="sheet.last", tooltip="The last row", show=False),
    ]
    HEAD = 1
    """Rows above the first that can be marked."""

    def __init__(self) -> None:
        super().__init__()
        self.sight = Sight()

    @property
    def count(self) -> int:
        """How many rows there are, in sight or not."""
        raise NotImplementedError

    @property
    def room(self) -> int:
        """How many rows are in sight."""
        raise NotImplementedError

    def mark(self, place: int) -> None:
        """Put the mark there."""
        self.sight = self.sight.moved(place, self.count, self.room)
        self.draw_again()

    def action_move(self, by: int) -> None:
        """The row after, or before."""
        self.mark(self.sight.cursor + by)

    def action_page(self, by: int) -> None:
        """A screen further, or back."""
        self.mark(self.sight.cursor + by * max(1, self.room - 1))

    def action_edge(self, side: int) -> None:
        """The first row, or the last."""
        self.mark(self.count - 1 if side > 0 else 0)

    def on_resize(self) -> None:
        """The mark stays in sight."""
        self.sight = self.sight.moved(self.sight.cursor, self.count, self.room)
        super().on_resize()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Further down."""
        self._scroll(_WHEEL, event)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Further up."""
        self._scroll(-_WHEEL, event)

    def _scroll(self, by: int, event: events.MouseEvent) -> None:
        event.stop()
        self.mark(self.sight.cursor + by)

    def on_click(self, event: events.Click) -> None:
        """Mark a row; a second click does what enter does."""
        place = self.sight.top + event.y - self.HEAD
        if not 0 <= event.y - self.HEAD < self.room or place >= self.count:
            return
        again = place == self.sight.cursor
        self.mark(place)
        if again:
            self.action_open()

    def action_open(self) -> None:
        """What enter does on the marked row."""
