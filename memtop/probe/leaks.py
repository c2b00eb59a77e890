"""Leaks: what deep looks leave behind, followed by weak references until it goes or never does.

Nothing is kept alive. Where a line is suspicious, further looks are asked for, each at three times the steps of the one
before, eight at most; the rules are in `leak_rules.py`. A leak that is certain is classified by one search of the
process's objects: whether Python or autograd alone holds the tensors, and under what name.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from types import FrameType, FunctionType, ModuleType
from typing import Any

import torch

from . import leak_rules as rules
from .attribution import ACTIVATIONS, BUFFERS, CATEGORIES, GRADIENTS, PARAMETERS, STATE
from .births import HELD
from .found import Found
from .leak_rules import Left, Rate, Size
from .places import Place, text_of
from .storages import Held, storages

_MOST_LOOKS = 8
_MOST_KEPT = 5_000
"""Storages followed of one look."""
_OWNED = frozenset({PARAMETERS, GRADIENTS, STATE})
_ASKED = 4
"""Tensors whose holder is looked for."""

Told = tuple[str, str, dict[str, Any]]
"""Name, message and data of an event."""


class _Kept(Held):
    """A storage born in a look's step, and what is told of it."""

    __slots__ = ("module", "rank")

    def __init__(self, storage: Any, module: str | None, rank: int) -> None:
        super().__init__(storage)
        self.module = module
        self.rank = rank


class _Look:
    """What one deep look left behind, by line."""

    def __init__(self, step: int, inputs: int) -> None:
        self.step = step
        self.inputs = inputs
        self.kept: dict[Place, list[_Kept]] = {}
        self.sizes: dict[Place, int] = {}
        self.first: dict[Place, tuple[int, int]] | None = None
        """Count and bytes by line once what the next steps needed is gone; `None` before."""

    def settle(self) -> None:
        """What is alive now was left behind."""
        alive = {place: [one for one in held if one.alive] for place, held in self.kept.items()}
        self.kept = {place: held for place, held in alive.items() if held}
        self.first = {place: (len(held), sum(one.bytes for one in held)) for place, held in self.kept.items()}

    def left(self, place: Place) -> Left:
        alive = [one.bytes for one in self.kept.get(place, ()) if one.alive]
        return Left(self.step, *(self.first or {}).get(place, (0, 0)), len(alive), sum(alive))


