"""A mark of `memtop.track()` as a table of text: tensors gained (+) and lost (-) since the mark before. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from memtop.model.snapshot import TensorGroup, Tracked
from memtop.model.text import one_line
from memtop.model.units import size

_NOTHING = "  nothing new, nothing gone"


def lines(mark: Tracked) -> list[str]:
    """The place and label, a row for each group (largest tensors first, gained before lost), the total.

    `  + 7 x (512, 512, 3, 3)  float32  Parameter  66,060,288`: count, shape, dtype, kind, bytes of all seven.
    """
    rows = [("+", one) for one in _ordered(mark.gained)] + [("-", one) for one in _ordered(mark.lost)]
    named = any(one.device != "cpu" for _, one in rows)
    cells = [_cells(sign, one, named) for sign, one in rows]
    head = " ".join(part for part in (one_line(mark.place, 400), one_line(mark.label)) if part)
    return [head, *(_table(cells) or [_NOTHING]), _total(mark)]


def _ordered(groups: Iterable[TensorGroup]) -> list[TensorGroup]:
    """By bytes of one tensor, most first; of equals by what is written."""
    return sorted(groups, key=lambda one: (-_each(one), one.shape, one.dtype, one.kind, one.device))


def _each(one: TensorGroup) -> int:
    return one.bytes // one.count if one.count else 0


def _cells(sign: str, one: TensorGroup, named: bool) -> list[str]:
    shape = f"({', '.join(map(str, one.shape))}{',' if len(one.shape) == 1 else ''})"
    device = [one_line(one.device, 20)] if named else []
    return [
        f"{sign} {one.count:,} x",
        shape,
        one_line(one.dtype, 30),
        one_line(one.kind, 60),
        *device,
        _exact(one.bytes),
    ]


def _exact(count: int) -> str:
    return size(count, "B").removesuffix(" B")


def _table(rows: list[list[str]]) -> list[str]:
    """Columns two spaces apart; counts and bytes stand right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_row(row, widths) for row in rows]


def _row(row: list[str], widths: list[int]) -> str:
    sign, count = row[0][:2], row[0][2:].rjust(widths[0] - 2)
    middle = [cell.ljust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
    return "  ".join([f"  {sign}{count} {middle[0]}", *middle[1:], row[-1].rjust(widths[-1])])


def _total(mark: Tracked) -> str:
    gained, lost = (sum(one.bytes for one in groups) for groups in (mark.gained, mark.lost))
    change = f": + {size(gained, 'B')}, - {size(lost, 'B')}" if mark.gained or mark.lost else ""
    return f"  = {size(mark.total, 'B')} in all{change}"
