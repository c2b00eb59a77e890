"""The lines of "what if"; enter tries the marked one for real."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from memtop.model.snapshot import Snapshot
from memtop.tui.draw.cells import Row
from memtop.tui.draw.whatif import Sheet as Drawn
from memtop.tui.draw.whatif import panel, rows_in_sight
from memtop.tui.trying import Entry, Trying
from memtop.tui.view import View
from memtop.tui.widgets.tab import Sheet


class WhatIfSheet(Sheet):
    """A line a change."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "try", id="whatif.try", tooltip="Start the training anew with the marked setting"),
    ]

    class Tried(Message):
        """A line is to be tried."""

        def __init__(self, entry: Entry) -> None:
            super().__init__()
            self.entry = entry

    def __init__(self, trying: Trying) -> None:
        super().__init__()
        self._trying = trying
        self._scenario = False

    @property
    def ready(self) -> bool:
        return True

    @property
    def count(self) -> int:
        return len(self._trying.entries)

    @property
    def room(self) -> int:
        return rows_in_sight(self.size.height)

    def take(self, snapshot: Snapshot) -> None:
        """The mark stays on its line wherever that stands."""
        before = self.entry
        self._trying.take(snapshot)
        self._scenario = bool(snapshot.choices)
        names = [entry.line.name for entry in self._trying.entries]
        place = names.index(before.line.name) if before is not None and before.line.name in names else 0
        self.sight = self.sight.moved(place, self.count, self.room)

    @property
    def entry(self) -> Entry | None:
        """The marked line."""
        entries, place = self._trying.entries, self.sight.cursor
        return entries[place] if place < len(entries) else None

    def state(self) -> tuple[object, ...]:
        return (self._trying.entries, self._trying.why, self.sight, self._scenario)

    def draw(self, width: int, height: int, view: View) -> list[Row]:
        trying = self._trying
        sheet = Drawn(
            told=trying.base, why=trying.why, entries=trying.entries, sight=self.sight, scenario=self._scenario
        )
        return panel(sheet, width, height, view)

    def action_open(self) -> None:
        """Try it."""
        if self.entry is not None:
            self.post_message(self.Tried(self.entry))
