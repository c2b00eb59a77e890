"""What a model is made of, drawn: activations and parameters of each module as bars, from input to output.

A module that is unfolded shows what it holds itself, one that is folded shows all below it too: the bars in sight
of all rows add up to the model.
"""

from __future__ import annotations

from rich.segment import Segment

from memtop.model import units
from memtop.model.i18n import _
from memtop.model.layers import Layer
from memtop.model.text import one_line
from memtop.tui.draw.cells import Row, cut, fit, left, right, row_width
from memtop.tui.draw.figures import SizeColumn
from memtop.tui.draw.modules import NOWHERE, Tree, rows_in_sight
from memtop.tui.draw.sheet import body, gutter, marked
from memtop.tui.palette import Palette
from memtop.tui.view import View

_COUNT = 12
_TITLE = len("activations")
_GAP = 2
_EIGHTHS = " ▏▎▍▌▋▊▉"

Pair = tuple[int, int]
"""Bytes of activations, and parameters."""


def tab(tree: Tree, width: int, height: int, view: View) -> list[Row]:
    """`height` rows: titles, a row for each module in sight, their sums."""
    palette, size = view.palette, SizeColumn(view.unit, tree.peak)
    pairs = [_pair(tree, tree.layers[index]) for index in tree.visible]
    sums = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
    tops = max((pair[0] for pair in pairs), default=0), max((pair[1] for pair in pairs), default=0)
    figure = max(size.width, _TITLE)
    name = max(10, min(28, width - figure - _COUNT - 4 * _GAP - 8))
    across = max(0, (width - name - figure - _COUNT - 4 * _GAP) // 2)

    def draw(place: int, here: bool) -> Row:
        words = _name(tree, tree.layers[tree.visible[place]], here, name, palette)
        row = _line(words, pairs[place], tops, across, size, palette)
        return marked(row, width, palette) if here else row

    titles = left(_("module"), name) + " " * _GAP + right(_("activations"), figure)
    titles += " " * (across + 2 * _GAP) + right(_("parameters"), _COUNT)
    rows = [[Segment(titles, palette["faint"])]]
    rows += body(len(tree.visible), tree.sight, rows_in_sight(height), draw)
    if not tree.wanted:
        total = [Segment(left(_("Σ all modules"), name), palette["strong"])]
        rows.append(_line(total, sums, (0, 0), across, size, palette))
    return [fit(row, width) for row in rows[:height]]


def _pair(tree: Tree, layer: Layer) -> Pair:
    """What a row stands for: with all below it where that is not listed."""
    if layer.row.path in tree.folded and not tree.wanted:
        return layer.total.activations, layer.total.parameters
    return layer.row.activations, layer.row.parameters


def _name(tree: Tree, layer: Layer, here: bool, width: int, palette: Palette) -> Row:
    mark = "  " if not layer.children else "▸ " if layer.row.path in tree.folded and not tree.wanted else "▾ "
    row = [gutter(here, palette), Segment("  " * min(layer.depth, max(0, width // 4 - 3)) + mark, palette["faint"])]
    name = one_line(layer.name, 200) or _(NOWHERE)
    return fit([*row, Segment(cut(name, max(1, width - row_width(row))), palette["strong" if here else "text"])], width)


def _line(words: Row, pair: Pair, tops: Pair, across: int, size: SizeColumn, palette: Palette) -> Row:
    count = f"{pair[1]:,}" if len(f"{pair[1]:,}") <= _COUNT else units.short(pair[1])
    gap, figure = Segment(" " * _GAP), right(size.text(pair[0]), max(size.width, _TITLE))
    return [
        *words, gap, Segment(figure, palette["text" if pair[0] else "faint"]), gap,
        Segment(_bar(pair[0], tops[0], across), palette.ink("activations")), gap,
        Segment(right(count, _COUNT), palette["text" if pair[1] else "faint"]), gap,
        Segment(_bar(pair[1], tops[1], across), palette.ink("parameters")),
    ]  # fmt: skip


def _bar(value: int, top: int, width: int) -> str:
    """To an eighth of a cell; what is there at all shows, however little."""
    if value <= 0 or top <= 0 or width <= 0:
        return " " * width
    full, rest = divmod(max(1, round(8 * width * value / top)), 8)
    return left("█" * full + (_EIGHTHS[rest] if rest else ""), width)
