"""The tensors over time, stacked by category; and the target's own words."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment

from memtop.model import units
from memtop.model.categories import TENSORS
from memtop.model.i18n import _
from memtop.model.snapshot import Snapshot
from memtop.model.text import harmless
from memtop.tui.draw.ansi import coloured
from memtop.tui.draw.axis import axis_width, with_axis
from memtop.tui.draw.cells import Row
from memtop.tui.draw.panel import panel
from memtop.tui.draw.spark import area
from memtop.tui.palette import Palette
from memtop.tui.view import View


def history(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """The framed panel: a stacked area with its scale at the left."""
    palette = view.palette
    slots, rows = width - 4 - axis_width(view), height - 2
    graph, top = area(snapshot.series, TENSORS, slots, rows, palette)
    body = [with_axis(row, y, rows, top, view) for y, row in enumerate(graph)] if top else _empty(snapshot, palette)
    span = units.duration(slots * snapshot.series_seconds)
    words = _("each at its highest, last {span}").format(span=span)
    title = [Segment(_("Tensors "), palette["title"]), Segment(words, palette["dim"])]
    return panel(title, _aside(snapshot, slots, width - cell_len(words) - 16, view), body, width, height, palette)


def _aside(snapshot: Snapshot, slots: int, room: int, view: View) -> Row:
    """Categories have their highest at different moments: their stack may be above what lived together, so say that."""
    together = [value for value in list(snapshot.series.get("tensors", ()))[-slots:] if value is not None]
    if not together:
        return []
    palette, most = view.palette, units.size(max(together), view.unit)
    for words in (_("together at most "), _("together ≤ "), "≤ "):
        if cell_len(words) + len(most) <= room:
            return [Segment(words, palette["dim"]), Segment(most, palette["text"])]
    return []


def _empty(snapshot: Snapshot, palette: Palette) -> list[Row]:
    return [[Segment(harmless(snapshot.phase_text) or _("no tensor seen yet"), palette["dim"])]]


def output(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """The framed panel: the last lines of the target's stdout and stderr."""
    palette = view.palette
    count = _("1 line") if snapshot.output_lines == 1 else _("{count:,} lines").format(count=snapshot.output_lines)
    newest = snapshot.output[-(height - 2) :]
    body = [coloured(line, width - 4, palette["text"], palette.mono) for line in newest]
    if not body:
        body = [[Segment(_(snapshot.silence), palette["faint"])]]
    title = [Segment(_("Output "), palette["title"]), Segment(count, palette["dim"])]
    return panel(
        title, [Segment("e ", palette["key"]), Segment(_("all of it"), palette["dim"])], body, width, height, palette
    )
