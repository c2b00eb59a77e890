"""Leaks: what deep looks leave behind, followed by weak references until it goes or never does.

Nothing is kept alive. Where a line is suspicious, further looks are asked for, each at three times the steps of the one
before, eight at most; the rules are in `leak_rules.py`. What is certain is classified by one search of the process's
objects: whether Python or autograd alone holds the tensors, and under what name. What a program gathers until a pass
over its data ends is no leak: where a loader says when that is, it is waited for, unless memory would not last.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import allocator, leak_holders
from . import leak_rules as rules
from .attribution import ACTIVATIONS, CATEGORIES
from .births import HELD
from .found import Found
from .leak_holders import Holder
from .leak_looks import Kept, Looked, replaced, told
from .leak_rules import Left, Passes, Rate, Size
from .places import Place

_MOST_LOOKS = 8

Told = tuple[str, str, dict[str, Any]]
"""Name, message and data of an event."""


class Leaks:
    """Follows what deep looks left behind. `asks`: further looks may be asked for."""

    def __init__(self, asks: bool) -> None:
        self._asks = asks
        self._looks: list[Looked] = []
        self._chained: set[Place] = set()
        """Lines whose tensors a later step's graph still reached."""
        self._growing: set[Place] = set()
        """Lines that have replaced a tensor by a larger one."""
        self._told: dict[Place, str] = {}
        """Lines told and how: `leak`, `part` of another line's leak, or `grows`."""
        self._holders: dict[Place, Holder] = {}
        """What was found to hold the tensors of lines that wait for the end of a pass, or that can't leak for ever."""
        self._check_at = 0
        self._suspects = False
        self._began = time.monotonic()
        self.passes = Passes()

    @property
    def follows(self) -> bool:
        """Whether lines are suspected, and further looks will tell."""
        return self._suspects

    def looked(self, found: Found) -> None:
        """A deep look is over; called right after its step."""
        if len(self._looks) >= _MOST_LOOKS:
            return
        self._chain(found)
        self._growing |= replaced(found)
        self._looks.append(Looked(found))
        self._check_at, self._suspects = found.step + rules.SETTLED, False

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
        self._told |= dict.fromkeys(larger, "grows")
        return ended + self._certain(fresh, step) + [self._grown(p, r, step) for p, r in larger.items()]

    def explains(self, dtype: Any, device: str, dims: int) -> float:
        """Tensors a step of this kind that the leaks told so far account for."""
        rates = 0.0
        for place in (place for place, how in self._told.items() if how != "grows"):
            alike = [
                one
                for one in self._looks[-1].kept.get(place, ())
                if one.dtype == dtype and one.device == device and one.dims == dims
            ]
            rates += len(alike)
        return rates

    def _suspicious(self) -> bool:
        newest = self._looks[-1]
        harmless = {place for place, holder in self._holders.items() if holder.bounded}
        return any(rules.suspicious(self._left(place)) for place in newest.kept if place not in harmless) or any(
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
        if self._told[place] == "grows":
            return not rules.may_grow(self._sizes(place))
        return rules.over(self._left(place))

    def _over(self, place: Place) -> Told:
        part = self._told.pop(place) == "part"
        self._holders.pop(place, None)
        text = f"what {short(place)} left behind is gone, or has levelled off"
        return "leak_over", text, {"place": told(place), "part": part}

    # -- telling -----------------------------------------------------------------------------------------------------

    def _certain(self, fresh: dict[Place, Rate], step: int) -> list[Told]:
        """One event for each cause, of lines whose tensors never go."""
        if any(place not in self._holders for place in fresh):
            self._holders |= leak_holders.holders({p: self._samples(p) for p in fresh if p not in self._holders})
        first = self._looks[-rules.LOOKS].step if len(self._looks) >= rules.LOOKS else 0
        leaking = {
            place: rate
            for place, rate in fresh.items()
            if not (holder := self._holders[place]).bounded
            and (holder.graph or place in self._chained or not self._gathers(place, first, step, rate))
        }
        return self._causes(leaking, step) if leaking else []

    def _gathers(self, place: Place, since: int, step: int, rate: Rate) -> bool:
        return self.passes.may_empty(since, step, rate.bytes, allocator.memory(self._newest(place).device))

    def _causes(self, leaking: dict[Place, Rate], step: int) -> list[Told]:
        """Lines that only the graph of another line's tensors holds are part of it; so is all that hangs on one chain
        or lies in one container."""
        kinds = {place: self._kind(place) for place in leaking}
        heaviest = sorted(leaking, key=lambda place: -leaking[place].bytes)
        heads: dict[Any, Place] = {}
        parts: dict[Place, list[Place]] = {}
        for place in heaviest:
            if kinds[place] == "part":
                continue
            cause = "chain" if kinds[place] == "chain" else self._holders[place].key or place
            if cause in heads:
                parts[heads[cause]].append(place)
            else:
                heads[cause], parts[place] = place, []
        if not parts:
            kinds[heaviest[0]], parts[heaviest[0]] = "graph", []
        graphs = [place for place in parts if kinds[place] in ("graph", "chain")]
        host = (graphs or list(parts))[0]
        parts[host] += [place for place in heaviest if kinds[place] == "part"]
        for place, more in parts.items():
            if any(kinds[one] == "graph" for one in more) and kinds[place] == "kept":
                kinds[place] = "graph"
            self._told |= dict.fromkeys(more, "part") | {place: "leak"}
        return [self._leak(place, kinds[place], more, leaking, step) for place, more in parts.items()]

    def _kind(self, place: Place) -> str:
        if place in self._chained:
            return "chain"
        holder = self._holders[place]
        if not holder.held:
            return "part"
        return "graph" if holder.graph else "kept"

    def _samples(self, place: Place) -> list[list[int]]:
        """Keys of tensors that live, by look, the last made first: it is what has a name, the others its graph's."""
        return [[one.key for one in reversed(look.kept.get(place, ())) if one.alive] for look in self._looks]

    def _newest(self, place: Place) -> Kept:
        return next(one for look in reversed(self._looks) for one in look.kept.get(place, ()) if one.alive)

    def _leak(self, place: Place, kind: str, more: Sequence[Place], rates: dict[Place, Rate], step: int) -> Told:
        sample = self._newest(place)
        facts = {
            "kind": kind,
            "category": CATEGORIES[sample.rank],
            "module": sample.module,
            "device": sample.device,
            "tensors_per_step": sum(rates[one].tensors for one in (place, *more)),
            "bytes_per_step": round(sum(rates[one].bytes for one in (place, *more))),
            "holder": self._holders[place].name,
            "more": [told(one) for one in more[:20]],
        }
        return self._event(place, facts, step)

    def _grown(self, place: Place, rate: Rate, step: int) -> Told:
        facts = {"kind": "grows", "category": None, "module": None, "device": None, "tensors_per_step": 0.0}
        return self._event(place, facts | {"bytes_per_step": round(rate.bytes), "holder": None, "more": []}, step)

    def _event(self, place: Place, facts: dict[str, Any], step: int) -> Told:
        first = next(look.step for look in self._looks if place in look.sizes)
        facts |= {"place": told(place), "step": step, "since": first}
        text = f"{facts['bytes_per_step']:,} bytes more with every step, made at {short(place)}"
        return "leak", text, facts


def short(place: Place) -> str:
    """`train.py:12`."""
    return f"{Path(place[0]).name}:{place[1]}"
