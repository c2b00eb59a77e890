"""What deep looks found: messages in, records with harmless strings out, and the newest look of each device."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from memtop.model.deep_records import LineRow, LinesRecord, LineTensor, ModulesRecord, TraceRecord
from memtop.model.records import MemoryRecord
from memtop.model.snapshot import DeepLook
from memtop.model.text import one_line
from memtop.protocol import records as wire

Part = ModulesRecord | LinesRecord | TraceRecord
_WHERE = {"phase": 20, "module": 300, "operator": 100, "line": 400, "text": 200}
"""The words of a peak's `where`, and how long each may be."""


class Looks:
    """The newest deep look of each device: its peak first, then whatever came of the same step."""

    def __init__(self) -> None:
        self._looks: dict[str, DeepLook] = {}
        self._ended: dict[str, MemoryRecord] = {}

    def newest(self, device: str) -> DeepLook | None:
        """The newest look, complete or not."""
        return self._looks.get(device)

    def records(self) -> list[ModulesRecord | LinesRecord]:
        """What a log that starts now is told."""
        found = [part for look in self._looks.values() for part in (look.modules, look.lines)]
        return [part for part in found if part is not None]

    def moment(self, record: MemoryRecord) -> None:
        """A memory record: a deep one may be a look's peak, or the end of its step, in any order."""
        if record.tier != "deep":
            return
        look = self._looks.get(record.device)
        if record.moment == "peak":
            if look is None or look.step != record.step:
                look = DeepLook(t=record.t, step=record.step, peak=record)
            self._looks[record.device] = replace(look, peak=record)
        elif record.moment == "step_end":
            self._ended[record.device] = record
        self._date(record.device)

    def _date(self, device: str) -> None:
        look, ended = self._looks.get(device), self._ended.get(device)
        if look is not None and ended is not None and look.step == ended.step:
            self._looks[device] = replace(look, t=ended.t)

    def part(self, record: Part) -> None:
        """More of a look. Without the peak of its step there is nothing that it would be a part of."""
        look = self._looks.get(record.device)
        if look is None or look.step != record.step:
            return
        if isinstance(record, ModulesRecord):
            look = replace(look, modules=record)
        elif isinstance(record, LinesRecord):
            look = replace(look, lines=record)
        else:
            look = replace(look, trace=record)
        self._looks[record.device] = look


def where(told: dict[str, Any] | None) -> dict[str, Any] | None:
    """A peak's place with exactly the keys it may have, `null` where the probe told nothing that makes sense."""
    if told is None:
        return None
    words = {
        name: one_line(text, most) if isinstance(text := told.get(name), str) else None for name, most in _WHERE.items()
    }
    seconds = told.get("seconds")
    known = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    return words | {"seconds": seconds if known else None}


def part(t: float, message: wire.Modules | wire.Lines | wire.Trace) -> Part | None:
    """The record of a message at run second `t`; `None` where its parts contradict each other."""
    if isinstance(message, wire.Modules):
        return _modules(t, message)
    return _lines(t, message) if isinstance(message, wire.Lines) else _trace(t, message)


def _modules(t: float, message: wire.Modules) -> ModulesRecord:
    rows = [replace(row, path=_or_none(row.path, 300), type=one_line(row.type, 100)) for row in message.rows]
    device = one_line(message.device, 20)
    return ModulesRecord(t=t, rank=message.rank, device=device, step=message.step, rows=rows, folded=message.folded)


def _lines(t: float, message: wire.Lines) -> LinesRecord:
    rows = [_line(row) for row in message.rows]
    return LinesRecord(t=t, rank=message.rank, device=one_line(message.device, 20), step=message.step, rows=rows)


def _line(row: LineRow) -> LineRow:
    return replace(
        row,
        file=_or_none(row.file, 400),
        function=_or_none(row.function, 100),
        text=_or_none(row.text, 200),
        phase=one_line(row.phase, 20),
        tensors=[_tensor(one) for one in row.tensors],
    )


def _tensor(one: LineTensor) -> LineTensor:
    return replace(
        one,
        dtype=one_line(one.dtype, 30),
        category=one_line(one.category, 30),
        operator=one_line(one.operator, 100),
        module=_or_none(one.module, 300),
    )


def _trace(t: float, message: wire.Trace) -> TraceRecord | None:
    points, times = message.points, message.times
    whole = len(points) == len(times) and all(len(point) == len(message.columns) for point in points)
    if not whole or not 0 <= message.peak < len(points) or times != sorted(times):
        return None
    return TraceRecord(
        t=t,
        rank=message.rank,
        device=one_line(message.device, 20),
        step=message.step,
        seconds=message.seconds,
        columns=[one_line(name, 30) for name in message.columns],
        times=times,
        points=points,
        marks=[replace(mark, name=one_line(mark.name, 20)) for mark in message.marks],
        peak=message.peak,
        changes=message.changes,
    )


def _or_none(text: str | None, limit: int) -> str | None:
    return None if text is None else one_line(text, limit)
