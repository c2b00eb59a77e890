"""The ranks of a distributed training, one cell each, and above them who holds most, who is slow, who is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rich.segment import Segment

from memtop.model import units
from memtop.model.i18n import _
from memtop.model.ranks import RankCell, RankStrip
from memtop.model.ranks_text import among, named
from memtop.tui.draw.cells import Row, fit, join, left, right, row_width
from memtop.tui.palette import Palette
from memtop.tui.view import View

_LEVELS: Final = "▁▂▃▄▅▆▇█"
_SHOWN, _WORST, _SLOW, _LOST, _ENDED = "▸", "▲", "◆", "✖", "✔"
_NO_MARK: Final = (" ", "dim")
_MARKS: Final = f"{_SHOWN} shown  {_WORST} highest  {_SLOW} the others wait for it  {_LOST} gone"

_Form = tuple[int, Callable[[RankCell], Row]]
_Marks = dict[int, tuple[str, str]]
"""By rank: one character, and the palette's role of it."""


def strip(ranks: RankStrip | None, width: int, most: int, view: View) -> list[Row]:
    """At most `most` rows of `width` cells: what they say, then a cell a rank, as long as all of them find room.

    Nothing where there is one rank.
    """
    if ranks is None or most < 1:
        return []
    rows = [fit([Segment(" "), *_says(ranks, width - 2, view)], width)]
    room = most - 1
    for size, cell in _forms(ranks, view):
        each = max(1, (width - 2) // size)
        needed = -(-len(ranks.cells) // each)
        if needed <= room:
            each = -(-len(ranks.cells) // needed)
            cells = [cell(one) for one in ranks.cells]
            lines = [cells[start : start + each] for start in range(0, len(cells), each)]
            return rows + [fit([Segment(" "), *(segment for one in line for segment in one)], width) for line in lines]
    return rows + _columns(ranks, width, room, view)


def _says(ranks: RankStrip, width: int, view: View) -> Row:
    """The answer: what is shown, the highest, how far apart they are, who is slow, who is gone."""
    palette, worst = view.palette, ranks.worst
    parts: list[Row] = [[Segment(_("{value} ranks").format(value=len(ranks.cells)), palette["title"])]]
    if width >= 100:  # The header has it, too.
        parts += [[Segment(_("showing "), palette["dim"]), Segment(among(ranks), palette["strong"])]]
    if slow := ranks.stragglers:
        parts += [[Segment(_("{SLOW} {value} slow").format(SLOW=_SLOW, value=named(slow)), palette["warn"])]]
    if lost := [cell.rank for cell in ranks.lost]:
        parts += [[Segment(_("{LOST} {value} gone").format(LOST=_LOST, value=named(lost)), palette["bad"])]]
    if worst is not None:
        size = units.size(worst.peak, view.unit)
        lead = _("highest {size} on ").format(size=size) if width >= 100 else f"{_WORST} {size} on "
        parts += [[Segment(lead, palette["dim"]), Segment(_("rank {rank}").format(rank=worst.rank), palette["text"])]]
    if ranks.spread is not None and ranks.spread_percent is not None:
        share = f"{ranks.spread_percent:.1f} %"
        long = [
            Segment(_("spread "), palette["dim"]),
            Segment(f"{units.size(ranks.spread, view.unit)}, {share}", palette["text"]),
        ]
        fits = row_width(join([*parts, long], 999, Segment(" · "))) <= width
        parts += [long if fits else [long[0], Segment(share, palette["text"])]]
    return join(parts, width, Segment(" · ", palette["faint"]))


def _forms(ranks: RankStrip, view: View) -> list[_Form]:
    """From the widest cell to the narrowest: (its cells, how it is drawn)."""
    palette, marks = view.palette, _marks(ranks)
    digits = len(str(max(cell.rank for cell in ranks.cells)))
    size = max(len(units.size(cell.peak, view.unit)) for cell in ranks.cells)
    steps = max(len(f"{cell.step:,}") for cell in ranks.cells)

    def cell(one: RankCell, parts: int) -> Row:
        mark, role = marks.get(one.rank, _NO_MARK)
        shown = one.rank == ranks.shown
        row = [
            Segment(_SHOWN if shown else " ", palette["accent"]),
            Segment(right(str(one.rank), digits), palette["strong" if shown else "dim"]),
            Segment(mark, palette[role]),
            Segment(right(units.size(one.peak, view.unit), size), palette["strong" if shown else "text"]),
        ]
        if parts > 1:
            row.append(Segment(f"  step {one.step:>{steps},}", palette["dim"]))
        if parts > 2:
            row.append(Segment(f"  {_pace(one):<10}", palette["dim"]))
        return [*row, Segment("  ")]

    bare = 1 + digits + 1 + size + 2
    return [
        (bare + 7 + steps + 12, lambda one: cell(one, 3)),
        (bare + 7 + steps, lambda one: cell(one, 2)),
        (bare, lambda one: cell(one, 1)),
    ]


def _marks(ranks: RankStrip) -> _Marks:
    """The ranks that stand out: what is worst about a rank wins."""
    marks: _Marks = {cell.rank: (_ENDED, "dim") for cell in ranks.cells if cell.standing == "ended"}
    if ranks.worst is not None:
        marks[ranks.worst.rank] = _WORST, "accent"
    marks |= dict.fromkeys(ranks.stragglers, (_SLOW, "warn"))
    marks |= {cell.rank: (_LOST, "bad") for cell in ranks.lost}
    return marks


def _pace(cell: RankCell) -> str:
    """How long a step of it takes, or how it stands."""
    if cell.standing in ("lost", "ended", "paused"):
        return {"lost": "gone"}.get(cell.standing, cell.standing)
    return "" if cell.seconds is None else f"{units.duration(cell.seconds)}"


def _columns(ranks: RankStrip, width: int, room: int, view: View) -> list[Row]:
    """Many ranks: one character each, as high as its peak is beside the highest; marks in their place."""
    palette, marks = view.palette, _marks(ranks)
    top = 0 if ranks.worst is None else ranks.worst.peak or 0
    digits = len(str(max(cell.rank for cell in ranks.cells)))
    each = max(1, (width - 4 - 2 * digits) // 8 * 8)
    rows: list[Row] = []
    for start in range(0, len(ranks.cells), each):
        part = ranks.cells[start : start + each]
        row = [Segment(f" {part[0].rank:>{digits}} ", palette["dim"])]
        row += [_column(cell, ranks.shown, marks.get(cell.rank, _NO_MARK), top, palette) for cell in part]
        row.append(Segment(f" {part[-1].rank}", palette["dim"]))
        rows.append(fit(row, width))
    if len(rows) > room:
        last = _(" … {value:,} ranks more: k shows one of them").format(
            value=len(ranks.cells) - each * max(0, room - 1)
        )
        rows = [*rows[: max(0, room - 1)], [Segment(left(last, width), palette["dim"])]][:room]
    elif len(rows) < room and width >= 60:
        rows.append(fit([Segment(" " * (digits + 2)), Segment(_MARKS, palette["faint"])], width))
    return rows


def _column(cell: RankCell, shown: int, marked: tuple[str, str], top: int, palette: Palette) -> Segment:
    mark, role = marked
    if cell.rank == shown:
        return Segment(_SHOWN, palette["accent"])
    if mark not in (" ", _ENDED):
        return Segment(mark, palette[role])
    if cell.peak is None or not top:
        return Segment("·", palette["faint"])
    return Segment(_LEVELS[min(7, 8 * cell.peak // (top + 1))], palette["text"])
