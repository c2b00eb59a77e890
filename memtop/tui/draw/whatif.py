"""What other settings would take, line by line: forecasts dim, what was measured plain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from rich.segment import Segment

from memtop.model import units
from memtop.model.i18n import _
from memtop.model.whatif_look import Told
from memtop.tui.draw.cells import Row, cut, fit, join, left, right, wrap
from memtop.tui.draw.figures import SizeColumn
from memtop.tui.draw.sheet import GAP, Column, Sight, body, chosen, gutter, head, marked
from memtop.tui.palette import Palette
from memtop.tui.trying import Entry
from memtop.tui.view import View

BELOW: Final = 5
"""Rows under the table: what the marked line rests on, and what enter does."""
_NAME: Final = 25
"""Cells of the longest name."""
_LEAST: Final = 34
"""Cells that what a line rests on needs to be worth a column."""


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """What the panel shows."""

    told: Told | None
    why: str | None
    """Why there are no lines."""
    entries: Sequence[Entry]
    sight: Sight
    scenario: bool
    """Whether a line can be tried."""


def rows_in_sight(height: int) -> int:
    """How many lines a panel of this height shows."""
    return max(1, height - 1 - BELOW)


def panel(sheet: Sheet, width: int, height: int, view: View) -> list[Row]:
    """`height` rows: titles, the lines, and more of the marked one."""
    palette = view.palette
    if sheet.told is None:
        return [[Segment(cut(sheet.why or "", width), palette["dim"])]]
    columns = chosen(_columns(sheet, view), width - 2, _NAME)
    room = width - 2 - _NAME - sum(column.width + GAP for column in columns) - GAP
    size = SizeColumn(view.unit, sheet.told.lines[0].peak)
    rows = [[Segment("  "), *head(" " * _NAME, columns, width - 2 - (room + GAP), "", palette)]]
    rows[0] += [Segment(" " * GAP + _("rests on"), palette["faint"])] if room >= _LEAST else []

    def draw(number: int, here: bool) -> Row:
        row = _line(sheet.entries[number], here, columns, room, size, sheet.told, palette)
        return marked(row, width, palette) if here else row

    rows += body(len(sheet.entries), sheet.sight, rows_in_sight(height), draw)
    rows += _below(sheet, width, view)
    return [fit(row, width) for row in rows[:height]]


def _columns(sheet: Sheet, view: View) -> list[Column]:
    size = SizeColumn(view.unit, None if sheet.told is None else sheet.told.lines[0].peak).width + 2
    tried = any(entry.setting is not None for entry in sheet.entries)
    columns = [
        Column("peak", "peak", size, 1),
        Column("saves", "saves", size, 6),
        Column("share", "", 8, 4),
        Column("batch", "largest batch", 14, 2),
    ]
    return [*columns, Column("measured", "measured", size - 2, 3), Column("off", "", 8, 5)] if tried else columns


def _line(
    entry: Entry, here: bool, columns: list[Column], room: int, size: SizeColumn, told: Told | None, palette: Palette
) -> Row:
    line = entry.line
    name = f"{_(line.name)} ●" if entry.runs else _(line.name)
    row = [gutter(here, palette), Segment(left(name, _NAME), palette["strong" if here or entry.runs else "text"])]
    now = None if told is None else told.lines[0]
    for column in columns:
        words, role = _cell(column.name, entry, size, None if now is None else now.peak)
        row += [Segment(" " * GAP), Segment(right(words, column.width), palette[role])]
    if room >= _LEAST:
        row += [Segment(" " * GAP), Segment(left(line.rests_on, room), palette["faint"])]
    return row


def _cell(name: str, entry: Entry, size: SizeColumn, now: int | None) -> tuple[str, str]:
    """Words, and the role of their colour: what is forecast is dim and says so."""
    line = entry.line
    if name == "peak":
        return (size.text(line.peak), "text") if line.now else (f"~ {size.text(line.peak)}", "dim")
    if name == "batch":
        return (units.UNKNOWN, "faint") if line.max_batch is None else (f"~ {line.max_batch:,}", "dim")
    if name == "measured":
        if entry.measured is None:
            return (_("measuring …"), "accent") if entry.runs else ("", "faint")
        return size.text(entry.measured), "text"
    if line.now:
        return "", "faint"
    if name == "off":
        return ("", "faint") if entry.off is None else (f"{100 * entry.off:+.1f} %", "text")
    role = "good" if line.saves > 0 else "dim"
    return (f"~ {size.text(line.saves)}" if name == "saves" else units.percent(line.saves, now)), role


def _below(sheet: Sheet, width: int, view: View) -> list[Row]:
    """The marked line in words."""
    if sheet.sight.cursor >= len(sheet.entries):
        return [Row()] * BELOW
    entry, palette, told = sheet.entries[sheet.sight.cursor], view.palette, sheet.told
    line = entry.line
    mark, size = "" if line.now else "~ ", units.size(line.peak, view.unit)
    parts = [
        [Segment(_(line.name), palette["strong"])],
        [Segment(mark + _("{size} in {phase}").format(size=size, phase=_(line.phase)), palette["text"])],
    ]
    if told is not None and told.limit is not None and line.max_batch is not None:
        words = _("batch ~ {batch:,} within {limit}, {margin:.1f} % left free").format(
            batch=line.max_batch, limit=units.size(told.limit, view.unit), margin=100 * told.margin
        )
        parts.append([Segment(words, palette["dim"])])
    basis = _("rests on: {what}").format(what=line.rests_on)
    rests = [[Segment(row, palette["dim"])] for row in wrap(basis, width)[:2]]
    rows = [Row(), join(parts, width, Segment(" · ", palette["faint"])), *rests, _trial(sheet, entry, view)]
    return rows + [Row()] * (BELOW - len(rows))


def _trial(sheet: Sheet, entry: Entry, view: View) -> Row:
    palette, line = view.palette, entry.line
    if entry.measured is not None and not line.now:
        forecast, measured = units.size(line.peak, view.unit), units.size(entry.measured, view.unit)
        off = "" if entry.off is None else f" ({100 * entry.off:+.1f} %)"
        words = _("forecast {forecast}, measured {measured}{off}").format(forecast=forecast, measured=measured, off=off)
        return [Segment(words, palette["accent"])]
    if entry.runs:
        return [Segment(_("this is how it runs") if line.now else _("its deep look is on the way"), palette["dim"])]
    if not sheet.scenario:
        return [Segment(_("an estimate: only built-in scenarios can be tried from here"), palette["faint"])]
    if line.now:
        return [Segment(_("enter goes back to it"), palette["key_text"])]
    if entry.setting is None:
        return [Segment(_("this scenario has no setting for it"), palette["faint"])]
    name, value = entry.setting
    words = _("enter tries it: {setting} {value}, a new process").format(setting=_(name), value=value)
    return [Segment(words, palette["key_text"])]
