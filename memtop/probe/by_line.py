"""A deep look by source line: the rows of a `lines` record. Their `at_peak` sum to the peak."""

from __future__ import annotations

from collections import defaultdict
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
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, birth in enumerate(found.look.births):
        if birth.device == made.device:
            groups[birth.line, birth.phase].append(number)
    peak, end = made.standing(made.peak), made.standing()
    rows = [_row(found, line, phase, numbers, peak, end) for (line, phase), numbers in groups.items()]
    rows.sort(key=lambda row: (-row["at_peak"], -row["born"]))
    return {"rows": rows[:_LINES] + _rest(rows[_LINES:])}


def _row(found: Found, line: int, phase: int, numbers: list[int], peak: Sizes, end: Sizes) -> dict[str, Any]:
    place = found.look.places.known[line] if line >= 0 else None
    born = [] if phase == HELD else numbers
    return {
        "file": None if place is None else place[0],
        "line": None if place is None else place[1],
        "function": None if place is None else place[2],
        "text": None if place is None else text_of(place),
        "phase": PHASES[phase],
        "at_peak": sum(peak.get(number, 0) for number in numbers),
        "born": sum(found.look.births[number].bytes for number in born),
        "count": len(born),
        "kept": sum(end.get(number, 0) for number in numbers),
        "tensors": _tensors(found, numbers, peak),
    }


def _rest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines that found no room, as one."""
    if not rows:
        return []
    sums = {name: sum(row[name] for row in rows) for name in ("at_peak", "born", "count", "kept")}
    return [{**rows[0], "file": None, "line": None, "function": None, "text": None, **sums, "tensors": []}]


def _tensors(found: Found, numbers: list[int], peak: Sizes) -> list[dict[str, Any]]:
    """Those alive at the peak, alike ones together."""
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    for number in numbers:
        size = peak.get(number, 0)
        if size:
            birth = found.look.births[number]
            alike = (birth.shape, birth.dtype, found.ranks[number], birth.operator, found.owners[number])
            groups[alike][0] += 1
            groups[alike][1] += size
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
