"""What lives at the peak, for wide screens: the lines and the modules that hold most of it."""

from __future__ import annotations

from rich.segment import Segment

from memtop.model import units
from memtop.model.deep_records import LineRow, LinesRecord, ModuleRow, ModulesRecord
from memtop.model.i18n import _
from memtop.model.snapshot import Snapshot
from memtop.model.text import one_line
from memtop.tui.draw.cells import Row, cut
from memtop.tui.draw.figures import share_text, tensors_of
from memtop.tui.draw.lines import HELD
from memtop.tui.draw.panel import panel
from memtop.tui.draw.peak import place
from memtop.tui.draw.remember import Remembered
from memtop.tui.draw.spark import meter
from memtop.tui.view import View

_KEPT = 20
_BAR = 8


def _lines(record: LinesRecord) -> list[LineRow]:
    return sorted((row for row in record.rows if row.at_peak > 0), key=lambda row: -row.at_peak)[:_KEPT]


def _modules(record: ModulesRecord) -> list[ModuleRow]:
    return sorted((row for row in record.rows if row.at_peak > 0 and row.path), key=lambda row: -row.at_peak)[:_KEPT]


_of_lines: Remembered[LinesRecord, list[LineRow]] = Remembered(_lines, keep=1)
_of_modules: Remembered[ModulesRecord, list[ModuleRow]] = Remembered(_modules, keep=1)


def most(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """The framed panel: lines in its upper half, modules in its lower; nothing where there was no deep look."""
    deep = snapshot.deep
    if deep is None or height < 6:
        return []
    whole, room = tensors_of(deep.peak.bytes), width - 4
    lines = [] if deep.lines is None else _of_lines(deep.lines)
    modules = [] if deep.modules is None else _of_modules(deep.modules)
    upper = min(len(lines), max((height - 2) // 2, height - 2 - len(modules)))
    rows = [_row(row.at_peak, whole, *_said(row), room, view) for row in lines[:upper]]
    rest = height - 2 - len(rows)
    rows += [
        _row(row.at_peak, whole, one_line(row.path or "", 200), one_line(row.type, 80), room, view)
        for row in modules[:rest]
    ]
    title = [Segment(_("Most at the peak "), view.palette["title"]), Segment(_("lines, modules"), view.palette["dim"])]
    aside = [Segment("x ", view.palette["key"]), Segment(_("all of them"), view.palette["dim"])]
    return panel(title, aside, rows, width, height, view.palette)


def _said(row: LineRow) -> tuple[str, str]:
    """A line's place and its text."""
    if row.file is None:
        return "held", HELD
    return place(row.file, row.line), one_line(row.text or row.function or "", 300).strip()


def _row(value: int, whole: int | None, name: str, words: str, width: int, view: View) -> Row:
    palette = view.palette
    row = [Segment(share_text(value, whole) + " ", palette["text"]), *meter(value, whole, _BAR, palette)]
    row.append(Segment(units.size(value, view.unit).rjust(9 if view.unit == "auto" else 16) + "  ", palette["dim"]))
    room = max(1, width - 20 - (9 if view.unit == "auto" else 16))
    name = cut(name, max(1, room // 2 if words else room))
    return [
        *row,
        Segment(name + "  ", palette["accent"]),
        Segment(cut(words, max(0, room - len(name))), palette["dim"]),
    ]
