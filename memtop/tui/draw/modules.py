"""The modules as a tree: what each holds, what it keeps for backward, its share of the peak, its work."""

from __future__ import annotations

from collections.abc import Sequence, Set

import msgspec
from rich.segment import Segment

from memtop.model import units
from memtop.model.i18n import N_, _
from memtop.model.layers import Layer, Sums, matches, whole
from memtop.model.text import one_line
from memtop.tui.draw.cells import Row, cut, fit, flow, left, right, row_width
from memtop.tui.draw.figures import SizeColumn, share_text
from memtop.tui.draw.sheet import GAP, Column, Sight, body, chosen, gutter, head, marked
from memtop.tui.draw.spark import LEVELS, meter
from memtop.tui.palette import Palette
from memtop.tui.view import View

_BAR = 8
NOWHERE = N_("no module")


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """What the tab shows."""

    layers: tuple[Layer, ...]
    visible: Sequence[int]
    """Indices of the layers, from top to bottom."""
    sight: Sight
    order: str
    folded: Set[str | None]
    wanted: str
    peak: int | None
    """Tensor bytes of the look's peak, which all modules together are."""
    left_out: int = 0
    """Modules that were too many to tell."""


def _columns(view: View, peak: int | None) -> list[Column]:
    size = SizeColumn(view.unit, peak).width
    return [
        Column("type", "type", 12, 5, True),
        Column("output", "output", 16, 7, True),
        Column("parameters", "parameters", 12, 4),
        Column("held", "held bytes", max(size, 12), 6),
        Column("activations", "activations", max(size, 13), 3),
        Column("at peak", "at peak", size, 1),
        Column("share", "share", 7, 2),
        Column("bar", "", _BAR, 8, True),
        Column("flops", "flops", 7, 9),
        Column("series", "through the step", 24, 10, True),
    ]


def tab(tree: Tree, width: int, height: int, view: View) -> list[Row]:
    """`height` rows: titles, the layers in sight, their sum, and the marked one in words."""
    palette = view.palette
    columns = chosen(_columns(view, tree.peak), width, 24 if width >= 60 else 14)
    total = whole(tree.layers)
    count = sum(index_matches(tree, index) for index in tree.visible) if tree.wanted else len(tree.layers)
    name = (
        _("module ({count:,} of {value:,})").format(count=count, value=len(tree.layers))
        if tree.wanted
        else N_("module")
    )
    rows = [head(name, columns, width, _marked_title(tree.order, name), palette)]
    size = SizeColumn(view.unit, tree.peak)

    def draw(place: int, here: bool) -> Row:
        row = _line(tree, tree.layers[tree.visible[place]], here, columns, width, size, view)
        return marked(row, width, palette) if here else row

    rows += body(len(tree.visible), tree.sight, rows_in_sight(height), draw)
    if not tree.visible and len(rows) > 1:
        rows[1] = [
            Segment(
                _("  nothing has {value!r} in its path or class").format(value=one_line(tree.wanted)), palette["faint"]
            )
        ]
    rows.append(_total(tree, total, columns, width, size, view))
    if height >= 8:
        rows.append(_words(tree, width, view))
    return [fit(row, width) for row in rows[:height]]


def rows_in_sight(height: int) -> int:
    """How many layers a tab of this height shows."""
    return max(1, height - (3 if height >= 8 else 2))


def index_matches(tree: Tree, index: int) -> bool:
    """Whether a layer itself has the wanted letters, not only one below it."""
    return matches(tree.layers[index], tree.wanted)


def _marked_title(order: str, name: str) -> str:
    return name if order == "model" else order


