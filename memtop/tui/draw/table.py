"""The table by category: now, at the highest, share, history, theory and why it differs."""

from __future__ import annotations

from collections.abc import Sequence, Set

import msgspec
from rich.segment import Segment
from rich.style import Style

from memtop.model import units
from memtop.model.categories import TENSORS
from memtop.model.i18n import _
from memtop.model.records import MemoryRecord
from memtop.model.snapshot import Snapshot
from memtop.model.text import harmless
from memtop.tui.draw.cells import Row, fit, left, right
from memtop.tui.draw.figures import Figures, SizeColumn, measured, record_of, share_text, tensors_of
from memtop.tui.draw.peak import peak_of
from memtop.tui.draw.spark import spark
from memtop.tui.palette import LETTERS, title
from memtop.tui.view import View

_NAME = 15
_SUMS = ("tensors", "device")
_ROOM_FOR_PEAK = 96
"""Cells that a table must have for a column of its own for the peak."""
HEADS = {"forward_end": "fwd end", "backward_end": "bwd end", "step_end": "step end"}
_UNKNOWN_WHY = {"temporaries": "needs a deep look", "other_tensors": "needs a deep look"}
"""Why a category is unknown, where the way of measuring is the reason."""


class _Layout(msgspec.Struct, frozen=True):
    """Widths of the columns; 0 leaves one out."""

    size: SizeColumn
    peak: int
    share: int
    history: int
    theory: int
    note: int


