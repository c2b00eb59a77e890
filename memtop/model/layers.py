"""The modules of a deep look as a tree: what each subtree sums to, in which order it is shown, what is folded away.

Arithmetic on a `ModulesRecord` alone. Each row of the record is counted once, so that the top level's sums are the
record's: what belongs to no module stands there beside the roots.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Final

import msgspec

from memtop.model.deep_records import ModuleRow

ORDERS: Final = ("model", "at peak", "activations", "parameters", "flops")
"""How layers can be sorted: as the model has them, or by the largest figure of a subtree first."""


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """A module with all below it. Bytes, but for `parameters` (elements) and `flops`."""

    parameters: int
    held: int
    """Parameter and buffer bytes."""
    gradients: int
    state: int
    activations: int
    recomputed: int
    at_peak: int
    born: int
    flops: int | None
    """`None` where none is known of any of them."""
    series: tuple[int, ...]
    """Bytes made in the step and alive, summed slot by slot: above what lived together where maxima fell apart."""


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the tree."""

    row: ModuleRow
    depth: int
    parent: int | None
    """Index of the layer above it."""
    children: tuple[int, ...]
    total: Sums

    @property
    def name(self) -> str:
        """The last word of its path; of the root its class."""
        path = self.row.path
        return self.row.type if path == "" else "" if path is None else path.rpartition(".")[2]


def tree(rows: list[ModuleRow]) -> tuple[Layer, ...]:
    """The rows as a tree, in their order. A parent that the record left out is skipped, not invented."""
    places: dict[str, int] = {}
    parents: list[int | None] = []
    for index, row in enumerate(rows):
        parents.append(None if row.path is None else _parent(row.path, places))
        if row.path is not None:
            places.setdefault(row.path, index)
    children: list[list[int]] = [[] for _ in rows]
    depths: list[int] = []
    for index, parent in enumerate(parents):
        depths.append(0 if parent is None else depths[parent] + 1)
        if parent is not None:
            children[parent].append(index)
    sums: list[Sums | None] = [None] * len(rows)
    for index in range(len(rows) - 1, -1, -1):
        below = [found for child in children[index] if (found := sums[child]) is not None]
        sums[index] = _sum([_own(rows[index]), *below])
    return tuple(
        Layer(row=row, depth=depths[i], parent=parents[i], children=tuple(children[i]), total=total)
        for i, row in enumerate(rows)
        if (total := sums[i]) is not None
    )


def _parent(path: str, places: dict[str, int]) -> int | None:
    """The nearest module above `path` that came before it."""
    while path:
        path = path.rpartition(".")[0]
        if path in places:
            return places[path]
    return None


def _own(row: ModuleRow) -> Sums:
    return Sums(
        parameters=row.parameters,
        held=row.parameter_bytes + row.buffer_bytes,
        gradients=row.gradient_bytes,
        state=row.state_bytes,
        activations=row.activations,
        recomputed=row.recomputed,
        at_peak=row.at_peak,
        born=row.born,
        flops=row.flops,
        series=tuple(row.series),
    )


def _sum(parts: list[Sums]) -> Sums:
    if len(parts) == 1:
        return parts[0]
    known = [part.flops for part in parts if part.flops is not None]
    width = max(len(part.series) for part in parts)
    full = [part.series for part in parts if len(part.series) == width]
    return Sums(
        parameters=sum(part.parameters for part in parts),
        held=sum(part.held for part in parts),
        gradients=sum(part.gradients for part in parts),
        state=sum(part.state for part in parts),
        activations=sum(part.activations for part in parts),
        recomputed=sum(part.recomputed for part in parts),
        at_peak=sum(part.at_peak for part in parts),
        born=sum(part.born for part in parts),
        flops=sum(known) if known else None,
        series=tuple(map(sum, zip(*full, strict=True))),
    )


def whole(layers: tuple[Layer, ...]) -> Sums | None:
    """All of it: the top level's sums. `None` where there is no row."""
    tops = [layer.total for layer in layers if layer.parent is None]
    return _sum(tops) if tops else None


_KEYS: Final[dict[str, Callable[[Sums], int]]] = {
    "at peak": lambda sums: sums.at_peak,
    "activations": lambda sums: sums.activations,
    "parameters": lambda sums: sums.parameters,
    "flops": lambda sums: sums.flops or 0,
}


def shown(layers: tuple[Layer, ...], order: str, folded: Set[str | None], wanted: str = "") -> list[int]:
    """Indices of the layers to show, from top to bottom.

    `order` is one of `ORDERS` and sorts the children of each module among themselves; in the model's order what belongs
    to no module comes last. `folded` are paths whose children are hidden. With `wanted`, those whose path or class has
    these letters (capitals do not matter), with all that stands above them, whatever is folded.
    """
    kept = _matching(layers, wanted) if wanted else None
    key = _KEYS.get(order)

    def ordered(indices: list[int]) -> list[int]:
        return indices if key is None else sorted(indices, key=lambda index: (-key(layers[index].total), index))

    found: list[int] = []
    tops = [index for index, layer in enumerate(layers) if layer.parent is None]
    tops.sort(key=lambda index: layers[index].row.path is None)
    stack = ordered(tops)[::-1]
    while stack:
        index = stack.pop()
        if kept is not None and index not in kept:
            continue
        found.append(index)
        if kept is not None or layers[index].row.path not in folded:
            stack += ordered(list(layers[index].children))[::-1]
    return found


def _matching(layers: tuple[Layer, ...], wanted: str) -> set[int]:
    kept: set[int] = set()
    for index, layer in enumerate(layers):
        if matches(layer, wanted):
            above: int | None = index
            while above is not None and above not in kept:
                kept.add(above)
                above = layers[above].parent
    return kept


def matches(layer: Layer, wanted: str) -> bool:
    """Whether a path or a class has these letters."""
    return wanted.lower() in f"{layer.row.path or ''} {layer.row.type}".lower()
