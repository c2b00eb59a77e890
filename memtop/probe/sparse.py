"""Leaks that are added only now and then: a census finds that something grows, a hunt finds where it is made."""

from __future__ import annotations

from typing import Any

from . import allocator, leak_holders
from . import leak_rules as rules
from .attribution import CATEGORIES
from .census import Census, Sort
from .found import Found
from .hunt import Hunt
from .leak_holders import Holder
from .leak_looks import told
from .leak_rules import Passes, Rate
from .leaks import Leaks, Told, short
from .places import Place

_UNEXPLAINED = 0.25
"""Of what a census finds: the share that the leaks of each step must leave to be told of it, too."""
_EACH_STEP = 0.5
"""Tensors a step from which on a leak is one of each step: deep looks find those as long as they are taken."""


class Sparse:
    """Censuses and hunts. `leaks` knows what each step leaves behind, `passes` when a loader's data end."""

    def __init__(self, leaks: Leaks, passes: Passes) -> None:
        self._leaks = leaks
        self._passes = passes
        self._census = Census()
        self._hunt: Hunt | None = None
        self._holders: dict[Sort, Holder] = {}
        self._told: dict[Sort, tuple[Place | None, str | None]] = {}
        """By sort: the line, and the holder."""
        self._parts: dict[Sort, list[Sort]] = {}
        """Sorts that the graph of another one's tensors holds."""

    def awaits(self, step: int, ahead: int) -> bool:
        """Whether each of the next steps' ends must be told, `ahead` steps being as far as one can sleep."""
        if self._hunt is None:
            return False
        return self._hunt.target is None or self._hunt.target - step <= ahead

    def due(self, step: int) -> bool:
        """Whether a census is worth its price after `step`."""
        return not self._census.full and step >= self._census.next_step

    def wants(self, step: int) -> bool:
        """Whether the step after `step` shall be watched deep."""
        return self._hunt is not None and self._hunt.target == step + 1

    def looked(self, found: Found) -> None:
        """A deep look has been taken."""
        if self._hunt is not None:
            self._hunt.looked(found)

    def take(self, step: int) -> list[Told]:
        """A census after `step`; leaks told that are over."""
        self._census.take(step)
        ended = [self._over(sort) for sort in list(self._told) if self._has_ended(sort)]
        if self._hunt is None:
            self._hunt = self._suspect(step)
        return ended

    def step_ended(self, step: int) -> list[Told]:
        """After `step`: the leak that a hunt has come to its end with."""
        hunt = self._hunt
        if hunt is None:
            return []
        hunt.step_ended(step, self._census, self._passes)
        if not hunt.over:
            return []
        self._hunt = None
        return [self._leak(hunt, step)]

    def _suspect(self, step: int) -> Hunt | None:
        """Of what grows, what takes most memory and was not told, can't level off and has no reason to go. What only a
        graph holds is part of what holds that graph."""
        growing = self._census.growing()
        fresh = {sort: rate for sort, rate in growing.items() if sort not in self._told and not self._is_part(sort)}
        fresh = {sort: rate for sort, rate in fresh.items() if not self._is_explained(sort, rate)}
        new = {sort: self._census.samples(sort) for sort in fresh if sort not in self._holders}
        self._holders |= leak_holders.holders(new) if new else {}
        heads = [sort for sort in fresh if self._holders[sort].held] or list(fresh)
        parts = [sort for sort in fresh if sort not in heads]
        for sort in sorted(heads, key=lambda sort: -fresh[sort].bytes):
            holder, rate = self._holders[sort], fresh[sort]
            if holder.bounded or not (holder.graph or not self._gathers(sort, rate, step)):
                continue
            if holder.graph:
                self._parts[sort] = parts
                rate = Rate(rate.tensors, rate.bytes + sum(fresh[part].bytes for part in parts))
            return Hunt(sort, rate, holder, step)
        return None

    def _is_part(self, sort: Sort) -> bool:
        return any(sort in parts for parts in self._parts.values())

    def _is_explained(self, sort: Sort, rate: Rate) -> bool:
        if rate.tensors >= _EACH_STEP and self._leaks.follows:
            return True
        known = self._leaks.explains(sort.dtype, sort.device, sort.dims)
        return rate.tensors - known < _UNEXPLAINED * rate.tensors

    def _gathers(self, sort: Sort, rate: Rate, step: int) -> bool:
        since = self._census.lefts(sort)[-rules.LOOKS].step
        return self._passes.may_empty(since, step, rate.bytes, allocator.memory(sort.device))

    def _has_ended(self, sort: Sort) -> bool:
        seen = self._census.lefts(sort)
        made, alive = sum(one.made for one in seen), sum(one.alive for one in seen)
        return alive < made / 2 or not any(one.made for one in seen[-2:])

    def _over(self, sort: Sort) -> Told:
        place, holder = self._told.pop(sort)
        self._holders.pop(sort, None)
        self._parts.pop(sort, None)
        where = "one of the lists" if place is None else short(place)
        facts = {"place": None if place is None else told(place), "holder": holder, "part": False}
        return "leak_over", f"what {where} left behind is gone, or has levelled off", facts

    def _leak(self, hunt: Hunt, step: int) -> Told:
        place, sample = (None, None) if hunt.found is None else hunt.found
        rate = hunt.rate
        self._told[hunt.sort] = (place, hunt.holder.name)
        facts: dict[str, Any] = {
            "kind": "graph" if hunt.holder.graph else "kept",
            "place": None if place is None else told(place),
            "category": None if sample is None else CATEGORIES[sample.rank],
            "module": None if sample is None else sample.module,
            "device": hunt.sort.device,
            "tensors_per_step": rate.tensors,
            "bytes_per_step": max(1, round(rate.bytes)),
            "bytes_each": round(rate.bytes / rate.tensors),
            "holder": hunt.holder.name,
            "more": [],
            "step": step,
            "since": self._census.lefts(hunt.sort)[0].step,
        }
        where = "a line that is not known" if place is None else short(place)
        return "leak", f"{facts['bytes_per_step']:,} bytes more with every step, now and then, made at {where}", facts