class Leaks:
    """Follows what deep looks left behind. `asks`: further looks may be asked for."""

    def __init__(self, asks: bool) -> None:
        self._asks = asks
        self._looks: list[_Look] = []
        self._chained: set[Place] = set()
        """Lines whose tensors a later step's graph still reached."""
        self._growing: set[Place] = set()
        """Lines that have replaced a tensor by a larger one."""
        self._told: dict[Place, bool] = {}
        """Lines told; whether they are only part of another line's leak."""
        self._check_at = 0
        self._suspects = False
        self._began = time.monotonic()

    def looked(self, found: Found) -> None:
        """A deep look is over; called right after its step."""
        if len(self._looks) >= _MOST_LOOKS:
            return
        self._chain(found)
        look = _Look(found.step, sum(found.look.births[number].bytes for number in found.look.batch))
        known = found.look.places.known
        followed = 0
        for number, birth in enumerate(_storages(found)):
            storage = None if birth.phase == HELD or birth.operator is None else found.look.refs[number]()
            rank = found.ranks[number]
            if storage is None or birth.line < 0 or rank in _OWNED or followed >= _MOST_KEPT:
                continue
            followed += 1
            place = known[birth.line]
            look.sizes[place] = max(look.sizes.get(place, 0), storage.nbytes())
            if rank != BUFFERS:
                look.kept.setdefault(place, []).append(_Kept(storage, found.path(found.owners[number]), rank))
        self._growing |= _replaced(found)
        self._looks.append(look)
        self._check_at, self._suspects = look.step + rules.SETTLED, False

    def due(self, step: int) -> bool:
        """Whether suspicion calls for another look, after `step`. Cheap: `news` has found the answer."""
        return self._suspects and step >= rules.FACTOR * self._looks[-1].step

    def news(self, step: int) -> list[Told]:
        """Leaks that are certain after `step` and were not told, and those told that are over.

        Asking each weak reference takes time: it is done when a quarter more steps have passed, else nothing is.
        """
        if not self._looks or step < self._check_at or step < self._looks[-1].step + rules.SETTLED:
            return []
        self._check_at = step + step // 4 + 1
        if self._looks[-1].first is None:
            self._looks[-1].settle()
        self._suspects = self._asks and len(self._looks) < _MOST_LOOKS and self._suspicious()
        ended = [self._over(place) for place in list(self._told) if self._has_ended(place)]
        if not rules.long_enough(step, time.monotonic() - self._began):
            return ended
        fresh = {p: r for p in self._looks[-1].kept if p not in self._told and (r := rules.kept(self._left(p)))}
        larger = {p: r for p in self._growing if p not in self._told and (r := rules.grows(self._sizes(p)))}
        self._told |= dict.fromkeys((*fresh, *larger), False)
        return ended + (self._kept(fresh, step) if fresh else []) + [self._grown(p, r, step) for p, r in larger.items()]

    def _suspicious(self) -> bool:
        newest = self._looks[-1]
        return any(rules.suspicious(self._left(place)) for place in newest.kept) or any(
            place in newest.sizes and rules.may_grow(self._sizes(place)) for place in self._growing
        )

    def _left(self, place: Place) -> list[Left]:
        return [look.left(place) for look in self._looks]

    def _sizes(self, place: Place) -> list[Size]:
        return [Size(one.step, one.sizes[place], one.inputs) for one in self._looks if place in one.sizes]

    def _chain(self, found: Found) -> None:
        """Lines of earlier looks whose tensors this step's graph has reached."""
        live, ranks, births = found.look.live, found.ranks, found.look.births
        for look in self._looks:
            for place, held in look.kept.items():
                for one in held:
                    number = live.get(one.key)
                    if number is not None and ranks[number] == ACTIVATIONS and births[number].phase == HELD:
                        self._chained.add(place)
                        break

    def _has_ended(self, place: Place) -> bool:
        if place in self._growing:
            return not rules.may_grow(self._sizes(place))
        return rules.over(self._left(place))

    def _over(self, place: Place) -> Told:
        part = self._told.pop(place)
        text = f"what {_short(place)} left behind is gone, or has levelled off"
        return "leak_over", text, {"place": _told(place), "part": part}

    # -- telling -----------------------------------------------------------------------------------------------------

    def _kept(self, leaking: dict[Place, Rate], step: int) -> list[Told]:
        """One event for each cause: lines that only the graph of another line's tensors holds are part of it."""
        with torch._C.DisableTorchFunctionSubclass():
            holders = _Holders({one.key: place for place in leaking for one in self._alive(place)})
        roots = {place: self._kind(place, holders) for place in leaking}
        chief = max(leaking, key=lambda place: (roots[place] != "part", leaking[place].bytes))
        if roots[chief] == "part":
            roots[chief] = "graph"
        parts: dict[Place, list[Place]] = {place: [] for place, kind in roots.items() if kind != "part"}
        chain = [place for place, kind in roots.items() if kind == "chain"]
        if chain:
            # All that hangs on the same chain is one leak: the line that leaves most of it behind.
            head = max(chain, key=lambda place: leaking[place].bytes)
            parts = {place: more for place, more in parts.items() if place == head or roots[place] != "chain"}
            parts[head] += [place for place in chain if place != head]
        graphs = [place for place in parts if roots[place] in ("graph", "chain")]
        host = max(graphs, key=lambda place: leaking[place].bytes) if graphs else chief
        parts[host] += [place for place, kind in roots.items() if kind == "part"]
        for more in parts.values():
            self._told |= dict.fromkeys(more, True)
        return [self._leak(place, roots[place], more, leaking, holders, step) for place, more in parts.items()]

    def _kind(self, place: Place, holders: _Holders) -> str:
        if place in self._chained:
            return "chain"
        if place not in holders.tensors:
            return "part"
        return "graph" if holders.graph.get(place) else "kept"

    def _alive(self, place: Place) -> list[_Kept]:
        return [one for look in self._looks for one in look.kept.get(place, ()) if one.alive]

    def _leak(
        self, place: Place, kind: str, more: list[Place], rates: dict[Place, Rate], holders: _Holders, step: int
    ) -> Told:
        sample = self._alive(place)[-1]
        tensors = sum(rates[one].tensors for one in (place, *more))
        size = round(sum(rates[one].bytes for one in (place, *more)))
        facts = {
            "kind": kind,
            "category": CATEGORIES[sample.rank],
            "module": sample.module,
            "device": sample.device,
            "tensors_per_step": tensors,
            "bytes_per_step": size,
            "holder": holders.name(place),
            "more": [_told(one) for one in more[:20]],
        }
        return self._event(place, facts, step)

    def _grown(self, place: Place, rate: Rate, step: int) -> Told:
        facts = {"kind": "grows", "category": None, "module": None, "device": None, "tensors_per_step": 0.0}
        return self._event(place, facts | {"bytes_per_step": round(rate.bytes), "holder": None, "more": []}, step)

    def _event(self, place: Place, facts: dict[str, Any], step: int) -> Told:
        first = next(look.step for look in self._looks if place in look.sizes)
        facts |= {"place": _told(place), "step": step, "since": first}
        text = f"{facts['bytes_per_step']:,} bytes more with every step, made at {_short(place)}"
        return "leak", text, facts


