"""What needs action, in full: memory that ran out, lines that leak, lines that make the CPU wait."""

from __future__ import annotations

from rich.segment import Segment

from memtop.model import leaks, oom_text, units
from memtop.model.i18n import _
from memtop.model.leaks import Leak, Waits
from memtop.model.oom import Explanation
from memtop.model.snapshot import Snapshot
from memtop.model.text import harmless
from memtop.tui.draw.cells import Row, left, right, wrap
from memtop.tui.view import View

_MOST = 12
"""Lines that wait, of those told."""


def troubles(snapshot: Snapshot, width: int, view: View) -> list[Row]:
    """All of it, each section under its title; nothing where all is well."""
    rows: list[Row] = []
    if snapshot.oom is not None:
        rows += _titled(_("Out of memory, explained"), view) + _oom(snapshot.oom, width, view)
    if snapshot.leaks:
        rows += _titled(_("Leaks"), view)
        rows += [row for leak in snapshot.leaks for row in _leak(leak, width, view)]
    if snapshot.waits is not None:
        rows += _titled(_("What makes the CPU wait"), view) + _waits(snapshot.waits, width, view)
    return rows


def _titled(words: str, view: View) -> list[Row]:
    return [Row(), [Segment(words, view.palette["title"])]]


def _oom(told: Explanation, width: int, view: View) -> list[Row]:
    head = harmless(oom_text.headline(told, _))
    rows: list[Row] = [[Segment(line, view.palette["strong"])] for line in wrap(head, width)]
    before = ""
    for name, fact in oom_text.facts(told, _):
        narrow = max(20, min(width, 110) - (4 if name else 0))
        rows += [[Segment(f"{name}:", view.palette["dim"])]] if name and name != before else []
        before = name
        indent = "    " if name else ""
        rows += [[Segment(indent + line, view.palette["text"])] for line in wrap(harmless(fact), narrow)]
    return rows


def _leak(leak: Leak, width: int, view: View) -> list[Row]:
    palette = view.palette
    rows: list[Row] = [
        [Segment(line, palette["text"])] for line in wrap(harmless(leaks.headline(leak, _)), min(width, 110))
    ]
    if leak.text:
        rows.append([Segment("    " + harmless(leak.text), palette["strong"])])
    remedy = leaks.remedy(leak, _)
    if remedy is not None:
        rows += [[Segment("    " + line, palette["dim"])] for line in wrap(f"→ {remedy}", max(20, min(width, 110) - 4))]
    return rows


def _waits(waits: Waits, width: int, view: View) -> list[Row]:
    """A line each: how often, how long, where."""
    palette = view.palette
    alone = all(row.device == "cpu" for row in waits.rows)
    words = _("none here: these lines read values of CPU tensors, and would wait on a GPU")
    took = (
        words
        if alone
        else _("{count:,} times, {duration} in all").format(count=waits.count, duration=units.duration(waits.seconds))
    )
    rows: list[Row] = [[Segment(_("in step {step:,}: {took}").format(step=waits.step, took=took), palette["text"])]]
    for one in waits.rows[:_MOST]:
        place = "—" if one.file is None else f"{one.file.rpartition('/')[2]}:{one.line}"
        time = "" if one.device == "cpu" else units.duration(one.seconds)
        head = right(f"{one.count:,} ×", 8) + right(time, 9) + "  " + left(harmless(place), 22)
        rows.append([Segment(head, palette["text"]), Segment(harmless(one.text or one.operator), palette["dim"])])
    return rows