def _line(tree: Tree, layer: Layer, here: bool, columns: list[Column], width: int, size: SizeColumn, view: View) -> Row:
    palette, row = view.palette, layer.row
    room = width - sum(column.width + GAP for column in columns)
    mark = "  " if not layer.children else "▸ " if row.path in tree.folded and not tree.wanted else "▾ "
    quiet = bool(tree.wanted) and not matches(layer, tree.wanted)
    role = "faint" if quiet else "strong" if here else "text"
    inset = "  " * min(layer.depth, max(0, room // 4 - 3))
    name = one_line(layer.name, 200) or _(NOWHERE)
    line = [gutter(here, palette), Segment(inset + mark, palette["faint"])]
    line.append(Segment(cut(name, max(1, room - row_width(line))), palette[role]))
    line = fit(line, max(0, room))
    for column in columns:
        line.append(Segment(" " * GAP))
        line += _cell(column, layer.total, layer, tree.peak, size, palette)
    return line


def _cell(
    column: Column, total: Sums, layer: Layer | None, peak: int | None, size: SizeColumn, palette: Palette
) -> Row:
    width = column.width
    if column.name == "bar":
        return meter(total.at_peak, peak, width, palette) if total.at_peak > 0 else [Segment(" " * width)]
    if column.name == "series":
        return [Segment(left(_spark(total.series), width), palette.ink("activations"))]
    words, value = _figure(column.name, total, layer, peak, size)
    style = palette["text" if column.name == "at peak" else "dim"] if value else palette["faint"]
    return [Segment((left if column.at_left else right)(words, width), style)]


def _figure(
    name: str, total: Sums, layer: Layer | None, peak: int | None, size: SizeColumn
) -> tuple[str, int | str | None]:
    """A cell's words, and what they stand for: nothing and unknown are shown faint."""
    if name == "type":
        kind = "" if layer is None else one_line(layer.row.type, 100)
        return kind, kind
    if name == "output":
        shape = None if layer is None or layer.row.output is None else layer.row.output
        return ("" if shape is None else "×".join(map(str, shape)) or "scalar"), "yes"
    if name == "parameters":
        exact = f"{total.parameters:,}"
        return (exact if len(exact) <= 12 else units.short(total.parameters)), total.parameters
    if name == "share":
        return share_text(total.at_peak, peak), total.at_peak
    if name == "flops":
        return units.short(total.flops), total.flops
    value = {"held": total.held, "activations": total.activations, "at peak": total.at_peak}[name]
    return size.text(value), value


def _spark(values: Sequence[int]) -> str:
    """A level a slot, from nothing to their highest; nothing is blank, so that one sees when it comes and goes."""
    top = max(values, default=0)
    if top <= 0:
        return ""
    return "".join(LEVELS[max(1, min(8, -(-8 * value // top)))] if value > 0 else " " for value in values)


def _total(tree: Tree, total: Sums | None, columns: list[Column], width: int, size: SizeColumn, view: View) -> Row:
    """The sum of the top level, and whether it is the peak's."""
    palette = view.palette
    room = width - sum(column.width + GAP for column in columns)
    if total is None:
        return []
    same = total.at_peak == tree.peak
    words = [Segment(_("Σ all modules"), palette["strong"])]
    words.append(Segment(_(" = peak"), palette["good"]) if same else Segment(_(" ≠ peak"), palette["bad"]))
    if tree.left_out:
        words.append(Segment(_(", {left_out:,} untold").format(left_out=tree.left_out), palette["dim"]))
    row = fit(words, max(0, room))
    for column in columns:
        row.append(Segment(" " * GAP))
        row += _cell(column, total, None, tree.peak, size, palette)
    return row


def _words(tree: Tree, width: int, view: View) -> Row:
    """What the marked layer holds beside what its row says."""
    palette = view.palette
    if not tree.visible:
        return []
    layer = tree.layers[tree.visible[min(tree.sight.cursor, len(tree.visible) - 1)]]
    path = one_line(layer.row.path or layer.name) or _("what belongs to no module")
    total, unit = layer.total, view.unit
    figures = {"gradients": total.gradients, "optimizer state": total.state, N_("recomputed"): total.recomputed}
    parts = [[Segment(f"  {cut(path, width // 2)}", palette["accent"])]]
    if layer.children:
        parts.append(
            [Segment(_("own {size} at peak").format(size=units.size(layer.row.at_peak, unit)), palette["dim"])]
        )
    parts += [
        [Segment(f"{_(name)} ", palette["faint"]), Segment(units.size(value, unit), palette["dim"])]
        for name, value in figures.items()
        if value
    ]
    parts.append(
        [Segment(_("made in the step "), palette["faint"]), Segment(units.size(total.born, unit), palette["dim"])]
    )
    return flow(parts, width, 1, Segment(" · ", palette["faint"]))[0]
