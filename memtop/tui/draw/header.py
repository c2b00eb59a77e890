"""The first line: what runs, where, how fast; and the banner above it when something needs action."""

from __future__ import annotations

from pathlib import PurePath

from rich.cells import cell_len
from rich.segment import Segment

from memtop.model import units
from memtop.model.i18n import _
from memtop.model.ranks_text import among
from memtop.model.snapshot import Banner, Phase, Snapshot
from memtop.model.text import harmless
from memtop.tui.draw.cells import Row, cut, join, left, row_width, spread, wrap
from memtop.tui.palette import Palette
from memtop.tui.view import View

_CHIPS = {Phase.PAUSED: "chip", Phase.LOST: "warning", Phase.ENDED: "chip"}


def banner(what: Banner, width: int, palette: Palette, most: int = 2) -> list[Row]:
    """What needs action, with its remedy, over the whole width, in at most `most` rows."""
    role = what.severity if what.severity in ("error", "warning", "information") else "warning"
    mark = {"error": "✖", "warning": "!", "information": "i"}[role]
    text, remedy = harmless(what.text), f"→ {harmless(what.remedy)}" if what.remedy else ""
    whole = f"{text} {remedy}".rstrip()
    if most < 2 or cell_len(whole) <= width - 4:
        lines = [whole]
    elif remedy:
        lines = [text, remedy]
    else:
        head, *rest = wrap(text, max(1, width - 4))
        lines = [head, " ".join(rest)]
    heads = [f" {mark} "] + ["   "] * len(lines)
    return [[Segment(left(head + line, width), palette[role])] for head, line in zip(heads, lines, strict=False)]


def header(snapshot: Snapshot, width: int, view: View) -> Row:
    """Scenario, device and state at the left, the log at the right."""
    palette = view.palette
    end = recording(snapshot, palette, max(16, width // 5))
    brand = Segment(_(" memtop "), palette["brand"])
    parts = _who(snapshot, palette, max(36, width // 2))
    if _runs(snapshot):
        parts += _pace(snapshot, palette, width >= 100)
    room = width - row_width(end) - 10
    if room < row_width(join(parts[:3], 999, Segment(" · "))):
        end, room = [], width - 9
    return spread([brand, Segment(" "), *join(parts, room, Segment(" · ", palette["faint"]))], end, width)


def _runs(snapshot: Snapshot) -> bool:
    return snapshot.step is not None


def _who(snapshot: Snapshot, palette: Palette, most: int) -> list[Row]:
    """Who trains where, and the phase in at most so many cells."""
    device = snapshot.device
    gpu = next((gpu for gpu in snapshot.gpus if gpu.visible_as == device), None)
    where = f"{device} {harmless(gpu.name).removeprefix('NVIDIA ')}" if gpu and gpu.name else device
    parts = [[Segment(cut(harmless(snapshot.title), 40), palette["strong"])]]
    parts += [[Segment(where, palette["text"])]]
    if snapshot.ranks is not None:
        parts += [[Segment(among(snapshot.ranks), palette["strong"])]]
    if snapshot.pending:
        parts += [[Segment(f" {cut(_(harmless(snapshot.pending)), 36)} ", palette["chip"])]]
    elif snapshot.phase in _CHIPS or snapshot.replay is not None:
        words = cut(harmless(snapshot.phase_text) or snapshot.phase.value, most)
        parts += [[Segment(f" {words} ", palette[_CHIPS.get(snapshot.phase, "brand")])]]
    elif snapshot.phase is not Phase.TRAINING:
        parts += [[Segment(harmless(snapshot.phase_text or snapshot.phase.value), palette["warn"])]]
    return parts


def _pace(snapshot: Snapshot, palette: Palette, wide: bool) -> list[Row]:
    """Without samples a second where it is narrow: the batch's line has them."""
    step = snapshot.step
    assert step is not None
    total = None if snapshot.total_steps is None else f"{snapshot.total_steps:,}"
    count = f"{step.step:,}".rjust(len(total) if total else 6)
    parts = [_item(_("step "), count + (f"/{total}" if total else ""), "", palette)]
    if snapshot.skipped:
        parts += [[Segment(_("{count:,} skipped").format(count=snapshot.skipped), palette["warn"])]]
    parts += [_item("", units.rate(snapshot.steps_per_second).rjust(4), _(" step/s"), palette)]
    if wide:
        parts += [_item("", units.rate(snapshot.samples_per_second).rjust(5), _(" samples/s"), palette)]
    parts += [_item(_("loss "), "—" if step.loss is None else f"{step.loss:.4g}".ljust(6), "", palette)]
    if snapshot.eta is not None and snapshot.phase is Phase.TRAINING:
        parts += [_item(_("ETA "), units.duration(snapshot.eta).rjust(6), "", palette)]
    elif snapshot.total_steps is None and snapshot.pass_eta and snapshot.phase is Phase.TRAINING:
        end = "—" if step.pass_end is None else f"{step.pass_end:,}"
        parts += [_item(_("pass ends at "), end, f", {units.duration(snapshot.pass_eta).rjust(6)}", palette)]
    return parts


def _item(before: str, figure: str, after: str, palette: Palette) -> Row:
    return [Segment(before, palette["dim"]), Segment(figure, palette["text"]), Segment(after, palette["dim"])]


def recording(snapshot: Snapshot, palette: Palette, width: int) -> Row:
    """Whether a log is written, and where."""
    logs = [log for log in snapshot.logs if not (log.closed and log.ok)]
    if not logs:
        return [Segment(_("○ no log "), palette["faint"])]
    broken = next((log for log in logs if not log.ok), None)
    if broken is not None:
        return [
            Segment(
                cut(_("✖ log: {text}").format(text=harmless(broken.error or _("failed"))), width - 1) + " ",
                palette["bad"],
            )
        ]
    names = ", ".join(PurePath(harmless(log.path)).name or "-" for log in logs)
    return [Segment("● ", palette["bad"]), Segment(_middle(names, width - 3) + " ", palette["text"])]


def _middle(name: str, width: int) -> str:
    """A file's name cut in its middle: its end tells the time and the kind."""
    if cell_len(name) <= width:
        return name
    tail = min(14, width // 2)
    return cut(name[:-tail], width - tail) + name[-tail:]
