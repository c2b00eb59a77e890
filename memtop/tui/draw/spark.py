"""Small graphs: sparkline, meter, per-core bars, stacked area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.segment import Segment

from memtop.tui.draw.bar import share_out
from memtop.tui.draw.cells import Row
from memtop.tui.palette import LETTERS, Palette

LEVELS = " ▁▂▃▄▅▆▇█"


def spark(values: Sequence[int | float | None], width: int) -> str:
    """The last `width` values, newest at the right, from zero to their highest. Flat is a line, unknown a gap."""
    shown = list(values)[-width:]
    known = [value for value in shown if value is not None]
    top = max(known, default=0)
    flat = top <= 0 or _level(min(known), top, False) == LEVELS[8]
    text = "".join(" " if value is None else _level(value, top, flat) for value in shown)
    return text.rjust(width)


def _level(value: int | float, top: int | float, flat: bool) -> str:
    if flat:
        return "─" if top > 0 else " "
    return LEVELS[1 + max(0, min(7, int(8 * value / top)))] if value > 0 else "▁"


def meter(part: float | None, whole: float | None, width: int, palette: Palette, role: str = "meter") -> Row:
    """A level from 0 to `whole` in `width` cells, to half a cell. Unknown is an empty track."""
    if part is None or not whole:
        return [Segment("─" * width, palette["track"])]
    halves = max(0, min(2 * width, round(2 * width * part / whole)))
    full, half = divmod(halves, 2)
    text = "━" * full + ("╸" if half else "")
    return [Segment(text, palette[role]), Segment("─" * (width - len(text)), palette["track"])]


def load_role(percent: float | None, warn: float = 80, bad: float = 95) -> str:
    """A role by how near its end something is."""
    return "faint" if percent is None else "bad" if percent >= bad else "warn" if percent >= warn else "meter"


def cores(loads: Sequence[float], width: int, palette: Palette) -> Row:
    """A small bar a core; where they don't fit, the highest of each group of neighbours."""
    if not loads or width <= 0:
        return Row()
    group = -(-len(loads) // width)
    heads = [max(loads[i : i + group]) for i in range(0, len(loads), group)]
    text = "".join(LEVELS[1 + max(0, min(7, int(load * 8 / 100)))] for load in heads)
    return [Segment(text, palette["meter"])]


def area(
    series: Mapping[str, Sequence[int | None]], order: Sequence[str], width: int, height: int, palette: Palette
) -> tuple[list[Row], int]:
    """The last `width` slots of `series` stacked in `order`, exact to an eighth of a row, and the top of the scale."""
    stacks = _stacks(series, order, width)
    top = max((sum(stack) for stack in stacks), default=0)
    columns = [column(stack, order, top, height, palette) for stack in stacks]
    blank = [(" ", "", "")] * height
    return rows_of([blank] * (width - len(columns)) + columns, height, palette), top


Cell = tuple[str, str, str]
"""One cell of a graph: its glyph, the category above or empty, the category below or empty."""


def rows_of(columns: Sequence[Sequence[Cell]], height: int, palette: Palette) -> list[Row]:
    """Columns of cells, top first, as rows of text with as few segments as can be."""
    rows = []
    for y in range(height):
        row = Row()
        run, last = "", ("", "")
        for cells in columns:
            glyph, upper, lower = cells[y]
            if (upper, lower) != last and run:
                row.append(_segment(run, *last, palette))
                run = ""
            run, last = run + glyph, (upper, lower)
        rows.append([*row, _segment(run, *last, palette)])
    return rows


def _segment(text: str, upper: str, lower: str, palette: Palette) -> Segment:
    if not lower or palette.mono:
        return Segment(text)
    return Segment(text, palette.edge(lower, upper) if upper else palette.ink(lower))


def _stacks(series: Mapping[str, Sequence[int | None]], order: Sequence[str], width: int) -> list[list[int]]:
    length = min(width, max((len(values) for values in series.values()), default=0))
    lines = [tuple(series.get(name, ()))[-length:] if length else () for name in order]
    gaps = [length - len(line) for line in lines]
    return [
        [max(0, line[x - gap] or 0) if x >= gap else 0 for line, gap in zip(lines, gaps, strict=True)]
        for x in range(length)
    ]


def column(stack: Sequence[int], order: Sequence[str], top: int, height: int, palette: Palette) -> list[Cell]:
    """One column of `stack` (none negative) on a scale from 0 to `top`, exact to an eighth of a row, top row first."""
    if top <= 0 or not sum(stack):
        return [(" ", "", "")] * height
    steps = 1 if palette.mono else 8
    filled = max(1, round(height * steps * sum(stack) / top))
    names: list[str] = []
    for name, count in zip(order, share_out(stack, filled), strict=True):
        names += [name] * count
    rows = [names[y * steps : (y + 1) * steps] for y in range(height)]
    if palette.mono:
        return [(LETTERS[row[0]] if row else " ", "", "") for row in reversed(rows)]
    return [_glyph(row) for row in reversed(rows)]


def _glyph(inside: list[str]) -> Cell:
    """One cell from its eighths, lowest first: two categories at most, or one under nothing."""
    if not inside:
        return " ", "", ""
    low = inside[0]
    if len(inside) < 8:
        low = max(dict.fromkeys(inside), key=inside.count)
        return LEVELS[len(inside)], "", low
    if inside[-1] == low:
        return "█", "", low
    count = inside.count(low)
    return LEVELS[count], inside[-1], low
