"""The lesson's rows: each step with what it came to, what the last change did, and the paragraph it is about."""

from __future__ import annotations

from typing import Final

from rich.segment import Segment

from memtop.model.i18n import _
from memtop.model.lessons import Check, Progress, State
from memtop.model.lessons_text import checked, compared, differing
from memtop.tui.draw.cells import Row, fit, wrap
from memtop.tui.draw.panel import panel
from memtop.tui.lessons import Taught
from memtop.tui.view import View

_MARKS: Final = {
    State.TO_DO: ("○", "faint"),
    State.MEASURING: ("…", "accent"),
    State.DONE: ("✔", "good"),
    State.EXPECTED: ("✔", "good"),
    State.OTHERWISE: ("✖", "warn"),
}
_OVER: Final = (State.DONE, State.EXPECTED, State.OTHERWISE)
_WIDEST: Final = 110
"""Cells of a line of words: longer ones are hard to read."""


def lesson_rows(taught: Taught, width: int, view: View, brief: bool = False) -> list[Row]:
    """All of it, `width` cells wide and as long as it takes; `brief`: of the steps done, only the last one whole."""
    told = next((one for one in reversed(taught.steps) if one.state in _OVER), None)
    if taught.lesson is None:
        return _words(
            _("An ordinary command: the lessons are those of the scenarios (memtop --scenario NAME)."), width, view
        )
    rows = _last_change(taught, width, view)
    for number, step in enumerate(taught.steps, 1):
        rows += [*_step(number, step, taught, width, view, brief and step is not told), Row()]
    rows += [_heading(_("About"), view), *_words(_(taught.lesson.text), width, view)]
    return [fit(row, width) for row in rows]


def lesson_panel(taught: Taught, width: int, height: int, view: View) -> list[Row]:
    """The same in a frame beside the main screen; what finds no room is on the lesson's own screen."""
    body = lesson_rows(taught, width - 4, view, brief=True)
    shown = [one.state for one in taught.steps]
    done = sum(state in (State.DONE, State.EXPECTED) for state in shown)
    aside = [Segment(f"{done}/{len(shown)}", view.palette["dim"])] if shown else []
    return panel([Segment(_("Lesson"), view.palette["title"])], aside, body, width, height, view.palette)


def _step(number: int, step: Progress, taught: Taught, width: int, view: View, brief: bool) -> list[Row]:
    """What to do; of the next step also what should happen, of a done one what did, and why."""
    palette = view.palette
    mark, style = _MARKS[step.state]
    here = step is taught.next
    rows = _hanging(f"{number} {mark} ", style, _(step.step.do), "strong" if here else "text", width, view)
    if (step.state is State.TO_DO and not here) or (brief and step.state in (State.DONE, State.EXPECTED)):
        return rows
    for check in step.checks:
        rows += _check(check, step, taught, width, view)
    if step.state in _OVER:
        rows += [[Segment("    "), Segment(line, palette["dim"])] for line in wrap(_(step.step.why), width - 4)]
    return rows


def _check(check: Check, step: Progress, taught: Taught, width: int, view: View) -> list[Row]:
    if step.state is State.TO_DO:
        return _hanging("    → ", "faint", _(check.claim.text), "dim", width, view)
    mark, style = _MARKS[check.state]
    rows = _hanging(f"    {mark} ", style, _(check.claim.text), "text", width, view)
    told = checked(check, view.unit)
    if check.state is State.OTHERWISE and step.after is not None and taught.lesson is not None:
        free = step.step.names
        why = differing(check, step.after, taught.lesson.defaults, free)
        told += "" if why is None else f"; {why}"
    return rows + [[Segment("      "), Segment(line, view.palette["accent"])] for line in wrap(told, width - 6)]


def _last_change(taught: Taught, width: int, view: View) -> list[Row]:
    """What the present run does otherwise than the one before, measured."""
    if taught.before is None or taught.after is None:
        return []
    told = compared(taught.before, taught.after, view.unit)
    if not told:
        told = [_("Not measured yet: figures come with the second step.")]
    rows = [_heading(_("Since the run before"), view)]
    for line in told:
        rows += _words(line, width, view)
    return [*rows, Row()]


def _heading(words: str, view: View) -> Row:
    return [Segment(words, view.palette["title"])]


def _words(text: str, width: int, view: View) -> list[Row]:
    return [[Segment(line, view.palette["text"])] for line in wrap(text, min(width, _WIDEST))]


def _hanging(mark: str, mark_style: str, text: str, style: str, width: int, view: View) -> list[Row]:
    """Text beside a mark: all of its lines begin in the same column."""
    palette, room = view.palette, min(width, _WIDEST) - len(mark)
    lines = wrap(text, room)
    first = [Segment(mark, palette[mark_style]), Segment(lines[0] if lines else "", palette[style])]
    return [first, *([Segment(" " * len(mark)), Segment(line, palette[style])] for line in lines[1:])]
