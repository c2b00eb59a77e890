"""What a log says of each of its runs, gathered record by record: for a report and for comparing runs.

A session that was restarted has written several runs into one log; each begins with its `run` record. Of long runs
only what a page can show is kept, so that a log of a week does not fill the memory of whoever reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from memtop.model.categories import TENSORS
from memtop.model.course import Course
from memtop.model.deep_records import LinesRecord, ModulesRecord, TraceRecord
from memtop.model.ledger import known
from memtop.model.records import (
    DeviceRecord,
    EndRecord,
    EventRecord,
    MemoryRecord,
    ModelRecord,
    Record,
    RunRecord,
    StepRecord,
)

Place = tuple[int, str]
"""A rank and a device."""
_EVENTS: Final = 500
"""Events that are kept; of those beyond only the number."""
_QUIET: Final = frozenset({"track"})
"""Events that a person put there by the thousand: marks of `memtop.track()`."""


class Book:
    """One run. Times are run seconds, sizes bytes."""

    def __init__(self, run: RunRecord | None) -> None:
        self.run = run
        """`None` where the log does not begin with one."""
        self.model: ModelRecord | None = None
        self.courses: dict[tuple[int, str, str], Course] = {}
        """By rank, device and moment: different moments in turn would make a graph of teeth."""
        self.highest: dict[Place, MemoryRecord] = {}
        """The memory record whose tensors were most."""
        self.peaks: dict[Place, MemoryRecord] = {}
        """The peak of the newest deep look."""
        self.modules: dict[Place, ModulesRecord] = {}
        self.lines: dict[Place, LinesRecord] = {}
        self.traces: dict[Place, TraceRecord] = {}
        self.devices: dict[str, DeviceRecord] = {}
        """The newest sample of each device."""
        self.forecasts: dict[Place, Record] = {}
        """The newest forecast."""
        self.events: list[EventRecord] = []
        self.more_events = 0
        """Events that were not kept."""
        self.marks = 0
        """Marks of `memtop.track()`."""
        self.step: StepRecord | None = None
        """The newest step of the lowest rank that reports."""
        self.loss: tuple[int, float] | None = None
        """The newest known loss, and its step."""
        self.end: EndRecord | None = None
        self.last = 0.0
        """The newest time in the log."""
        self._steps: list[tuple[float, int]] = []

    def add(self, record: Record) -> None:
        """One more record of this run."""
        self.last = max(self.last, record.t)
        if isinstance(record, MemoryRecord):
            self._memory(record)
        elif isinstance(record, StepRecord):
            self._step(record)
        elif isinstance(record, EventRecord):
            self._event(record)
        elif isinstance(record, DeviceRecord):
            self.devices[record.device] = record
        elif isinstance(record, ModelRecord):
            if record.rank == 0 or self.model is None:
                self.model = record
        elif isinstance(record, EndRecord):
            self.end = record
        elif not isinstance(record, RunRecord):
            self._part(record)

    def _memory(self, record: MemoryRecord) -> None:
        place = (record.rank, record.device)
        self.courses.setdefault((*place, record.moment), Course()).add(record)
        best = self.highest.get(place)
        if best is None or known(record.bytes) > known(best.bytes):
            self.highest[place] = record
        if record.moment == "peak":
            self.peaks[place] = record

    def _part(self, record: Record) -> None:
        place = (record.rank, str(getattr(record, "device", "")))
        if isinstance(record, ModulesRecord):
            self.modules[place] = record
        elif isinstance(record, LinesRecord):
            self.lines[place] = record
        elif isinstance(record, TraceRecord):
            if is_whole(record):
                self.traces[place] = record
        elif str(record.kind) == "forecast":
            self.forecasts[place] = record

    def _step(self, record: StepRecord) -> None:
        if self.step is not None and record.rank > self.step.rank:
            return
        self.step = record
        self._steps.append((record.seconds, max(1, record.steps)))
        if record.loss is not None:
            self.loss = (record.step, record.loss)

    def _event(self, record: EventRecord) -> None:
        if record.name in _QUIET:
            self.marks += 1
        elif len(self.events) < _EVENTS:
            self.events.append(record)
        else:
            self.more_events += 1

    @property
    def focus(self) -> Place | None:
        """Where to look: the model's device; of several ranks, and where that is not known, where the tensors are most.

        `None` where the log has no memory record.
        """
        device = None if self.model is None else self.model.device
        kind = (device or "").partition(":")[0]
        alike = [place for place in self.highest if kind and place[1].startswith(kind)]
        return max(alike or self.highest, key=lambda place: known(self.highest[place].bytes), default=None)

    @property
    def top(self) -> MemoryRecord | None:
        """The memory record whose tensors were most, where to look."""
        place = self.focus
        return None if place is None else self.highest[place]

    def course(self, place: Place) -> Course | None:
        """The run at that place, at the moment of its steps whose tensors are most. Peaks are known of few steps only:
        they are a course of their own, taken where there is no other."""
        found = {moment: one for (*where, moment), one in self.courses.items() if tuple(where) == place}
        steady = [one for moment, one in found.items() if moment != "peak"] or list(found.values())
        return max(steady, key=lambda one: one.median, default=None)

    @property
    def step_seconds(self) -> float | None:
        """The median step, pauses left out: the first ones, which warm up, do not move it."""
        order, half = sorted(self._steps), sum(count for _, count in self._steps) / 2
        for seconds, count in order:
            half -= count
            if half <= 0:
                return seconds
        return None

    @property
    def batch_size(self) -> int | None:
        """Samples a step, as seen at the newest one."""
        return None if self.step is None else self.step.batch_size

    @property
    def samples_per_second(self) -> float | None:
        """At the median step."""
        seconds, size = self.step_seconds, self.batch_size
        return size / seconds if seconds and size is not None else None

    @property
    def steps(self) -> int:
        """Steps made, as far as the log knows."""
        return max(self.end.steps if self.end else 0, self.step.step if self.step else 0)

    @property
    def name(self) -> str:
        """The scenario, or the command as a person typed it."""
        if self.run is None:
            return "a run without a first line"
        return self.run.scenario or " ".join(self.run.command) or "a run without a name"


def is_whole(trace: TraceRecord) -> bool:
    """Whether its parts fit together: a log may have been written by anybody."""
    points, times = trace.points, trace.times
    return (
        0 < len(points) == len(times)
        and all(len(point) == len(trace.columns) for point in points)
        and 0 <= trace.peak < len(points)
        and times == sorted(times)
    )


def books(records: Iterable[Record]) -> Iterator[Book]:
    """The runs of a log, in order. A run that was restarted before its first step is left out where others were not."""
    found: list[Book] = []
    for record in records:
        if isinstance(record, RunRecord):
            found.append(Book(record))
        elif not found:
            found.append(Book(None))
        found[-1].add(record)
    told = [book for book in found if book.highest or book.step is not None]
    yield from told or found[-1:]


def tensors(record: MemoryRecord | None) -> int | None:
    """Bytes of the tensor categories that are known; `None` where none is."""
    if record is None or all(record.bytes.get(name) is None for name in TENSORS):
        return None
    return known(record.bytes)
