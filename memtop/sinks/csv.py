"""CSV: one row a memory record, for a spreadsheet or a data frame. Unknown is an empty cell."""

from __future__ import annotations

import csv
import io
from typing import Any, Final

from memtop.model.categories import ALL
from memtop.model.records import MemoryRecord, Record, RunRecord, StepRecord
from memtop.model.text import harmless
from memtop.sinks.base import LineSink
from memtop.sinks.lines import LineOut

_BEFORE: Final = ("t", "rank", "device", "step", "moment", "tier")
_AFTER: Final = ("allocated", "reserved", "device_total", "batch_size", "samples_per_second", "loss")
COLUMNS: Final = (*_BEFORE, *ALL, *_AFTER)
"""The first line of the file. Sizes are bytes, `t` seconds since the run began."""


class CsvSink(LineSink):
    """A row for each memory record; batch size, throughput and loss are those of the rank's newest step record."""

    def __init__(self, path: str, out: LineOut, note: str | None = None, *, header: bool = True) -> None:
        super().__init__(path, out, note)
        self._steps: dict[int, StepRecord] = {}
        if header:
            out.write(_row(COLUMNS), spare=True)

    def encode(self, record: Record) -> bytes:
        """See `LineSink`."""
        if isinstance(record, RunRecord):
            self._steps.clear()
        elif isinstance(record, StepRecord):
            self._steps[record.rank] = record
        elif isinstance(record, MemoryRecord):
            return _row(_cells(record, self._steps.get(record.rank)))
        return b""


def _cells(record: MemoryRecord, step: StepRecord | None) -> tuple[Any, ...]:
    return (
        *(getattr(record, name) for name in _BEFORE),
        *(record.bytes.get(category) for category in ALL),
        record.allocated,
        record.reserved,
        record.device_total,
        step and step.batch_size,
        step and step.samples_per_second,
        step and step.loss,
    )


def _row(cells: tuple[Any, ...]) -> bytes:
    # A newline inside a cell would break "whole lines"; a device's name comes from the target.
    text = io.StringIO()
    safe = (harmless(cell, 200).replace("\n", " ") if isinstance(cell, str) else cell for cell in cells)
    csv.writer(text, lineterminator="\n").writerow(safe)
    return text.getvalue().encode("utf-8", "replace")
