"""The memory panel: the bar of the whole device, the same enlarged to the tensors, and the table in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.segment import Segment

from memtop.model import units
from memtop.model.categories import TENSORS
from memtop.model.i18n import _
from memtop.model.snapshot import Snapshot
from memtop.model.text import harmless
from memtop.tui.draw.bar import Part, bar, parts
from memtop.tui.draw.cells import Row, cut, join, row_width, spread
from memtop.tui.draw.figures import NOTHING_YET, Figures, age_text, figures_of, tensors_of
from memtop.tui.draw.panel import panel
from memtop.tui.draw.peak import age, peak_of, peak_parts
from memtop.tui.draw.table import table
from memtop.tui.palette import LETTERS, title
from memtop.tui.view import View

ZOOM_BELOW = 0.10
"""The tensors have a bar of their own where they are less than this part of the device."""


def memory(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """The framed panel, `height` rows."""
    figures = figures_of(snapshot, view.moment)
    tall = height >= 22
    rows, drawn = bars(snapshot, figures, width - 4, view, 2 if tall else 1)
    rows += table(snapshot, figures, width - 4, height - 2 - len(rows), view, drawn)
    foot = peak_line(snapshot, width - 6, view)
    return panel(head(snapshot, figures, view), aside(snapshot, figures, view), rows, width, height, view.palette, foot)


def peak_line(snapshot: Snapshot, width: int, view: View) -> Row | None:
    """How high a step goes, where that is, and when it was looked for; `None` before the first deep look."""
    record = peak_of(snapshot)
    if record is None:
        return None
    old = [Segment(_("deep look {value}").format(value=age(record.t, snapshot)), view.palette["dim"])]
    modules = None if snapshot.deep is None else snapshot.deep.modules
    lead, *rest = peak_parts(record, modules, view, text=width >= 100)
    shown = join([lead, *rest], max(8, width - row_width(old) - 3), Segment(" · ", view.palette["faint"]))
    return join([shown, old], width, Segment(" · ", view.palette["faint"]))


def head(snapshot: Snapshot, figures: Figures, view: View) -> Row:
    """The answer in one line: which device, how large, how much is left."""
    palette = view.palette
    total = units.size(figures.total, view.unit)
    parts = [
        Segment(_("Memory of {device} ").format(device=snapshot.device), palette["title"]),
        Segment(total, palette["strong"]),
    ]
    free = figures.bytes.get("free")
    if free is not None and figures.total:
        share = units.percent(free, figures.total, 0)
        parts += [
            Segment(_(" · {size} free, {share}").format(size=units.size(free, view.unit), share=share), palette["dim"])
        ]
    return parts


def aside(snapshot: Snapshot, figures: Figures, view: View) -> Row:
    """Which moment, how old, and what watching costs."""
    palette = view.palette
    old = age_text(figures.age)
    row = [Segment(figures.says, palette["dim"]), Segment(old, palette["warn"])]
    if snapshot.overhead_percent is not None:
        row += [
            Segment(
                _(" · watching costs ~{overhead_percent:.1f} %").format(overhead_percent=snapshot.overhead_percent),
                palette["dim"],
            )
        ]
    return row


def bars(snapshot: Snapshot, figures: Figures, width: int, view: View, thick: int = 1) -> tuple[list[Row], set[str]]:
    """The bar of the device, and where the tensors are a sliver of it, the tensors enlarged.

    Returns the rows and the categories that show in a bar.
    """
    if not figures.total:
        return [[Segment(cut(_("waiting for the first reading of the device"), width), view.palette["dim"])]], set()
    lengths = parts(figures.bytes, figures.order)
    rows, drawn = bar(lengths, width, view.palette, _labels(lengths, figures.total, view, thick))
    if figures.tensors is None:
        return rows + _nothing_yet(snapshot, width, view, thick), drawn
    if figures.tensors > ZOOM_BELOW * figures.total:
        return rows, drawn
    scale, inner = _enlarged(snapshot, figures)
    if not scale:
        return rows, drawn
    rows.append(_caption(figures, scale, width, view))
    more, visible = bar(inner, width, view.palette, _labels(inner, scale, view, thick))
    return rows + more, drawn | visible


def _nothing_yet(snapshot: Snapshot, width: int, view: View, thick: int) -> list[Row]:
    """The place of the tensors' own bar before there are any, so that nothing jumps when they come."""
    palette = view.palette
    told = _("not seen from outside") if snapshot.missing else harmless(snapshot.phase_text)
    words = cut(told or _(NOTHING_YET), max(0, width - 20))
    line = palette["border"]
    start = [Segment("╰─ ", line), Segment(_("tensors "), palette["dim"]), Segment(f"{words} ", palette["warn"])]
    caption = spread(start, [Segment("─╯", line)], width, Segment("─", line))
    return [caption, *([[Segment(" " * width, palette.fill("gap"))]] * thick)]


def _enlarged(snapshot: Snapshot, figures: Figures) -> tuple[int, list[Part]]:
    """The tensors on the scale of their highest in this run, so that the bar holds still; the gap fills it up."""
    highest = tensors_of(snapshot.highest.bytes) if snapshot.highest is not None else None
    lengths = parts({name: figures.bytes.get(name) for name in TENSORS}, TENSORS)
    now = sum(length for _, length in lengths)
    scale = max(highest or 0, now)
    return scale, [*lengths, ("gap", scale - now)]


def _caption(figures: Figures, scale: int, width: int, view: View) -> Row:
    palette = view.palette
    share = 100 * (figures.tensors or 0) / (figures.total or 1)
    words = "<0.01 %" if 0 < share < 0.01 else f"{share:.2g} %" if share < 1 else f"{share:.1f} %"
    items = [
        [Segment(_("tensors "), palette["dim"]), Segment(units.size(figures.tensors, view.unit), palette["strong"])],
        [
            Segment(
                _("{words} of the device").format(words=words) + (_(", enlarged below") if width >= 90 else ""),
                palette["dim"],
            )
        ],
    ]
    start = [Segment("╰─ ", palette["border"]), *join(items, width - 26, Segment(" = ", palette["dim"]))]
    end = [Segment(_("highest "), palette["dim"]), Segment(units.size(scale, view.unit), palette["text"])]
    line = Segment("─", palette["border"])
    return spread(
        [*start, Segment(" ", None)], [Segment(" ", None), *end, Segment(" ─╯", palette["border"])], width, line
    )


def _labels(lengths: list[Part], whole: int, view: View, thick: int) -> Sequence[Mapping[str, str]]:
    """Words inside the bar, longest first: name and share, name, letter; the sizes in a second row."""
    names: dict[str, str] = {}
    sizes: dict[str, str] = {}
    for name, length in lengths:
        words, share = title(name), units.percent(length, whole, 0)
        letter = "" if name in ("free", "gap") else f"\t{LETTERS[name]}"
        names[name] = f"{words} {share}\t{words}{letter}" if thick == 1 else f"{words}{letter}"
        sizes[name] = f"{units.size(length, view.unit)} · {share}\t{units.size(length, view.unit)}\t{share}"
    return [names, sizes][:thick]
