"""One step as a sawtooth: bytes by category through its time, its phases below, its peak marked, a cursor to read it.

Every column shows its highest point, so that the peak is seen at any width.
"""

from __future__ import annotations

import math
from itertools import groupby
from typing import Final

import msgspec
from rich.cells import cell_len
from rich.segment import Segment

from memtop.model import units
from memtop.model.deep_records import TraceRecord
from memtop.model.i18n import N_, _
from memtop.model.snapshot import DeepLook, Snapshot
from memtop.model.text import one_line
from memtop.tui.draw.axis import axis_width, with_axis
from memtop.tui.draw.cells import Row, fit, flow, left, put
from memtop.tui.draw.figures import tensors_of
from memtop.tui.draw.panel import panel
from memtop.tui.draw.peak import age, phase_of, seconds, where
from memtop.tui.draw.remember import Remembered
from memtop.tui.draw.spark import Cell, column, rows_of
from memtop.tui.draw.trace import Window, bands, column_of, phase_at, slots, sound, ticks, totals, whole
from memtop.tui.palette import LETTERS, Palette, title
from memtop.tui.view import View

PHASES: Final = {
    "data": "inputs",
    "forward": "activations",
    "backward": "gradients",
    N_("recompute"): "buffers",
    "optimizer": "optimizer_state",
}
"""The colour of each phase: mostly that of the category it makes."""
_TICKS = 14
_OPTIONAL = ("band", "peak", "cursor", "figures", "axis", "needle", "mark")
"""What stands around the graph, most wanted first."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the person looks at: a part of the step, and a point in it."""

    window: Window
    at: int
    """Index of the point that the cursor stands on."""


def _graph(trace: TraceRecord, window: Window, width: int, height: int, palette: Palette) -> list[Row]:
    """The graph without its scale, from nothing to the whole step's peak."""
    top = max(totals(trace), default=0)
    made: dict[int | None, list[Cell]] = {None: [(" ", "", "")] * height}
    order = [name if name in LETTERS else "other_tensors" for name in trace.columns]
    points = slots(trace, window, width)
    for point in points:
        if point is not None and point not in made:
            stack = [max(0, value) for value in trace.points[point]]
            made[point] = column(stack, order, top, height, palette)
    return rows_of([made[point] for point in points], height, palette)


_graphs: Remembered[TraceRecord, list[Row]] = Remembered(_graph)


def graph(trace: TraceRecord, window: Window, width: int, height: int, view: View) -> list[Row]:
    """The stacked area with its scale at the left, `width` cells in all."""
    top = max(totals(trace), default=0)
    rows = _graphs(trace, window, max(1, width - axis_width(view)), height, view.palette)
    return [with_axis(row, y, height, top, view) for y, row in enumerate(rows)]


def band(trace: TraceRecord, window: Window, width: int, view: View) -> Row:
    """The phases as a strip under the graph, each with its name where there is room."""
    row = [Segment(" " * axis_width(view))]
    for name, run in groupby(bands(trace, window, max(1, width - axis_width(view)))):
        row.append(_phase(name, len(list(run)), view.palette))
    return row


def _phase(name: str | None, width: int, palette: Palette) -> Segment:
    if name is None:
        return Segment(" " * width)
    word = _(name)
    if palette.mono:
        size = cell_len(word)
        return Segment(f"│{word}" + "─" * (width - 1 - size) if width > size else name[0] * width)
    words = next((each for each in (f" {word}", word, word[:3], "") if cell_len(each) < width), "")
    return Segment(left(words, width), palette.fill(PHASES.get(name, "other_tensors")))


def scale(window: Window, width: int, view: View) -> Row:
    """Round times under the phases."""
    room, digits = max(1, width - axis_width(view)), _digits(window, _TICKS / max(1, width))
    text = " " * room
    for x, at in ticks(window, room, _TICKS):
        words = ("╵" if x else "") + units.milliseconds(at, digits)
        if x + len(words) <= room:
            text = text[:x] + words + text[x + len(words) :]
    return [Segment(" " * axis_width(view)), Segment(text, view.palette["faint"])]


def _digits(window: Window, part: float) -> int:
    """Digits after the point in ms, so that two neighbours differ."""
    step = 1e3 * window.span * part
    return max(0, min(6, math.ceil(-math.log10(step)))) if step > 0 else 0


def tab(deep: DeepLook, trace: TraceRecord, reading: Reading, width: int, height: int, view: View) -> list[Row]:
    """`height` rows: the peak in words, the picture, and what the cursor reads."""
    top, bottom, left_over = _around(deep, trace, reading, width, height, view)
    rows = graph(trace, reading.window, width, max(1, left_over), view)
    cursor, palette = _cursor(trace, reading, width, view), view.palette
    if cursor is not None:
        rows = [_line(row, cursor, palette) for row in rows]
    return [fit(row, width) for row in (top + rows + bottom)[:height]]


