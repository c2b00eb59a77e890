"""The page's tables. Bytes stand in full; what does not fit is summed in one row, so that the sums still hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from memtop.model import units
from memtop.model.categories import MEANING, TENSORS, of_device
from memtop.model.colours import title
from memtop.model.deep_records import LineRow, LinesRecord, ModuleRow, ModulesRecord
from memtop.model.logbook import Book, tensors
from memtop.model.records import MemoryRecord
from memtop.report.html import Html, Part, table, tag

_ROWS: Final = 200
"""Rows of a table, at most."""


def count(value: int | None) -> str:
    """Bytes in full, or a dash."""
    return units.number(value)


def by_category(record: MemoryRecord) -> Html:
    """Every category of the device at one moment, their sums below."""
    rows: list[Sequence[Part]] = []
    for name in of_device(record.device):
        value = record.bytes.get(name)
        whole = tensors(record) if name in TENSORS else record.device_total
        key = tag("i", "", class_="key", style=f"background:var(--c-{name})")
        rows.append((Html(key + title(name)), count(value), units.size(value), _share(value, whole), MEANING[name]))
    sums = [("all tensors", tensors(record)), ("whole device", record.device_total)]
    rows += [(Html(f"<b>{name}</b>"), count(value), units.size(value), "", "") for name, value in sums]
    heads = ("category", "bytes", "", "share", "what it holds")
    return table(heads, rows, numbers=(1, 2, 3))


def _share(value: int | None, whole: int | None) -> str:
    """A share; what would read as nothing though it is something, says so."""
    if value and whole and whole > 0 and abs(value) * 2000 < whole:
        return "<0.1 %"
    return units.percent(value, whole if whole and whole > 0 else None)


def by_module(record: ModulesRecord) -> Html:
    """The modules, each without its children: the columns sum to the whole step."""
    heads = ("module", "class", "output", "parameters, B", "gradients, B", "state, B", "activations, B", "at peak, B")
    rows = [_module(row) for row in record.rows[:_ROWS]]
    rest = record.rows[_ROWS:]
    if rest:
        rows.append((f"{len(rest):,} more", "", "", *_sums(rest)))
    return table(heads, rows, numbers=range(3, 8), total=("all", "", "", *_sums(record.rows)))


def _module(row: ModuleRow) -> Sequence[Part]:
    name = "(no module)" if row.path is None else row.path or "(root)"
    shape = units.UNKNOWN if row.output is None else str(tuple(row.output))
    return (tag("code", name), row.type, shape, *_sums([row]))


def _sums(rows: Sequence[ModuleRow]) -> tuple[str, ...]:
    names = ("parameter_bytes", "gradient_bytes", "state_bytes", "activations", "at_peak")
    return tuple(count(sum(getattr(row, name) for row in rows)) for name in names)


def by_line(record: LinesRecord) -> Html:
    """The person's lines by bytes alive at the peak."""
    rows = [_line(row) for row in record.rows[:_ROWS]]
    rest = record.rows[_ROWS:]
    if rest:
        rows.append((f"{len(rest):,} more", "", "", *_line_sums(rest)))
    heads = ("line", "phase", "code", "at peak, B", "made, B", "kept, B", "tensors")
    return table(heads, rows, numbers=range(3, 7), total=("all", "", "", *_line_sums(record.rows)))


def _line(row: LineRow) -> Sequence[Part]:
    place = "before the step" if row.file is None else f"{PurePath(row.file).name}:{row.line}"
    return (place, row.phase, tag("code", row.text) if row.text else "", *_line_sums([row]))


def _line_sums(rows: Sequence[LineRow]) -> tuple[str, ...]:
    return tuple(count(sum(getattr(row, name) for row in rows)) for name in ("at_peak", "born", "kept", "count"))


def places(book: Book) -> Html:
    """The highest of every rank and device."""
    rows: list[Sequence[Part]] = []
    for (rank, device), record in sorted(book.highest.items()):
        where = f"{record.moment.replace('_', ' ')} of step {record.step:,}"
        whole = tensors(record)
        rows.append((device, str(rank), where, count(whole), units.size(whole), count(record.device_total)))
    heads = ("device", "rank", "highest at", "tensors, B", "", "device, B")
    return table(heads, rows, numbers=(1, 3, 4, 5))


def events(book: Book) -> Html:
    """What happened, in order."""
    rows = [(units.duration(event.t), event.name, event.message) for event in book.events]
    return table(("at", "event", ""), rows)
