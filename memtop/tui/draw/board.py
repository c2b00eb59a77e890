"""The whole main screen: which panels stand where at which size."""

from __future__ import annotations

from msgspec.structs import replace
from rich.segment import Segment

from memtop.model import batches, units
from memtop.model.i18n import _
from memtop.model.snapshot import Snapshot
from memtop.model.text import harmless
from memtop.tui.draw import batch as batch_panel
from memtop.tui.draw import forecast
from memtop.tui.draw import machine as machine_panel
from memtop.tui.draw.cells import Row, beside, cut, fit, join, left, to_ascii, wrap
from memtop.tui.draw.facts import best
from memtop.tui.draw.figures import age_text, figures_of
from memtop.tui.draw.footer import footer
from memtop.tui.draw.header import banner, header
from memtop.tui.draw.history import history, output
from memtop.tui.draw.host import host_lines
from memtop.tui.draw.memory import bars, head, memory, peak_line
from memtop.tui.draw.moments import MOMENT_ROWS, moments
from memtop.tui.draw.panel import panel
from memtop.tui.draw.peak import peak_of
from memtop.tui.draw.ranks import strip
from memtop.tui.draw.table import table
from memtop.tui.palette import Palette
from memtop.tui.view import View


def board(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """`height` rows of exactly `width` cells each: the main screen."""
    rows: list[Row] = []
    if snapshot.banner is not None and height > 1:
        told = (
            replace(snapshot.banner, text=f"{snapshot.banner.text} · v explains")
            if _explained(snapshot, view)
            else None
        )
        rows += banner(told or snapshot.banner, width, view.palette, 2 if height >= 20 else 1)
    small = width < 40 or height < 10
    foot = [footer(width, view)] if (view.keys or view.notice) and not (small and height < 4) else []
    room = height - len(rows) - len(foot)
    rows += (_tiny if small else _panels)(snapshot, width, room, view)
    rows = [fit(row, width) for row in rows[: height - len(foot)]]
    rows += [[Segment(" " * width)]] * (height - len(foot) - len(rows)) + foot
    return to_ascii(rows) if view.ascii_only else rows


def _explained(snapshot: Snapshot, view: View) -> bool:
    """Whether the details say more of what needs action, and a key leads there."""
    return bool(view.keys) and (snapshot.oom is not None or bool(snapshot.leaks))


def natural_height(snapshot: Snapshot, width: int, view: View) -> int:
    """Rows that the main screen takes where nobody says how many there are."""
    extra = (1 if snapshot.banner is not None else 0) + len(strip(snapshot.ranks, width, 3, view))
    if width < 100:
        told = 0 if peak_of(snapshot) is None else 1
        return extra + 8 + len(figures_of(snapshot, view.moment).order) + 6 + told
    return extra + 42


def _panels(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    wide = width >= 160 and height >= 44
    narrow = width < 100 or height < 30
    rows = 4 if wide else 3 if height >= 24 else 2
    top = [header(snapshot, width, view), *strip(snapshot.ranks, width, rows, view)]
    panels = _wide if wide else _narrow if narrow else _medium
    return top + panels(snapshot, width, height - len(top), view)


def _tiny(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """Smaller than 40 x 10: the bar and one line."""
    figures = figures_of(snapshot, view.moment)
    rows, _drawn = bars(snapshot, figures, width, view)
    palette = view.palette
    parts = [
        [Segment(harmless(snapshot.title), palette["strong"])],
        [Segment(units.size(figures.tensors, view.unit), palette["text"])],
        [Segment(_("of {size}").format(size=units.size(figures.total, view.unit)), palette["dim"])],
        [Segment(harmless(snapshot.phase_text) or snapshot.phase.value, palette["dim"])],
    ]
    line = join(parts, width, Segment(" "))
    if height >= 4:
        return [line, *rows][:height]
    return [rows[0], line][:height]


def _narrow(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """80 x 24: bar, table, a line for the batch, a line each for the machine's parts."""
    figures = figures_of(snapshot, view.moment)
    palette = view.palette
    below = [_batch_line(snapshot, width - 2, view)]
    machine = machine_panel.lines(snapshot, width - 2, view)
    title = [*head(snapshot, figures, view), Segment(f" · {figures.says}", palette["dim"])]
    title.append(Segment(age_text(figures.age), palette["warn"]))
    rows, drawn = bars(snapshot, figures, width - 2, view, 2 if height >= 30 else 1)
    rows = [fit(title, width - 2), *rows] if height >= 20 else rows
    peak = peak_line(snapshot, width - 2, view)
    if peak is not None and height >= 21:
        below.insert(0, peak)
    wanted = len(figures.order) + 3
    spare = height - len(rows) - len(below)
    below += best(machine, max(min(2, spare - 6), spare - wanted))
    left_over = spare - wanted - len(machine)
    if left_over >= 10:
        below = history(snapshot, width - 2, left_over // 2, view) + below
        left_over -= left_over // 2
    if left_over >= 5:
        below += output(snapshot, width - 2, left_over, view)
    rows += table(snapshot, figures, width - 2, height - len(rows) - len(below), view, drawn)
    rows += [Row()] * (height - len(rows) - len(below))
    return [[Segment(" "), *fit(row, width - 2), Segment(" ")] for row in rows + below]


def _batch_line(snapshot: Snapshot, width: int, view: View) -> Row:
    palette = view.palette
    size = batch_panel.batch_size(snapshot)
    each = batches.sample_bytes(size, snapshot.model)
    words = batches.size(size, snapshot.model)
    parts = [[Segment(left(_("batch"), 7), palette["dim"]), Segment(words, palette["strong"])]]
    if snapshot.forecast is not None:
        parts += forecast.answer(snapshot.forecast, view)[:2]
    elif each is not None:
        parts += [[Segment(_("{size} a sample").format(size=units.size(round(each), view.unit)), palette["text"])]]
    if snapshot.model is not None and snapshot.model.inputs:
        parts += [[Segment(batch_panel.shape(snapshot.model.inputs[0]), palette["text"])]]
    parts += [batch_panel.pace_parts(snapshot, palette)[0]]
    return join(parts, width, Segment(" · ", palette["faint"]))


def _memory_height(snapshot: Snapshot, view: View, height: int, spare: int) -> int:
    """As high as bar and table need, but `spare` rows at least are left to the others."""
    count = len(figures_of(snapshot, view.moment).order)
    return max(12, min(count + 3 + 5 + 2, height - spare))


def _medium(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """120 x 40: memory over the whole width; history and output at the left, batch and machine at the right."""
    top = _memory_height(snapshot, view, height, 15)
    rows = memory(snapshot, width, top, view)
    rest = height - top
    aside = max(50, width * 9 // 20)
    wanted = batch_panel.wanted(snapshot, aside, view)
    first = max(rest // 2, min(wanted, rest - 7)) if not snapshot.gpus else min(rest - 6, max(7, rest // 2))
    left_width = width - aside
    # Two lines of output stay; of the rest the step takes the larger part, since it is read in detail.
    inside = _one_step(snapshot, left_width, (rest - 4) * 3 // 5, view) if rest >= 14 else []
    graph = history(snapshot, left_width, max(5, rest - (4 if inside else 6) - len(inside)), view) + inside
    words = output(snapshot, left_width, rest - len(graph), view)
    upper = batch_panel.batch(snapshot, aside, first, view)
    lower = machine_panel.machine(snapshot, aside, rest - first, view)
    return rows + beside([(left_width, graph + words), (aside, upper + lower)], rest)


def _wide(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """200 x 60: memory over the whole width, three columns below; the output where GPUs would be if there is none."""
    top = _memory_height(snapshot, view, height, 22)
    rows = memory(snapshot, width, top, view)
    rest = height - top
    third = width * 3 // 10
    first = width - 2 * third
    height_left = rest * 3 // 5 if snapshot.gpus else rest
    inside = _one_step(snapshot, first, height_left * 3 // 5, view)
    graph = history(snapshot, first, height_left - len(inside), view) + inside
    graph += output(snapshot, first, rest - len(graph), view) if snapshot.gpus else []
    middle = batch_panel.batch(snapshot, third, min(batch_panel.wanted(snapshot, third, view), rest // 2), view)
    middle += moments(snapshot, third, min(MOMENT_ROWS, rest - len(middle) - 3), view)
    middle += _most(snapshot, third, rest - len(middle), view)
    middle += _lesson(snapshot, third, rest - len(middle), view)
    wanted = len(host_lines(snapshot, third - 4, view, wide=True)) + 2
    host = machine_panel.cpu(snapshot, third, min(wanted, rest - 5), view)
    right = host + machine_panel.gpu(snapshot, third, rest - len(host) if snapshot.gpus else 4, view)
    right += output(snapshot, third, rest - len(right), view) if not snapshot.gpus else []
    return rows + beside([(first, graph), (third, middle), (third, right)], rest)


def _one_step(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """The course of the step that was watched whole; nothing before there is one."""
    if view.plain or snapshot.deep is None or snapshot.deep.trace is None:
        return []
    # Not before there is something to draw: the first picture need not wait for it.
    from memtop.tui.draw.step import small

    return small(snapshot, width, height, view)


def _most(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """What holds most of the peak, beside which the lesson still has its lines."""
    if view.plain or snapshot.deep is None:
        return []
    from memtop.tui.draw.most import most

    return most(snapshot, width, height - len(wrap(_(harmless(snapshot.lesson)) or "-", width - 4)) - 3, view)


def _lesson(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    palette: Palette = view.palette
    text = _(harmless(snapshot.lesson)) or _("An ordinary command: memtop watches and leaves it alone.")
    body: list[Row] = [[Segment(line, palette["text"])] for line in wrap(text, width - 4)]
    title = [Segment(_("About "), palette["title"]), Segment(cut(harmless(snapshot.title), width - 16), palette["dim"])]
    return panel(title, [], body, width, height, palette)