def _around(
    deep: DeepLook, trace: TraceRecord, reading: Reading, width: int, height: int, view: View
) -> tuple[list[Row], list[Row], int]:
    """What stands above and below the graph, as far as there is room for it, and the rows that it leaves."""
    palette, lead = view.palette, axis_width(view)
    cursor, window = _cursor(trace, reading, width, view), reading.window
    peak = column_of(trace.times[trace.peak], window, max(1, width - lead))
    parts = {
        "peak": peak_lines(deep, width, 2 if height >= 18 else 1, view),
        "needle": [_mark(cursor, "▼", "accent", palette)],
        "mark": [_mark(None if peak is None else lead + peak, "▲", "warn", palette)],
        "band": [band(trace, window, width, view)],
        "axis": [scale(window, width, view)],
        "cursor": [_says(deep, trace, reading, width, view)],
        "figures": _figures(trace, reading, width, 3 if height >= 18 else 2 if height >= 12 else 1, view),
    }
    room = height - min(height, 4 if height < 14 else height // 2)
    kept = dict[str, list[Row]]()
    for name in _OPTIONAL:
        if len(parts[name]) <= room:
            kept[name] = parts[name]
            room -= len(parts[name])
    above = kept.get("peak", []) + kept.get("needle", [])
    below = [row for name in ("mark", "band", "axis", "cursor", "figures") for row in kept.get(name, [])]
    return above, below, height - len(above) - len(below)


def _mark(x: int | None, words: str, role: str, palette: Palette) -> Row:
    return [] if x is None else [Segment(" " * x), Segment(words, palette[role])]


def _cursor(trace: TraceRecord, reading: Reading, width: int, view: View) -> int | None:
    lead = axis_width(view)
    x = column_of(trace.times[reading.at], reading.window, max(1, width - lead))
    return None if x is None else lead + x


def _line(row: Row, x: int, palette: Palette) -> Row:
    """The cursor's line where nothing is drawn."""
    text = "".join(segment.text for segment in row)
    return put(row, x, "│", palette["accent"]) if text[x : x + 1] == " " else row


def peak_lines(deep: DeepLook, width: int, most: int, view: View) -> list[Row]:
    """How high the peak is, when, and where."""
    palette, record = view.palette, deep.peak
    head = [Segment("▲ ", palette["warn"]), Segment(_("peak "), palette["dim"])]
    head.append(Segment(units.size(tensors_of(record.bytes), view.unit), palette["strong"]))
    at = seconds(record)
    if at is not None:
        head.append(Segment(_(" at {milliseconds}").format(milliseconds=units.milliseconds(at)), palette["dim"]))
    parts = [head, *([Segment(words, palette["text"])] for words in where(record, deep.modules))]
    return flow(parts, width, most, Segment(" · ", palette["faint"]))


def _says(deep: DeepLook, trace: TraceRecord, reading: Reading, width: int, view: View) -> Row:
    palette, at = view.palette, trace.times[reading.at]
    # A phase may begin within the clock's last digit of the peak: of the peak itself the record says which it is.
    phase = (phase_of(deep.peak) if reading.at == trace.peak else "") or phase_at(trace, at)
    digits = max(2, _digits(reading.window, 1 / max(1, width)))
    share = units.percent(totals(trace)[reading.at], max(totals(trace)))
    parts = [
        [Segment("▼ ", palette["accent"]), Segment(units.milliseconds(at, digits).rjust(10), palette["strong"])],
        [Segment(left(_(phase) if phase else _("between"), 10), palette["text"])],
        [Segment(units.size(sum(trace.points[reading.at]), view.unit).rjust(9), palette["strong"])],
        [Segment(_("{value} of the peak").format(value=share.rjust(7)), palette["dim"])],
        [
            Segment(
                _("point {value:,} of {value2:,}").format(value=reading.at + 1, value2=len(trace.points)),
                palette["faint"],
            )
        ],
    ]
    zoom = whole(trace).span / reading.window.span
    if zoom > 1.01:
        parts.append([Segment(_("{zoom:,.0f}× enlarged").format(zoom=zoom), palette["accent"])])
    return flow(parts, width, 1, Segment("  "))[0]


def _figures(trace: TraceRecord, reading: Reading, width: int, most: int, view: View) -> list[Row]:
    """Each category's bytes under the cursor; those that never held a byte are left out, so that nothing jumps."""
    palette = view.palette
    values = dict(zip(trace.columns, trace.points[reading.at], strict=True))
    parts = [
        [
            Segment(LETTERS.get(name, "?"), palette.fill(name) if name in LETTERS else palette["text"]),
            Segment(f" {title(one_line(name, 40))}", palette["dim"]),
            Segment(f" {units.size(values[name], view.unit).rjust(9)}", palette["text" if values[name] else "faint"]),
        ]
        for name in _ever(trace)
    ]
    return flow(parts, width, most, Segment("  "))


def _seen(trace: TraceRecord) -> list[str]:
    return [name for name, *values in zip(trace.columns, *trace.points, strict=True) if any(values)]


_ever: Remembered[TraceRecord, list[str]] = Remembered(_seen)


def small(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """The framed panel of the main screen; nothing where no step was watched whole, or where it finds no room."""
    deep = snapshot.deep
    trace = None if deep is None else deep.trace
    if deep is None or trace is None or not sound(trace) or height < 5:
        return []
    palette = view.palette
    words = [
        Segment(_("Inside step {step:,} ").format(step=deep.step), palette["title"]),
        Segment(age(deep.t, snapshot), palette["dim"]),
    ]
    body = _bodies(trace, width - 4, height - 2, palette, view.unit)
    aside = [Segment("x ", palette["key"]), Segment(_("all of it"), palette["dim"])]
    return panel(words, aside, body, width, height, palette)


def _body(trace: TraceRecord, width: int, height: int, palette: Palette, unit: units.Unit) -> list[Row]:
    view, window = View(palette=palette, unit=unit), whole(trace)
    below = [band(trace, window, width, view)] + ([scale(window, width, view)] if height >= 6 else [])
    return graph(trace, window, width, height - len(below), view) + below


_bodies: Remembered[TraceRecord, list[Row]] = Remembered(_body)
