"""The person's lines by what lives of them at the peak, and the path from a line to its tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Final

import msgspec
from rich.cells import cell_len
from rich.segment import Segment

from memtop.model import units
from memtop.model.deep_records import LineRow, LineTensor, ModulesRecord
from memtop.model.i18n import N_, _
from memtop.model.text import one_line
from memtop.tui.draw.cells import Row, cut, fit, join, left, right
from memtop.tui.draw.figures import SizeColumn, share_text
from memtop.tui.draw.peak import module_name, place
from memtop.tui.draw.remember import Remembered
from memtop.tui.draw.sheet import GAP, Column, Sight, body, chosen, gutter, head, marked
from memtop.tui.draw.step import PHASES
from memtop.tui.palette import LETTERS, Palette, title
from memtop.tui.view import View

ORDERS: Final = ("at peak", "born", "count")
"""How lines can be sorted: bytes alive at the peak, bytes and number of tensors made in the step."""
HELD: Final = N_("there before the step: parameters, buffers, optimizer state, inputs")
_TIGHT: Final = 110
"""Below this width a tensor's letter is enough to tell its category, and its module comes before its operator."""
_KEYS: Final[dict[str, Callable[[LineRow], int]]] = {
    "at peak": lambda row: row.at_peak,
    "born": lambda row: row.born,
    "count": lambda row: row.count,
}

Entry = tuple[int, int | None]
"""A row of the tab: which line, and which of its tensors, or `None` for the line itself."""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What the tab shows."""

    rows: Sequence[LineRow]
    visible: Sequence[Entry]
    sight: Sight
    order: str
    opened: Set[int]
    wanted: str
    peak: int | None
    """Tensor bytes of the look's peak, which all lines together are."""
    modules: ModulesRecord | None = None
    """What tells a module's class."""


def shown(rows: Sequence[LineRow], order: str, opened: Set[int], wanted: str) -> list[Entry]:
    """The lines with `wanted` in file, text or function, sorted, each followed by its tensors where it is opened."""
    key = _KEYS[order]
    found: list[Entry] = []
    for index in sorted(range(len(rows)), key=lambda index: (-key(rows[index]), index)):
        if not wanted or matches(rows[index], wanted):
            found.append((index, None))
            if index in opened:
                found += [(index, number) for number in range(len(rows[index].tensors))]
    return found


def matches(row: LineRow, wanted: str) -> bool:
    """Whether file, text or function have these letters; capitals do not matter."""
    text = f"{row.file or HELD} {row.text or ''} {row.function or ''}"
    return wanted.lower() in text.lower()


def _longest(rows: Sequence[LineRow]) -> int:
    return max((cell_len(place(row.file, row.line, True)) for row in rows), default=0)


longest: Remembered[Sequence[LineRow], int] = Remembered(_longest, keep=1)
"""Cells of the longest place among the rows."""


def _columns(view: View, listing: Listing, width: int) -> list[Column]:
    size = SizeColumn(view.unit, listing.peak).width
    most = 40 if width >= 100 else 16
    return [
        Column("share", "share", 7, 2),
        Column("at peak", "at peak", size, 1),
        Column("born", "born", size, 6),
        Column("count", "count", 7, 5),
        Column("phase", "phase", 9, 4, True),
        Column("place", "line", max(9, min(most, longest(listing.rows))), 3, True),
    ]


def tab(listing: Listing, width: int, height: int, view: View) -> list[Row]:
    """`height` rows: titles, the lines in sight and their sum."""
    palette = view.palette
    columns = chosen(_columns(view, listing, width), width - 2, 34 if width >= 60 else 12)
    room = max(0, width - 2 - sum(column.width + GAP for column in columns))
    size = SizeColumn(view.unit, listing.peak)
    rows = [_head(columns, room, listing, palette)]

    def draw(number: int, here: bool) -> Row:
        index, tensor = listing.visible[number]
        line = listing.rows[index]
        if tensor is None:
            row = _line(line, here, index in listing.opened, columns, room, listing.peak, size, view)
        else:
            row = _tensor(line.tensors[tensor], here, width, size, listing.modules, view)
        return marked(row, width, palette) if here else row

    rows += body(len(listing.visible), listing.sight, rows_in_sight(height), draw)
    if not listing.visible and len(rows) > 1:
        rows[1] = [
            Segment(
                _("  nothing has {value!r} in file, text or function").format(value=one_line(listing.wanted)),
                palette["faint"],
            )
        ]
    rows.append(_total(listing, columns, size, palette))
    return [fit(row, width) for row in rows[:height]]


def rows_in_sight(height: int) -> int:
    """How many rows a tab of this height shows between titles and sum."""
    return max(1, height - 2)


