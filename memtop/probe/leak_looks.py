"""What one deep look left behind, by source line and by weak reference."""

from __future__ import annotations

from typing import Any

from .attribution import BUFFERS, GRADIENTS, INPUTS, PARAMETERS, STATE
from .births import HELD
from .found import Found
from .leak_rules import Left
from .places import Place, text_of
from .storages import Held

_MOST_KEPT = 5_000
"""Storages followed of one look."""
_OWNED = frozenset({PARAMETERS, GRADIENTS, STATE})


class Kept(Held):
    """A storage born in a look's step, and what is told of it."""

    __slots__ = ("dims", "module", "rank")

    def __init__(self, storage: Any, module: str | None, rank: int, birth: Any) -> None:
        super().__init__(storage)
        self.module = module
        self.rank = rank
        self.dtype, self.dims = birth.dtype, len(birth.shape)


class Looked:
    """The lines of one look's step, and what lives on of what they made."""

    def __init__(self, found: Found) -> None:
        births, ranks = found.look.births, found.ranks
        self.step = found.step
        self.inputs = sum(birth.bytes for birth, rank in zip(births, ranks, strict=True) if rank == INPUTS)
        """Bytes of the step's batch."""
        self.kept: dict[Place, list[Kept]] = {}
        self.sizes: dict[Place, int] = {}
        """The largest tensor of each line that was alive when the step ended."""
        self.first: dict[Place, tuple[int, int]] | None = None
        """Count and bytes by line once what the next steps needed is gone; `None` before."""
        known, followed = found.look.places.known, 0
        for number, birth in enumerate(_storages(found)):
            if birth.phase == HELD or birth.operator is None or birth.line < 0 or ranks[number] in _OWNED:
                continue
            storage = found.look.refs[number]()
            if storage is None or followed >= _MOST_KEPT:
                continue
            followed += 1
            place = known[birth.line]
            self.sizes[place] = max(self.sizes.get(place, 0), storage.nbytes())
            if ranks[number] != BUFFERS:
                one = Kept(storage, found.path(found.owners[number]), ranks[number], birth)
                self.kept.setdefault(place, []).append(one)

    def settle(self) -> None:
        """What is alive now was left behind."""
        alive = {place: [one for one in held if one.alive] for place, held in self.kept.items()}
        self.kept = {place: held for place, held in alive.items() if held}
        self.first = {place: (len(held), sum(one.bytes for one in held)) for place, held in self.kept.items()}

    def left(self, place: Place) -> Left:
        """What a line left behind, and what is left of that."""
        alive = [one.bytes for one in self.kept.get(place, ()) if one.alive]
        return Left(self.step, *(self.first or {}).get(place, (0, 0)), len(alive), sum(alive))


def replaced(found: Found) -> set[Place]:
    """Lines that put a tensor together that outlives the step, or made one which is like one of before the step that
    has gone, and longer in one dimension. A batch is none of them: what it is as long as, the program was given."""
    births, refs = _storages(found), found.look.refs
    gone = {
        (birth.dtype, tuple(birth.shape))
        for number, birth in enumerate(births)
        if birth.phase == HELD and found.ranks[number] not in _OWNED and refs[number]() is None
    }
    lines = set()
    for number, birth in enumerate(births):
        if birth.phase == HELD or birth.line < 0 or refs[number]() is None:
            continue
        if found.ranks[number] in _OWNED or found.ranks[number] == INPUTS:
            continue
        shape = tuple(birth.shape)
        joined = str(birth.operator).startswith("aten.cat")
        if joined or any(dtype == birth.dtype and _longer(shape, before) for dtype, before in gone):
            lines.add(found.look.places.known[birth.line])
    return lines


def _storages(found: Found) -> list[Any]:
    """The births of storages. Behind them are CUDA's blocks that no storage was seen for: nothing refers to those."""
    return found.look.births[: len(found.look.refs)]


def _longer(shape: tuple[int, ...], before: tuple[int, ...]) -> bool:
    pairs = [(new, old) for new, old in zip(shape, before, strict=False) if new != old]
    return len(shape) == len(before) and len(pairs) == 1 and pairs[0][0] > pairs[0][1] > 0


def told(place: Place) -> dict[str, Any]:
    """A line as the wire has it."""
    return {"file": place[0], "line": place[1], "function": place[2], "text": text_of(place)}
