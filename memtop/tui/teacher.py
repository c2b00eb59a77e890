"""Remembers the runs of this screen. Loads what lessons need when there is something to learn, not before the first
picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from memtop.model.records import MemoryRecord, Record, RunRecord
from memtop.model.snapshot import Snapshot

if TYPE_CHECKING:
    from memtop.model.lessons import Book
    from memtop.tui.lessons import Lesson, Taught


class Teacher:
    """Takes records on the session's threads."""

    def __init__(self, listen: Callable[[Callable[[Record], None]], None] | None) -> None:
        """`listen` calls back with each record; `None` where there are none to be had."""
        self._loaded: Book | None = None
        self._begun: list[Record] = []
        """Runs that began before a step of any was measured."""
        if listen is not None:
            listen(self.take)

    def take(self, record: Record) -> None:
        """Remember what a lesson may need."""
        if self._loaded is None and not (isinstance(record, MemoryRecord) and record.step > 1):
            if isinstance(record, RunRecord):
                self._begun.append(record)
            return
        self._book().take(record)

    def _book(self) -> Book:
        if self._loaded is None:
            from memtop.model.lessons import Book

            book = Book()
            for record in self._begun:
                book.take(record)
            self._loaded = book
        return self._loaded

    def taught(self, snapshot: Snapshot, lesson: Lesson | None) -> Taught:
        """The lesson of what runs now, held against its runs so far."""
        from memtop.tui.lessons import taught

        return taught(self._book().runs, snapshot, lesson)