def _head(columns: list[Column], room: int, listing: Listing, palette: Palette) -> Row:
    """The text comes last: it is the widest."""
    row = head("", columns, sum(column.width + GAP for column in columns), listing.order, palette)
    words = (
        _("text ({value:,} lines)").format(value=len(listing.rows))
        if not listing.wanted
        else _("text with {value!r}").format(value=one_line(listing.wanted))
    )
    return [*row, Segment(" " * GAP + left(words, room), palette["faint"])]


def _line(
    line: LineRow,
    here: bool,
    opened: bool,
    columns: list[Column],
    room: int,
    peak: int | None,
    size: SizeColumn,
    view: View,
) -> Row:
    palette = view.palette
    row = Row()
    for column in columns:
        # The mark takes the place of the gap before the first column.
        row.append(gutter(here, palette) if not row else Segment(" " * GAP))
        words, role = _cell(column, line, peak, size)
        style = palette.ink(PHASES[line.phase]) if column.name == "phase" and line.phase in PHASES else palette[role]
        row.append(Segment((left if column.at_left else right)(words, column.width), style))
    text = (
        _(HELD)
        if line.file is None
        else one_line(line.text or "", 400).strip() or one_line(f"in {line.function or '?'}")
    )
    mark = " " if not line.tensors else "▾" if opened else "▸"
    style = palette["strong" if here else "text" if line.file is not None else "dim"]
    return [*row, Segment(f" {mark} ", palette["faint"]), Segment(cut(text, max(0, room - 1)), style)]


def _cell(column: Column, line: LineRow, peak: int | None, size: SizeColumn) -> tuple[str, str]:
    """Words and the role of their colour."""
    if column.name == "share":
        return share_text(line.at_peak, peak), "dim" if line.at_peak else "faint"
    if column.name == "count":
        return f"{line.count:,}", "dim" if line.count else "faint"
    if column.name == "phase":
        return _(one_line(line.phase, 40)), "dim"
    if column.name == "place":
        words = place(line.file, line.line, True)
        return words if cell_len(words) <= column.width else place(line.file, line.line), "text"
    value = line.at_peak if column.name == "at peak" else line.born
    return size.text(value), "faint" if not value else "text" if column.name == "at peak" else "dim"


def _tensor(
    tensor: LineTensor, here: bool, width: int, size: SizeColumn, modules: ModulesRecord | None, view: View
) -> Row:
    """Tensors that are alike: shape and count, kind, who made them, where, how much."""
    palette = view.palette
    known = tensor.category in LETTERS
    mark = Segment(LETTERS.get(tensor.category, "?"), palette.fill(tensor.category) if known else palette["dim"])
    start = [gutter(here, palette), Segment(" " * 9), Segment(size.text(tensor.bytes), palette["text"]), Segment("  ")]
    operator = [Segment(one_line(tensor.operator, 100), palette["dim"])] if tensor.operator else []
    module = Row()
    if tensor.module is not None:
        module = [Segment(module_name(tensor.module, modules) or _("the root"), palette["accent"])]
    tight = width < _TIGHT
    parts = [
        [mark, Segment(f" {shape_text(tensor)}", palette["strong" if here else "text"])],
        [Segment(one_line(tensor.dtype, 40), palette["dim"])],
        [] if known and tight else [Segment(title(one_line(tensor.category, 40)), palette["dim"])],
        *((module, operator) if tight else (operator, module)),
    ]
    return [*start, *join(parts, max(1, width - 22), Segment(" · ", palette["faint"]))]


def shape_text(tensor: LineTensor) -> str:
    """`(64, 32, 32, 32) × 2`; of what the record had no room to tell, only the number."""
    if not tensor.shape and tensor.count > 1 and not tensor.operator:
        return f"{tensor.count:,} more"
    shape = (
        f"({', '.join(map(str, tensor.shape))}{',' if len(tensor.shape) == 1 else ''})" if tensor.shape else "scalar"
    )
    return shape if tensor.count == 1 else f"{shape} × {tensor.count:,}"


def _total(listing: Listing, columns: list[Column], size: SizeColumn, palette: Palette) -> Row:
    whole = sum(row.at_peak for row in listing.rows)
    figures = {
        "share": units.percent(whole, listing.peak),
        "at peak": size.text(whole),
        "born": size.text(sum(row.born for row in listing.rows)),
        "count": f"{sum(row.count for row in listing.rows):,}",
    }
    row = Row()
    for column in columns:
        row.append(Segment("Σ " if not row else " " * GAP, palette["strong"]))
        words = figures.get(column.name, "")
        row.append(Segment((left if column.at_left else right)(words, column.width), palette["strong"]))
    same = whole == listing.peak
    words = _("   all lines, = the peak") if same else _("   ≠ the peak, {size}").format(size=units.size(listing.peak))
    return [*row, Segment(words, palette["good" if same else "bad"])]