class _Holders:
    """Who holds leaked tensors, by one search of the process's objects. Keeps nothing once it is asked no more."""

    def __init__(self, places: dict[int, Place]) -> None:
        """`places`: the line by the storage's key."""
        self.tensors: dict[Place, list[Any]] = {}
        self.graph: dict[Place, bool] = {}
        for one in [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]:
            for storage in storages(one):
                place = places.get(storage._cdata)
                if place is not None:
                    self.tensors.setdefault(place, []).append(one)
                    self.graph[place] = self.graph.get(place, False) or one.grad_fn is not None

    def name(self, place: Place) -> str | None:
        """`list losses`, `list Meter.values`, `a list`; `None` where nothing of Python's holds the tensors."""
        asked = self.tensors.get(place, ())[:_ASKED]
        if not asked:
            return None
        found = [one for one in gc.get_referrers(*asked) if isinstance(one, (list, dict, set, tuple))]
        ours = {id(asked), id(self.tensors), *(id(one) for one in self.tensors.values())}
        holds = [one for one in found if id(one) not in ours and type(one).__module__ != __name__]
        sizes = [(len(one), one) for one in holds if one is not sys.modules and len(one) >= _ASKED]
        if not sizes:
            return None
        container = max(sizes, key=lambda pair: pair[0])[1]
        kind = type(container).__name__
        named = _name_of(container)
        return f"a {kind}" if named is None else f"{kind} {named}"


def _name_of(container: Any) -> str | None:
    """The name of a module's variable or of an object's attribute that holds a container. A function's own variables
    are not asked: reading a frame's locals would keep them alive."""
    for one in gc.get_referrers(container):
        names = one if type(one) is dict else _attributes(one)
        found = [name for name, value in names.items() if value is container and isinstance(name, str)]
        if not found:
            continue
        if "__name__" in names and "__builtins__" in names:
            return found[0]
        owner = one
        if type(one) is dict:
            owner = next((other for other in gc.get_referrers(one) if _attributes(other) is one), None)
        return found[0] if owner is None else f"{type(owner).__name__}.{found[0]}"
    return None


def _attributes(owner: Any) -> dict[str, Any]:
    """An object's own dictionary, asked without running code of the person's; empty for what has none."""
    if isinstance(owner, (FrameType, ModuleType, FunctionType, list, tuple, type)):
        return {}
    try:
        names = object.__getattribute__(owner, "__dict__")
    except (AttributeError, TypeError):
        return {}
    return names if type(names) is dict else {}


def _replaced(found: Found) -> set[Place]:
    """Lines that put a tensor together that outlives the step, or made one which is like one of before the step that
    has gone, and longer in one dimension."""
    births, refs = _storages(found), found.look.refs
    gone = {
        (birth.dtype, tuple(birth.shape))
        for number, birth in enumerate(births)
        if birth.phase == HELD and found.ranks[number] not in _OWNED and refs[number]() is None
    }
    lines = set()
    for number, birth in enumerate(births):
        if birth.phase == HELD or birth.line < 0 or found.ranks[number] in _OWNED or refs[number]() is None:
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


def _told(place: Place) -> dict[str, Any]:
    return {"file": place[0], "line": place[1], "function": place[2], "text": text_of(place)}


def _short(place: Place) -> str:
    return f"{Path(place[0]).name}:{place[1]}"
