"""A run as its log tells it: records in, where a live session has messages and samples."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from memtop.launcher import manifests
from memtop.model.deep_records import LinesRecord, ModulesRecord, TraceRecord
from memtop.model.forecast_record import ForecastRecord
from memtop.model.logbook import is_whole
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
from memtop.model.snapshot import Banner, Phase
from memtop.session.marks import EVENT
from memtop.session.readings import Facts
from memtop.session.state import State
from memtop.session.view import Around

_GRAVE = frozenset({"oom", "leak"})
"""Events that are the first line of the screen."""

_NAMELESS = "log"
"""The title of a run that does not say what it is."""


class Played(State):
    """One run of a log. What a record does not say stays unknown."""

    def __init__(self) -> None:
        super().__init__(0)
        self.around = Around(manifest=None, settings={}, command=(_NAMELESS,))

    def take(self, record: Record) -> None:
        """One more record."""
        if isinstance(record, RunRecord):
            self._begins(record)
        elif isinstance(record, EventRecord):
            self._happened(record)
        elif isinstance(record, EndRecord):
            self._ends(record)
        elif isinstance(record, DeviceRecord):
            self.devices[record.device] = record
        elif isinstance(record, TraceRecord):
            if is_whole(record):
                self.looks.part(record)
        elif isinstance(record, (ModulesRecord, LinesRecord)):
            self.looks.part(record)
        elif record.rank == 0:
            self._inside(record)

    def _inside(self, record: Record) -> None:
        """What the probe of the first rank saw."""
        if isinstance(record, ModelRecord):
            self.model = record
        elif isinstance(record, MemoryRecord):
            self._keep(record)
        elif isinstance(record, StepRecord):
            self._stepped(record)
        elif isinstance(record, ForecastRecord):
            self.forecasts.played(record)

    def _begins(self, record: RunRecord) -> None:
        facts = Facts(host=record.host, gpus=tuple(record.gpus), note=None if record.gpus else "none in this log")
        self.around = Around(
            manifest=_manifest(record.scenario),
            settings=record.settings,
            command=tuple(record.command) or (_NAMELESS,),
            facts=facts,
        )

    def _stepped(self, record: StepRecord) -> None:
        self.step = record
        if any(value is not None for value in record.phases.values()):
            self.phased = record
        self._paced(record.t, record.seconds * record.steps, record.steps)
        for history in self.history.values():
            history.add_loss(record.t, record.loss)
        if self.phase is not Phase.TRAINING:
            self.enter(Phase.TRAINING, record.t)

    def _happened(self, record: EventRecord) -> None:
        if record.name == EVENT:
            try:
                self.marks.heard(record.t, record.data)
            except msgspec.ValidationError:
                self.malformed += 1
        elif record.rank == 0 and record.name in ("skipped", "steps"):
            self.told(record)
        elif record.name in _GRAVE:
            self.around.problem = Banner(severity="error", text=record.message)

    def _ends(self, record: EndRecord) -> None:
        self.end = record
        self.overhead_percent, self.announced_seconds = record.overhead_percent, record.announced_seconds
        self.taken = record.looks
        self.enter(Phase.ENDED, record.t)

    def now(self, device: str) -> MemoryRecord | None:
        """The newest memory record of a device that is no peak, as it was written: nothing is read anew in a replay."""
        moments = [record for name, record in self.moments.get(device, {}).items() if name != "peak"]
        return max(moments, key=lambda record: record.t, default=None)

    def before_training(self, device: str) -> MemoryRecord | None:
        """See `State`."""
        before = super().before_training(device)
        return None if before is None else replace(before, sources={"allocator": None, "device": before.t})


def _manifest(scenario: str | None) -> manifests.Manifest | None:
    """The scenario's, for its closed forms and its lesson; `None` where this version has no such scenario."""
    try:
        return None if scenario is None else manifests.load(scenario)
    except manifests.ManifestError:
        return None
