"""From a snapshot to the figures that bar, table and summary share. Arithmetic only."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from memtop.model.categories import TENSORS, of_device
from memtop.model.i18n import _
from memtop.model.records import DeviceRecord, MemoryRecord
from memtop.model.snapshot import Phase, Snapshot
from memtop.model.units import Unit, duration, percent, size

STALE = 3.0
"""Seconds after which a figure shows its age."""
NOTHING_YET = "no tensor seen yet"
_ORDER = {"forward_end": 0, "peak": 1, "backward_end": 2, "step_end": 3}
_TELLING = {"activations": "forward_end", "inputs": "forward_end", "gradients": "backward_end"}
"""The moment that a category's closed form speaks of; the others' holds from the first step's end on."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
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
    if moment == "most":
        over = snapshot.highest if snapshot.phase is Phase.ENDED else None
        return over or _fullest(snapshot) or snapshot.now
    if moment == "peak" and snapshot.deep is not None:
        return snapshot.deep.peak
    return snapshot.highest if moment == "highest" else snapshot.moments.get(moment)


def _fullest(snapshot: Snapshot) -> MemoryRecord | None:
    """Of the newest record of each moment that with the most tensors; of equals the earliest in a step.

    A peak is known of few steps only: it would stand there, and grow old, while the training goes on.
    """
    steady = [record for moment, record in snapshot.moments.items() if moment != "peak"]
    records = sorted(steady or snapshot.moments.values(), key=lambda record: _ORDER.get(record.moment, len(_ORDER)))
    return max(records, key=lambda record: tensors_of(record.bytes) or 0, default=None)


def figures_of(snapshot: Snapshot, moment: str) -> Figures:
    """The figures of the device in focus; before the first memory record, what the outside alone can tell."""
    record = record_of(snapshot, moment)
    if record is None:
        return _outside(snapshot, moment)
    tensors = tensors_of(record.bytes)
    over = snapshot.phase is Phase.ENDED and record is snapshot.highest
    top = moment == "highest" or (moment == "most" and over)
    return Figures(
        order=of_device(record.device),
        bytes=record.bytes,
        total=record.device_total,
        tensors=tensors,
        says=_(NOTHING_YET) if tensors is None else _says(record, top),
        age=None if top else max(0.0, snapshot.t - record.t),
        notes=tuple(record.notes),
    )


def _says(record: MemoryRecord, top: bool) -> str:
    prefix = _("highest, ") if top else ""
    return _("{prefix}{moment} of step {step:,}").format(
        prefix=prefix, moment=_(record.moment.replace("_", " ")), step=record.step
    )


def _outside(snapshot: Snapshot, moment: str) -> Figures:
    """Before any tensor was seen: what the host or the driver says of the whole device."""
    order = of_device(snapshot.device)
    cuda = snapshot.device.startswith("cuda")
    device = snapshot.gpu if cuda else snapshot.cpu
    waits = snapshot.phase in (Phase.STARTING, Phase.IMPORTING, Phase.WAITING)
    says = _(NOTHING_YET) if waits else _("no figure at {moment}").format(moment=_(moment.replace("_", " ")))
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
    """A category in the newest record of the moment that its closed form speaks of, and which moment that is."""
    moment = _TELLING.get(category, "step_end")
    record = snapshot.moments.get(moment)
    return (None if record is None else record.bytes.get(category)), moment


def age_text(age: float | None) -> str:
    """` · 12 s ago` of an old figure, nothing of a fresh one."""
    return "" if age is None or age < STALE else _(" · {value} ago").format(value=duration(age))


def share_text(value: int | None, whole: int | None) -> str:
    """A share; what would read as nothing though it is something, says so."""
    if value and whole and abs(100 * value / whole) < 0.05:
        return " <0.1 %" if value > 0 else "-<0.1 %"
    return f"{percent(value, whole if whole and whole > 0 else None):>7}"


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
