"""The details: every category at every moment, what it means and what theory says; then lesson, settings, machine."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment

from memtop.model import units
from memtop.model.categories import MEANING, TENSORS, of_device
from memtop.model.i18n import _
from memtop.model.snapshot import Snapshot
from memtop.model.text import harmless
from memtop.tui.draw import batch as batch_panel
from memtop.tui.draw.cells import Row, cut, fit, left, right, wrap
from memtop.tui.draw.figures import SizeColumn, figures_of, measured, record_of, tensors_of
from memtop.tui.draw.gpu import gpu_lines
from memtop.tui.draw.host import host_lines
from memtop.tui.draw.peak import WAITING, looked, where
from memtop.tui.draw.troubles import troubles
from memtop.tui.palette import LETTERS, title
from memtop.tui.view import MOMENTS, View

_NAME = 17
_SHOWN = ("forward_end", "peak", "backward_end", "step_end", "highest", "now")


def details(snapshot: Snapshot, width: int, view: View) -> list[Row]:
    """All of it, `width` cells wide and as long as it takes."""
    rows: list[Row] = []
    if snapshot.banner is not None and snapshot.oom is None and not snapshot.leaks:
        rows += _section(_("What needs action"), view) + _text(_banner(snapshot), width, view)
    rows += troubles(snapshot, width, view)
    if snapshot.lesson:
        rows += _section(_("What this shows"), view) + _text(_(harmless(snapshot.lesson)), width, view)
    rows += _section(_("Memory of {device} at each moment").format(device=snapshot.device), view) + _moments(
        snapshot, width, view
    )
    rows += _section(_("Theory"), view) + _theory(snapshot, width, view)
    rows += _section(_("Watching"), view) + _watching(snapshot, width, view)
    rows += _section(_("Batch and model"), view) + [row for _, row in batch_panel.lines(snapshot, width, view)]
    rows += _section(_("Machine"), view)
    rows += [row for _, row in host_lines(snapshot, width, view)]
    rows += [row for _, row in gpu_lines(snapshot, width, view)]
    notes = _notes(snapshot)
    rows += _section(_("Notes"), view) if notes else []
    for note in notes:
        rows += _text(f"· {note}", width, view)
    return [fit(row, width) for row in rows[1:]]


def _banner(snapshot: Snapshot) -> str:
    assert snapshot.banner is not None
    remedy = snapshot.banner.remedy
    return harmless(snapshot.banner.text) + (f" → {harmless(remedy)}" if remedy else "")


def _section(words: str, view: View) -> list[Row]:
    return [Row(), [Segment(words, view.palette["title"])]]


def _text(words: str, width: int, view: View) -> list[Row]:
    return [[Segment(line, view.palette["text"])] for line in wrap(words, min(width, 110))]


def _notes(snapshot: Snapshot) -> list[str]:
    """What the records and the collectors say about themselves, each once."""
    found = [note for moment in (*MOMENTS, "now") for note in getattr(record_of(snapshot, moment), "notes", ())]
    found += [note for device in (snapshot.cpu, snapshot.gpu) if device is not None for note in device.notes]
    found += [
        _("log {path}: {value}").format(path=log.path, value=log.note or log.error)
        for log in snapshot.logs
        if log.note or log.error
    ]
    return [harmless(note) for note in dict.fromkeys(found)]


def _moments(snapshot: Snapshot, width: int, view: View) -> list[Row]:
    palette = view.palette
    column = SizeColumn(view.unit, figures_of(snapshot, "now").total)
    gap = 2 if column.width > 12 else 4
    count = max(1, (width - _NAME - 2) // (column.width + gap))
    shown = [moment for moment in _SHOWN if moment != "peak" or record_of(snapshot, "peak") is not None][:count]
    figures = {moment: figures_of(snapshot, moment).bytes for moment in shown}
    heads = "".join(right(_(moment.replace("_", " ")), column.width + gap) for moment in shown)
    rows: list[Row] = [[Segment(" " * (2 + _NAME) + heads, palette["faint"])]]
    room = width - 2 - _NAME - cell_len(heads) - 3
    for name in of_device(snapshot.device):
        values = [figures[moment].get(name) for moment in shown]
        style = palette["text" if any(values) else "faint"]
        text = "".join(" " * gap + column.text(value) for value in values)
        row = [Segment(LETTERS[name], palette.fill(name)), Segment(" " + left(title(name), _NAME) + text, style)]
        rows.append([*row, Segment("   " + cut(_(MEANING[name]), room), palette["faint"])] if room > 20 else row)
        if name == TENSORS[-1]:
            sums = "".join(" " * gap + column.text(tensors_of(figures[moment])) for moment in shown)
            rows.append([Segment("Σ " + left(_("all tensors"), _NAME) + sums, palette["strong"])])
    return rows


def _theory(snapshot: Snapshot, width: int, view: View) -> list[Row]:
    """Each closed form, and under it what was measured at the moments that it can be held against."""
    palette = view.palette
    if not snapshot.theory:
        return [[Segment(_("no closed form for this training"), palette["faint"])]]
    rows: list[Row] = []
    for name, theory in snapshot.theory.items():
        head = [Segment(left(title(name), _NAME + 2), palette["text"])]
        head.append(Segment(right(units.size(theory.bytes, "B"), 20) + "   ", palette["strong"]))
        words = wrap(harmless(theory.why), max(20, width - _NAME - 25))
        rows.append([*head, Segment(words[0] if words else "", palette["dim"])])
        rows += [[Segment(" " * (_NAME + 25)), Segment(line, palette["dim"])] for line in words[1:]]
        rows += _beside(snapshot, name, theory.bytes, view)
    for name in ("temporaries", "rounding"):
        rows += _beside(snapshot, name, None, view)
    return rows


def _beside(snapshot: Snapshot, name: str, theory: int | None, view: View) -> list[Row]:
    """The measured figures, their difference, and the reason for it where it is known."""
    from memtop.tui.draw.reasons import why

    palette, rows = view.palette, list[Row]()
    telling = measured(snapshot, name)[1]
    for moment in (telling, "peak") if theory is not None else ("peak",):
        record = record_of(snapshot, moment)
        value = None if record is None else record.bytes.get(name)
        if value is None or (theory is None and not value):
            continue
        told = why(snapshot, name, moment, view.unit)
        when = (f"{title(name)} " if theory is None else "  ") + _("at {when}").format(when=_(moment.replace("_", " ")))
        row = [Segment(left(when, _NAME + 2), palette["text" if theory is None else "dim"])]
        row.append(Segment(right(units.size(value, "B"), 20) + "   ", palette["text"]))
        if told == "=":
            row.append(Segment("=", palette["good"]))
        elif theory is not None:
            off = value - theory
            row.append(Segment(f"{'+' if off > 0 else '−'}{units.size(abs(off), 'B')}", palette["dim"]))
        if told not in ("=", None):
            row.append(Segment(f"{'  ' if theory is not None else ''}{told}", palette["dim"]))
        rows.append(row)
    return rows


def _watching(snapshot: Snapshot, width: int, view: View) -> list[Row]:
    """What it takes to know all this."""
    parts = []
    if snapshot.overhead_percent is not None:
        parts.append(
            _("the training is slowed by ~{overhead_percent:.1f} %, announced looks apart").format(
                overhead_percent=snapshot.overhead_percent
            )
        )
    if snapshot.announced_seconds is not None:
        count = "" if snapshot.looks is None else _(", {looks:,} of them").format(looks=snapshot.looks)
        parts.append(
            _("announced looks ~{duration}{count}").format(
                duration=units.duration(snapshot.announced_seconds), count=count
            )
        )
    if snapshot.deep is not None:
        record = snapshot.deep.peak
        words = " · ".join(where(record, snapshot.deep.modules)) or _("nowhere that is known")
        parts.append(
            _("newest deep look at {value}: peak in {words}").format(value=looked(snapshot.deep, snapshot), words=words)
        )
    else:
        parts.append(_(WAITING))
    if snapshot.skipped:
        words = _("{count:,} steps skipped by GradScaler: their gradients were not finite")
        parts.append(words.format(count=snapshot.skipped))
    parts += [harmless(words) for words in snapshot.counting]
    return [row for words in parts for row in _text(words, width, view)]
