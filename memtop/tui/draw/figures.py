"""From a snapshot to the figures that bar, table and summary share. Arithmetic only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from memtop.model.categories import TENSORS, of_device
from memtop.model.records import DeviceRecord, MemoryRecord
from memtop.model.snapshot import Phase, Snapshot
from memtop.model.units import Unit, duration, size

STALE = 3.0
"""Seconds after which a figure shows its age."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One device at one moment, as bar and table show it."""

    order: tuple[str, ...]
    bytes: Mapping[str, int | None]
    total: int | None
    tensors: int | None
    """Sum of the tensor categories that are known; `None` where none is."""
    says: str
    """Which moment this is, in words."""
    age: float | None
    """Seconds since it was read; `None` where nothing was."""
    notes: tuple[str, ...] = ()


def tensors_of(figures: Mapping[str, int | None]) -> int | None:
    """The sum of the tensor categories that are known, bytes; `None` where none is."""
    known = [value for name in TENSORS if (value := figures.get(name)) is not None]
    return sum(known) if known else None


def record_of(snapshot: Snapshot, moment: str) -> MemoryRecord | None:
    """The memory record that `view.moment` asks for."""
    if moment == "now":
        return snapshot.now
    return snapshot.highest if moment == "highest" else snapshot.moments.get(moment)


def figures_of(snapshot: Snapshot, moment: str) -> Figures:
    """The figures of the device in focus; before the first memory record, what the outside alone can tell."""
    record = record_of(snapshot, moment)
    if record is None:
        return _outside(snapshot, moment)
    words = record.moment.replace("_", " ")
    prefix = "highest, " if moment == "highest" else ""
    return Figures(
        order=of_device(record.device),
        bytes=record.bytes,
        total=record.device_total,
        tensors=tensors_of(record.bytes),
        says=f"{prefix}{words} of step {record.step:,}",
        age=None if moment == "highest" else max(0.0, snapshot.t - record.t),
        notes=tuple(record.notes),
    )


def _outside(snapshot: Snapshot, moment: str) -> Figures:
    """Before any tensor was seen: what the host or the driver says of the whole device."""
    order = of_device(snapshot.device)
    cuda = snapshot.device.startswith("cuda")
    device = snapshot.gpu if cuda else snapshot.cpu
    waits = snapshot.phase in (Phase.STARTING, Phase.IMPORTING, Phase.WAITING)
    says = "no tensor yet" if waits else f"no figure at {moment.replace('_', ' ')}"
    if device is None or device.memory_total is None or device.memory_free is None:
        return Figures(order=order, bytes={}, total=None, tensors=None, says=says, age=None)
    own = _gpu_own(device) if cuda else device.tree_pss or device.tree_rss
    rest = device.memory_total - device.memory_free
    own = None if own is None else min(own, rest)
    held = {("context" if cuda else "runtime"): own, "other_processes": rest - (own or 0), "free": device.memory_free}
    age = max(0.0, snapshot.t - device.t)
    return Figures(order=order, bytes=held, total=device.memory_total, tensors=None, says=says, age=age)


def _gpu_own(device: DeviceRecord) -> int | None:
    """Device memory of the target's own processes, where the driver tells."""
    if device.processes is None:
        return None
    return sum(process.bytes or 0 for process in device.processes if process.ours)


def measured(snapshot: Snapshot, category: str) -> tuple[int | None, str]:
    """A category at its highest among the newest record of each moment, and which moment that is."""
    best: tuple[int | None, str] = (None, "")
    for record in (*snapshot.moments.values(), snapshot.now):
        value = None if record is None else record.bytes.get(category)
        if record is not None and value is not None and (best[0] is None or value > best[0]):
            best = value, record.moment.replace("_", " ")
    return best


def age_text(age: float | None) -> str:
    """` · 12 s ago` of an old figure, nothing of a fresh one."""
    return "" if age is None or age < STALE else f" · {duration(age)} ago"


class SizeColumn:
    """Byte counts of one column: same width always, the number right-aligned, the unit in its own place."""

    def __init__(self, unit: Unit, largest: int | None) -> None:
        """`largest` is the largest count that the column may show: the device's total."""
        self.unit = unit
        number = 5 if unit == "auto" else max(9, len(size(largest or 0, unit).rsplit(" ", 1)[0]) + 1)
        self._number, self._suffix = number, {"auto": 3, "MiB": 3, "MB": 2, "B": 1}[unit]
        self.width = number + 1 + self._suffix

    def text(self, count: int | None) -> str:
        """The count in exactly `width` cells; unknown is a dash under the numbers' last digit."""
        number, _, suffix = size(count, self.unit).partition(" ")
        return f"{number:>{self._number}} {suffix:<{self._suffix}}"
