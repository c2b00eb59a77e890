"""One step, moment by moment: what lives when forward ends, when backward ends, and when the step ends."""

from __future__ import annotations

from rich.segment import Segment

from memtop.model import units
from memtop.model.categories import TENSORS
from memtop.model.i18n import _
from memtop.model.snapshot import Snapshot
from memtop.tui.draw.bar import bar, parts
from memtop.tui.draw.cells import Row, fit, left
from memtop.tui.draw.figures import record_of, tensors_of
from memtop.tui.draw.panel import panel
from memtop.tui.palette import LETTERS
from memtop.tui.view import View

_SHOWN = ("forward_end", "backward_end", "step_end", "highest")
MOMENT_ROWS = len(_SHOWN) * 2 + 1
"""Rows of the panel with its frame: a bar each, with air between."""
_NAME = 13


def moments(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """The framed panel: a bar of the tensors at each moment, all on the scale of the highest."""
    if height < 3:
        return []
    body = _bars(snapshot, width - 4, view)
    if height < MOMENT_ROWS:
        body = body[::2]
    title = [
        Segment(_("Moments "), view.palette["title"]),
        Segment(_("of a step, its tensors at each"), view.palette["dim"]),
    ]
    return panel(title, [], body, width, height, view.palette)


def _bars(snapshot: Snapshot, width: int, view: View) -> list[Row]:
    records = {moment: record_of(snapshot, moment) for moment in _SHOWN}
    sums = {moment: tensors_of(record.bytes) for moment, record in records.items() if record is not None}
    scale = max((value for value in sums.values() if value), default=0)
    rows: list[Row] = []
    for moment, record in records.items():
        row = [Segment(left(_(moment.replace("_", " ")), _NAME), view.palette["dim"])]
        value = sums.get(moment)
        if record is None or not value or not scale:
            row.append(Segment(units.UNKNOWN, view.palette["faint"]))
        else:
            row += _bar(record.bytes, value, scale, width - _NAME - 1 - _column(view), view)
        rows += [fit(row, width), Row()]
    return rows[:-1]


def _bar(figures: dict[str, int | None], value: int, scale: int, room: int, view: View) -> Row:
    lengths = parts({name: figures.get(name) for name in TENSORS}, TENSORS)
    used = sum(length for _, length in lengths)
    labels = {name: LETTERS[name] for name in TENSORS}
    rows, _drawn = bar([*lengths, ("gap", max(0, scale - used))], max(1, room), view.palette, [labels])
    return [*rows[0], Segment(units.size(value, view.unit).rjust(_column(view) + 1), view.palette["text"])]


def _column(view: View) -> int:
    return 10 if view.unit == "auto" else 18
