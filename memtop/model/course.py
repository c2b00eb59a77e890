"""A run's memory in a few hundred points, each a record of the log as it is: its parts still sum to the whole."""

from __future__ import annotations

from typing import Final

from memtop.model.ledger import known
from memtop.model.records import MemoryRecord

MOST: Final = 480
"""Points that are kept, at most."""
_SECONDS: Final = 0.25
"""The first width of a slot."""
_LATEST: Final = 1e10
"""No run is longer, run seconds: a log may have been written by anybody."""


class Course:
    """Of each slot of time the record whose tensors are most. Slots double when they become too many."""

    def __init__(self, most: int = MOST) -> None:
        self.seconds = _SECONDS
        """The width of a slot, run seconds."""
        self.seen = 0
        """Records so far."""
        self._most = most
        self._slots: dict[int, MemoryRecord] = {}

    def add(self, record: MemoryRecord) -> None:
        """One more record, in any order of time."""
        self.seen += 1
        self._put(self._slot(record), record)
        while len(self._slots) > self._most:
            self.seconds *= 2
            kept, self._slots = list(self._slots.values()), {}
            for one in kept:
                self._put(self._slot(one), one)

    def _slot(self, record: MemoryRecord) -> int:
        return int(max(-_LATEST, min(record.t, _LATEST)) / self.seconds)

    def _put(self, slot: int, record: MemoryRecord) -> None:
        held = self._slots.get(slot)
        if held is None or known(record.bytes) > known(held.bytes):
            self._slots[slot] = record

    @property
    def median(self) -> int:
        """Known tensor bytes of the record in the middle, were they sorted; 0 where there is none."""
        sums = sorted(known(record.bytes) for record in self._slots.values())
        return sums[len(sums) // 2] if sums else 0

    def records(self) -> list[MemoryRecord]:
        """Those kept, by time."""
        return sorted(self._slots.values(), key=lambda record: record.t)
