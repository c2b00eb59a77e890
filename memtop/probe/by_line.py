"""A deep look by source line: the rows of a `lines` record. Their `at_peak` sum to the peak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .attribution import CATEGORIES
from .births import HELD, PHASES
from .places import text_of
from .replay import Course

if TYPE_CHECKING:
    from .found import Found

_TENSORS = 50
_LINES = 400

Sizes = dict[int, int]


def lines(found: Found, made: Course) -> dict[str, Any]:
    """`rows`, most bytes at the peak first; what was there before the step is one row without a file."""
    groups: dict[tuple[int, int], _Line] = {}
    peak, end = made.standing(made.peak), made.standing()
    for number, birth in enumerate(found.look.births):
        if birth.device != made.device:
            continue
        key = birth.line, birth.phase
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Line()
        group.born += birth.bytes
        group.count += 1
        if number in peak:
            group.alive.append(number)
        if number in end:
            group.kept += end[number]
    rows = [_row(found, line, phase, group, peak) for (line, phase), group in groups.items()]
    rows.sort(key=lambda row: (-row["at_peak"], -row["born"]))
    return {"rows": rows[:_LINES] + _rest(rows[_LINES:])}


class _Line:
    """What one line made in one phase. Sizes are bytes."""

    def __init__(self) -> None:
        self.born = self.count = self.kept = 0
        self.alive: list[int] = []
        """What was alive at the peak."""


def _row(found: Found, line: int, phase: int, group: _Line, peak: Sizes) -> dict[str, Any]:
    place = found.look.places.known[line] if line >= 0 else None
    return {
        "file": None if place is None else place[0],
        "line": None if place is None else place[1],
        "function": None if place is None else place[2],
        "text": None if place is None else text_of(place),
        "phase": PHASES[phase],
        "at_peak": sum([peak[number] for number in group.alive]),
        "born": 0 if phase == HELD else group.born,
        "count": 0 if phase == HELD else group.count,
        "kept": group.kept,
        "tensors": _tensors(found, group.alive, peak),
    }


def _rest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines that found no room, as one."""
    if not rows:
        return []
    sums = {name: sum(row[name] for row in rows) for name in ("at_peak", "born", "count", "kept")}
    return [{**rows[0], "file": None, "line": None, "function": None, "text": None, **sums, "tensors": []}]


def _tensors(found: Found, alive: list[int], peak: Sizes) -> list[dict[str, Any]]:
    """Those alive at the peak, alike ones together."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    births, ranks, owners = found.look.births, found.ranks, found.owners
    for number in alive:
        birth = births[number]
        alike = (birth.shape, birth.dtype, ranks[number], birth.operator, owners[number])
        amounts = groups.get(alike)
        if amounts is None:
            groups[alike] = [1, peak[number]]
        else:
            amounts[0] += 1
            amounts[1] += peak[number]
    ordered = sorted(groups.items(), key=lambda group: -group[1][1])
    told = [_alike(found, alike, *amounts) for alike, amounts in ordered[:_TENSORS]]
    if rest := [amounts for _, amounts in ordered[_TENSORS:]]:
        more: dict[str, Any] = {"shape": [], "dtype": "", "category": "", "operator": "", "module": None}
        told.append({**more, "count": sum(one[0] for one in rest), "bytes": sum(one[1] for one in rest)})
    return told


def _alike(found: Found, alike: tuple[Any, ...], count: int, size: int) -> dict[str, Any]:
    shape, dtype, rank, operator, owner = alike
    return {
        "shape": list(shape),
        "dtype": str(dtype).removeprefix("torch."),
        "category": CATEGORIES[rank],
        "operator": "" if operator is None else str(operator).removesuffix(".default"),
        "module": found.path(owner),
        "count": count,
        "bytes": size,
    }
