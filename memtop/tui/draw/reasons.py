"""From a snapshot to the reason why a category is not what its closed form says."""

from __future__ import annotations

from memtop.model.deep_records import LinesRecord, ModulesRecord
from memtop.model.differences import Case, reason
from memtop.model.snapshot import Snapshot
from memtop.model.units import Unit
from memtop.tui.draw.figures import record_of
from memtop.tui.draw.remember import Remembered


def _again(record: ModulesRecord) -> int:
    return sum(row.recomputed for row in record.rows)


def _trained(record: LinesRecord) -> int:
    return sum(one.count for row in record.rows for one in row.tensors if one.category == "parameters")


recomputed: Remembered[ModulesRecord, int] = Remembered(_again, keep=1)
parameter_tensors: Remembered[LinesRecord, int] = Remembered(_trained, keep=1)


def why(snapshot: Snapshot, category: str, moment: str, unit: Unit) -> str | None:
    """`=`, a few words, or `None` where the figure or its reason is not known."""
    record = record_of(snapshot, moment)
    value = None if record is None else record.bytes.get(category)
    if record is None or value is None:
        return None
    theory, deep = snapshot.theory.get(category), snapshot.deep
    forward = snapshot.moments.get("forward_end")
    phase = (record.where or {}).get("phase")
    case = Case(
        category=category,
        moment=moment,
        value=value,
        theory=None if theory is None else theory.bytes,
        phase=phase if isinstance(phase, str) else None,
        kept=None if forward is None else forward.bytes.get("activations"),
        recomputed=0 if deep is None or deep.modules is None else recomputed(deep.modules),
        tensors=None if deep is None or deep.lines is None else parameter_tensors(deep.lines),
    )
    return reason(case, unit)
