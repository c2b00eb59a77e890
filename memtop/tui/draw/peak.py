"""Where a step's highest instant lies, in words; and how old the deep look is that found it."""

from __future__ import annotations

from pathlib import PurePath

from rich.segment import Segment

from memtop.model import units
from memtop.model.deep_records import ModulesRecord
from memtop.model.i18n import _
from memtop.model.records import MemoryRecord
from memtop.model.snapshot import DeepLook, Snapshot
from memtop.model.text import one_line
from memtop.tui.draw.cells import Row
from memtop.tui.draw.figures import tensors_of
from memtop.tui.draw.remember import Remembered
from memtop.tui.view import View

WAITING = "no deep look yet: the second step is watched whole; d asks for one"
"""What stands where a deep look will be."""


def peak_of(snapshot: Snapshot) -> MemoryRecord | None:
    """The newest record of a step's highest instant, on the device in focus."""
    return snapshot.deep.peak if snapshot.deep is not None else snapshot.moments.get("peak")


def place(file: str | None, line: int | None = None, whole: bool = False) -> str:
    """`train.py:57` of a path and a line; the last two parts of the path with `whole`."""
    if not file:
        return ""
    parts = PurePath(one_line(file, 2000)).parts
    name = "/".join(parts[-2:]) if whole and len(parts) > 2 else parts[-1] if parts else ""
    return name if line is None else f"{name}:{line}"


def _kinds(record: ModulesRecord) -> dict[str, str]:
    return {row.path: row.type for row in record.rows if row.path}


kinds: Remembered[ModulesRecord, dict[str, str]] = Remembered(_kinds, keep=1)
"""The class of each module by its path."""


def module_name(path: str, modules: ModulesRecord | None) -> str:
    """A module's path; where its last word is but a number, its class as well: `ReLU 10`."""
    kind = "" if modules is None else one_line(kinds(modules).get(path, ""), 80)
    name = one_line(path, 200)
    return f"{kind} {name}" if kind and path.rpartition(".")[2].isdecimal() else name


def where(record: MemoryRecord, modules: ModulesRecord | None, operator: bool = True, text: bool = True) -> list[str]:
    """Phase, module, operator, line of a peak: those that are known."""
    known = record.where or {}
    line, module = place(_words(known.get("line"))), known.get("module")
    said = _words(known.get("text")).strip() if text else ""
    return [
        part
        for part in (
            _(phase_of(record)),
            module_name(module, modules) if isinstance(module, str) else "",
            _words(known.get("operator")) if operator else "",
            f"{line} {said}".strip() if line else "",
        )
        if part
    ]


def phase_of(record: MemoryRecord) -> str:
    """The phase that a peak lies in; empty where it is not known."""
    return _words((record.where or {}).get("phase"))


def seconds(record: MemoryRecord) -> float | None:
    """When in its step the peak was, seconds."""
    found = (record.where or {}).get("seconds")
    return float(found) if isinstance(found, (int, float)) else None


def _words(value: object) -> str:
    return one_line(value, 200) if isinstance(value, str) else ""


def age(t: float, snapshot: Snapshot) -> str:
    """How long ago something was, or that it is of this moment."""
    since = max(0.0, snapshot.t - t)
    return _("now") if since < 1 else _("{duration} ago").format(duration=units.duration(since))


def looked(deep: DeepLook, snapshot: Snapshot) -> str:
    """Which step was looked into, and when."""
    return _("step {step:,} · {value}").format(step=deep.step, value=age(deep.t, snapshot))


def peak_parts(
    record: MemoryRecord, modules: ModulesRecord | None, view: View, operator: bool = False, text: bool = False
) -> list[Row]:
    """`peak 43.1 MiB in backward`, then module and line, to be joined."""
    palette = view.palette
    head = [
        Segment(_("peak "), palette["dim"]),
        Segment(units.size(tensors_of(record.bytes), view.unit), palette["text"]),
    ]
    parts = where(record, modules, operator, text)
    if parts and phase_of(record):
        head.append(Segment(_(" in {value}").format(value=parts.pop(0)), palette["dim"]))
    return [head, *([Segment(part, palette["dim"])] for part in parts)]