def _layout(width: int, view: View, total: int | None, looked: bool) -> _Layout:
    size = SizeColumn(view.unit, total)
    highest = 2 + size.width
    peak = highest if looked and width >= _ROOM_FOR_PEAK else 0
    room = width - 2 - _NAME - 2 * highest - peak
    share = 9 if room >= 9 else 0
    room -= share
    theory = highest if room >= highest + 22 else 0
    rest = room - theory
    if theory:
        history = max(10, min((rest // 4) if peak else (2 * rest // 5), 62))
        note = rest - history - 4
        return _Layout(size, peak, share, history, theory, note)
    history = rest - 2 if rest >= 8 else 0
    return _Layout(size, peak, share, min(history, 60), 0, 0)


def _peak(snapshot: Snapshot, view: View) -> MemoryRecord | None:
    """The record of the column beside the newest figures, where it is not the newest itself."""
    return None if view.plain or view.moment == "peak" else peak_of(snapshot)


def table(
    snapshot: Snapshot, figures: Figures, width: int, height: int, view: View, drawn: Set[str] = frozenset()
) -> list[Row]:
    """At most `height` rows of exactly `width` cells. Figures that find no row are summed in one: they still add up."""
    layout = _layout(width, view, figures.total, _peak(snapshot, view) is not None)
    rows = [_head(snapshot, figures, layout, view)] if height > 3 else []
    names, dropped = _chosen(snapshot, figures, height - len(rows))
    for name in names:
        if name in _SUMS:
            rows.append(_sum_line(snapshot, figures, name, layout, view))
        else:
            rows.append(_line(snapshot, figures, name, layout, view, drawn))
    if dropped:
        rows.append(_rest_line(figures, dropped, layout, view))
    return [fit(row, width) for row in rows]


def _chosen(snapshot: Snapshot, figures: Figures, height: int) -> tuple[list[str], list[str]]:
    """The rows that fit, in their order, and the categories above zero that find none.

    What was never above zero in the history goes first, so that rows don't come and go with the moments of a step.
    """
    tensors = [name for name in figures.order if name in TENSORS]
    names = [*tensors, "tensors", *(name for name in figures.order if name not in TENSORS), "device"]
    ranks = {name: _rank(snapshot, figures, name) for name in names}
    order = sorted(names, key=lambda name: (ranks[name], names.index(name)))
    if ranks[order[min(len(order), max(0, height)) - 1]] == 0 and sum(rank == 0 for rank in ranks.values()) > height:
        height -= 1
    kept = set(order[: max(0, height)])
    dropped = [name for name in order if name not in kept and ranks[name] == 0] if height >= 0 else []
    return [name for name in names if name in kept], dropped


def _rank(snapshot: Snapshot, figures: Figures, name: str) -> int:
    """What stays when there is no room for all: figures that are or were above zero, sums, unknown, zero."""
    if name in _SUMS:
        return 1 + _SUMS.index(name)
    if figures.bytes.get(name) or any(snapshot.series.get(name, ())):
        return 0
    return 3 if figures.bytes.get(name) is None else 4


def _rest_line(figures: Figures, dropped: Sequence[str], layout: _Layout, view: View) -> Row:
    whole = sum(figures.bytes.get(name) or 0 for name in dropped)
    words = left(_("{value} more").format(value=len(dropped)), _NAME)
    return [Segment(f"… {words}  {layout.size.text(whole)}", view.palette["dim"])]


def _head(snapshot: Snapshot, figures: Figures, layout: _Layout, view: View) -> Row:
    record = record_of(snapshot, view.moment)
    dim = view.palette["faint"]
    now = _("now" if record is None or figures.tensors is None else HEADS.get(record.moment, record.moment))
    text = " " * (2 + _NAME) + "  " + right(now, layout.size.width)
    text += "  " + right(_("at peak"), layout.size.width) if layout.peak else ""
    text += " " + right(_("at highest"), layout.size.width + 1)  # A letter wider than sizes are.
    text += "  " + right(_("share"), 7) if layout.share else ""
    if layout.history:
        span = units.duration(layout.history * snapshot.series_seconds)
        text += "  " + left(_("last {span}").format(span=span), layout.history)
    if view.pinned is not None:
        from memtop.tui.draw import pinned  # Not before a run is: the first picture need not wait for it.

        text = left(text, 2 + _NAME + _width_before(layout))
        text += pinned.head(snapshot, view.pinned, layout.size, _rest(layout))
    elif layout.theory:
        text += "  " + right(_("theory"), layout.size.width) + "  "
        text += left(_("why it differs") if layout.peak else _("against theory"), layout.note)
    return [Segment(text, dim)]


def _width_before(layout: _Layout) -> int:
    """Cells from the categories' names to the history: the figures and the share."""
    return 2 * (2 + layout.size.width) + layout.peak + layout.share


def _rest(layout: _Layout) -> int:
    """Cells from the history on."""
    history = 2 + layout.history if layout.history else 0
    return history + (layout.theory + 2 + layout.note if layout.theory else 0)


def _against_pinned(view: View, name: str, highest: int | None, layout: _Layout) -> Row:
    from memtop.tui.draw import pinned

    return pinned.cells(view, name, highest, layout.size, _rest(layout))


def _line(snapshot: Snapshot, figures: Figures, name: str, layout: _Layout, view: View, drawn: Set[str]) -> Row:
    palette = view.palette
    value = figures.bytes.get(name)
    highest = snapshot.highest.bytes.get(name) if snapshot.highest is not None else None
    quiet = palette["faint"] if not value and not highest else palette["text"]
    shown = name in drawn or palette.mono
    mark = Segment(LETTERS[name], palette.fill(name) if shown and value else palette.ink(name))
    row = [mark, Segment(" " + left(title(name), _NAME), quiet)]
    row += [Segment("  " + layout.size.text(value), _figure_style(value, quiet, palette["faint"]))]
    peak = _peak(snapshot, view)
    top = None if peak is None else peak.bytes.get(name)
    if layout.peak:
        row += [Segment("  " + layout.size.text(top), _figure_style(top, quiet, palette["faint"]))]
    row += [Segment("  " + layout.size.text(highest), palette["dim"] if highest else palette["faint"])]
    if layout.share:
        whole = figures.tensors if name in TENSORS else figures.total
        row += [Segment("  " + share_text(value, whole), palette["dim"] if value else palette["faint"])]
    if view.pinned is not None:
        return row + _against_pinned(view, name, highest, layout)
    if value is None and highest is None and top is None and figures.tensors is not None and name in _UNKNOWN_WHY:
        return row + _why(name, layout, view)
    if layout.history:
        row += [Segment("  "), Segment(spark(snapshot.series.get(name, ()), layout.history), palette.ink(name))]
    return row + (_theory(snapshot, name, value, layout, view) if layout.theory else [])


def _why(name: str, layout: _Layout, view: View) -> Row:
    """Why there is no figure, in the last column that is wide enough for it."""
    before = layout.history + 4 + layout.size.width if layout.theory else 0
    words = _(_UNKNOWN_WHY[name])
    if not layout.theory and layout.history:
        words = left(words, layout.history)
    return [Segment(" " * (2 + before) + words, view.palette["faint"])] if layout.history else []


def _figure_style(value: int | None, quiet: Style, unknown: Style) -> Style:
    return unknown if value is None else quiet


def _theory(snapshot: Snapshot, name: str, shown: int | None, layout: _Layout, view: View) -> Row:
    """What the closed form says, and how the moment it speaks of compares. `shown` is the first column's figure."""
    palette = view.palette
    theory = snapshot.theory.get(name)
    words = _reason(snapshot, name, layout, view)
    if theory is None:
        return [Segment(" " * (4 + layout.size.width) + left(words or "", layout.note), palette["faint"])]
    row = [Segment("  " + layout.size.text(theory.bytes), palette["dim"])]
    if words is not None:
        return [*row, Segment("  " + left(words, layout.note), palette["faint"])]
    value, moment = measured(snapshot, name)
    if value is None:
        return [*row, Segment("  " + left(theory.why, layout.note), palette["faint"])]
    when = HEADS[moment]
    if value == theory.bytes:
        other = value != shown
        words = (_("at {when}: ").format(when=when) if other else "") + harmless(theory.why)
        return [*row, Segment("  = ", palette["good"]), Segment(left(words, layout.note - 2), palette["faint"])]
    off = value - theory.bytes
    near = abs(off) <= max(64, theory.bytes // 100)
    words = f"{'+' if off > 0 else '−'}{units.size(abs(off), view.unit)}"
    told = _why_of(snapshot, name, moment, view) or harmless(theory.why)
    rest = left(_(" at {when}: {told}").format(when=when, told=told), layout.note - len(words))
    return [*row, Segment(f"  {words}", palette["dim" if near else "warn"]), Segment(rest, palette["faint"])]


def _reason(snapshot: Snapshot, name: str, layout: _Layout, view: View) -> str | None:
    """Why the category is at the peak what it is there; `None` where it is as the closed form says, or not known."""
    if not layout.peak:
        return None
    told = _why_of(snapshot, name, "peak", view)
    return None if told == "=" else told


def _why_of(snapshot: Snapshot, name: str, moment: str, view: View) -> str | None:
    # Not before there is something to compare: the first picture need not wait for it.
    from memtop.tui.draw.reasons import why

    return why(snapshot, name, moment, view.unit)


def _sum_line(snapshot: Snapshot, figures: Figures, which: str, layout: _Layout, view: View) -> Row:
    palette = view.palette
    tensors = which == "tensors"
    now = figures.tensors if tensors else figures.total
    record = snapshot.highest
    highest = None if record is None else tensors_of(record.bytes) if tensors else record.device_total
    row = [Segment("Σ " + left(_("all tensors") if tensors else _("whole device"), _NAME), palette["strong"])]
    row += [Segment("  " + layout.size.text(now), palette["strong"])]
    if layout.peak:
        peak = _peak(snapshot, view)
        top = None if peak is None else tensors_of(peak.bytes) if tensors else peak.device_total
        row += [Segment("  " + layout.size.text(top), palette["strong"])]
    row += [Segment("  " + layout.size.text(highest), palette["text"])]
    if layout.share:
        row += [Segment("  " + share_text(now, figures.total), palette["text"])]
    if view.pinned is not None:
        return row + _against_pinned(view, which, highest, layout)
    if layout.history and tensors:
        row += [Segment("  "), Segment(spark(snapshot.series.get("tensors", ()), layout.history), palette["dim"])]
    elif layout.history:
        row += [Segment(" " * (2 + layout.history))]
    if layout.theory and tensors:
        words = _("from here on shares of the device") if now is not None and layout.note >= 33 else ""
        row += [Segment("  " + right("", layout.size.width) + "  " + left(words, layout.note), palette["faint"])]
    return row
