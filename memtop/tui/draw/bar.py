"""The stacked bar: it always adds up to the whole.

Widths are shared out in eighths of a cell by largest remainder, so that the bar is exact to an eighth of a cell and
its parts always sum to its width. A category smaller than half an eighth gets no cell: nothing is widened to be seen.
Which categories are drawn is returned, so that a legend can say which are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.segment import Segment

from memtop.model.categories import TENSORS
from memtop.tui.draw.cells import Row
from memtop.tui.palette import LETTERS, Palette

_EIGHTHS = " ▏▎▍▌▋▊▉"
Part = tuple[str, int]
"""A category and its bytes, never negative."""


def share_out(values: Sequence[int], units: int) -> list[int]:
    """`units` shared out in proportion to `values` (none negative) by largest remainder; all zero gives all zero."""
    whole = sum(values)
    if whole <= 0:
        return [0] * len(values)
    shares = [units * value // whole for value in values]
    rest = units - sum(shares)
    order = sorted(range(len(values)), key=lambda index: (-(units * values[index] % whole), index))
    for index in order[:rest]:
        shares[index] += 1
    return shares


def parts(figures: Mapping[str, int | None], order: Sequence[str]) -> list[Part]:
    """Bytes by category as lengths of a bar, summing exactly to the sum of `figures`.

    A negative figure (tensors not yet resident, tensors shared) is taken off the tensors in proportion, and off the
    rest where the tensors are smaller than it: a length can't be negative. Unknown counts as nothing.
    """
    known = {name: figures.get(name) or 0 for name in order}
    missing = -sum(value for value in known.values() if value < 0)
    lengths = {name: max(value, 0) for name, value in known.items()}
    for group in (TENSORS, tuple(order)):
        held = [name for name in group if lengths.get(name)]
        taken = min(missing, sum(lengths[name] for name in held))
        for name, less in zip(held, share_out([lengths[name] for name in held], taken), strict=True):
            lengths[name] = max(0, lengths[name] - less)
        missing -= taken
    return list(lengths.items())


def cells_of(lengths: Sequence[Part], width: int, palette: Palette) -> list[tuple[str, str, int]]:
    """For each cell (left category, right category, eighths of the left one); 8 is a whole cell."""
    steps = 1 if palette.mono else 8
    units = share_out([length for _, length in lengths], width * steps)
    cells: list[tuple[str, str, int]] = []
    inside: list[Part] = []
    for (name, _), count in zip(lengths, units, strict=True):
        while count:
            free = steps - sum(size for _, size in inside)
            taken = min(free, count)
            inside.append((name, taken))
            count -= taken
            if taken == free:
                cells.append(_cell(inside))
                inside = []
    return cells


def _cell(inside: list[Part]) -> tuple[str, str, int]:
    """One cell holds two categories at most: the two largest in it."""
    if len(inside) == 1:
        return inside[0][0], inside[0][0], 8
    first, second = sorted(sorted(range(len(inside)), key=lambda index: -inside[index][1])[:2])
    whole = inside[first][1] + inside[second][1]
    return inside[first][0], inside[second][0], max(1, min(7, round(8 * inside[first][1] / whole)))


def bar(
    lengths: Sequence[Part], width: int, palette: Palette, labels: Sequence[Mapping[str, str]] = ({},)
) -> tuple[list[Row], set[str]]:
    """A bar of `len(labels)` rows and exactly `width` cells, and the categories that show in it.

    `labels` has for each row the words by category, longest first, tab-separated; the first that fits is written
    inside. Without colour the cells are letters.
    """
    cells = cells_of(lengths, width, palette)
    drawn = {name for left, right, _ in cells for name in (left, right)}
    if palette.mono:
        return [_letters(cells, width)] * len(labels), drawn
    return [_row(cells, width, palette, words) for words in labels], drawn


def _letters(cells: Sequence[tuple[str, str, int]], width: int) -> Row:
    return [Segment("".join(LETTERS[left] for left, _, _ in cells).ljust(width))]


def _row(cells: Sequence[tuple[str, str, int]], width: int, palette: Palette, words: Mapping[str, str]) -> Row:
    row = Row()
    index = 0
    while index < len(cells):
        left, right, eighths = cells[index]
        end = index + 1
        if left == right:
            while end < len(cells) and cells[end] == (left, left, 8):
                end += 1
            row.append(Segment(_label(words.get(left, ""), end - index), palette.fill(left)))
        else:
            row.append(Segment(_EIGHTHS[eighths], palette.edge(left, right)))
        index = end
    return [*row, Segment(" " * (width - len(cells)))] if len(cells) < width else row


def _label(words: str, width: int) -> str:
    for word in words.split("\t"):
        if cell_len(word) + 2 <= width or (len(word) == 1 and width >= 1):
            text = f" {word}" if cell_len(word) < width else word
            return text + " " * (width - cell_len(text))
    return " " * width
