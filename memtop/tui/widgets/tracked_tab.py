"""The marks of `memtop.track()`. It follows the newest mark until one goes up."""

from __future__ import annotations

from typing import ClassVar

from memtop.model.snapshot import Snapshot, Tracked
from memtop.tui.draw.cells import Row
from memtop.tui.draw.tracked import Entry, Marks, entries, tab
from memtop.tui.view import View
from memtop.tui.widgets.tab import Sheet


class TrackedTab(Sheet):
    """What came and went between two marks."""

    HINTS: ClassVar[tuple[tuple[str, str], ...]] = (("↑ ↓", "move"), ("end", "follow the newest"))
    HEAD = 0

    def __init__(self) -> None:
        super().__init__()
        self._marks: tuple[Tracked, ...] = ()
        self._visible: list[Entry] = []

    @property
    def ready(self) -> bool:
        return True

    @property
    def count(self) -> int:
        return len(self._visible)

    @property
    def room(self) -> int:
        return max(1, self.size.height)

    def take(self, snapshot: Snapshot) -> None:
        """New marks come at the end; whoever stands there sees them."""
        if snapshot.tracked is self._marks or snapshot.tracked == self._marks:
            return
        at_end = self.sight.cursor >= self.count - 1
        self._marks = snapshot.tracked
        self._visible = entries(self._marks)
        self.sight = self.sight.moved(self.count - 1 if at_end else self.sight.cursor, self.count, self.room)

    def state(self) -> tuple[object, ...]:
        return (self._marks, self.sight)

    def draw(self, width: int, height: int, view: View) -> list[Row]:
        return tab(Marks(marks=self._marks, visible=self._visible, sight=self.sight), width, height, view)
