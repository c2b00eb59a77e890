"""What a sink is. A sink never raises once it is open and never waits for whoever reads it."""

from __future__ import annotations

from typing import Protocol

from memtop.model.records import EndRecord, EventRecord, ModelRecord, Record, RunRecord
from memtop.model.snapshot import LogState
from memtop.sinks.lines import LineOut

_SPARED = (RunRecord, ModelRecord, EventRecord, EndRecord)
"""Kinds that are kept when a slow reader makes us drop records: a log without them can't be read."""


class SinkError(Exception):
    """A log that can't be opened: what is wrong in one line, and what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message}; {remedy}")
        self.message = message
        self.remedy = remedy


class Sink(Protocol):
    """Where the records of a run go. Thread-safe."""

    def write(self, record: Record) -> None:
        """Take one record. Never raises, never waits; after a failure it does nothing."""

    def close(self) -> None:
        """End with a whole line. Waits a second at most, for a pipe that nobody reads. Idempotent."""

    def state(self) -> LogState:
        """How it goes: whether it still writes, how many records it took, what went wrong."""


class LineSink:
    """A sink that turns each record into whole lines; the formats say how in `encode`."""

    def __init__(self, path: str, out: LineOut, note: str | None = None) -> None:
        self._path = path
        self._out = out
        self._note = note
        self._records = 0

    def encode(self, record: Record) -> bytes:
        """The record as whole lines; empty where the format has no place for it."""
        raise NotImplementedError

    def write(self, record: Record) -> None:
        """See `Sink`."""
        data = self.encode(record)
        if data and self._out.write(data, spare=isinstance(record, _SPARED)):
            self._records += 1

    def close(self) -> None:
        """See `Sink`."""
        self._out.close()

    def state(self) -> LogState:
        """See `Sink`."""
        failed, error = self._out.failed, self._out.error
        return LogState(path=self._path, ok=not failed, records=self._records, error=error, note=self._note)
