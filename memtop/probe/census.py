"""A census of the tensors that live, now and then: what deep looks of single steps miss, because it is added only in
some of them.

Each census follows by weak reference what it sees for the first time: a cohort. Where four cohorts after one another
have left tensors of one sort behind for good, at a pace that does not slacken, something leaks. Censuses lie further
and further apart; the governor says whether one may be taken, and books it. On CUDA the allocator's count, which is
free, says whether anything has grown at all. Tensors that only C++ knows of (those that a graph saved) are not seen;
what holds their graph is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from . import allocator, leak_holders
from . import leak_rules as rules
from .leak_rules import Left, Rate
from .storages import Held, device_name, storages

_FIRST = 16
"""Steps before the first census: warm-up."""
_SPAN = 8
"""Of the steps before the first census: the share after which the second one is taken; the next spans are longer."""
_LONGER, _IDLE = 1.5, 3.0
"""How much longer each span is than the one before, as far as half of the steps so far; the same where the devices hold
no more than before."""
_MOST = 20_000
"""Tensors of one cohort that are followed."""
_COHORTS = 12
"""Cohorts that are remembered; the oldest are put together with what was there before."""


class Sort(NamedTuple):
    """What tensors of one census are told apart by. Not by their lengths, which may differ from step to step."""

    dtype: Any
    device: str
    dims: int
    node: str
    """The kind of their `grad_fn`; empty for none."""


class _Cohort:
    """What one census saw for the first time."""

    def __init__(self, step: int, span: int) -> None:
        self.step = step
        self.span = span
        """Steps since the census before."""
        self.held: dict[Sort, list[Held]] = {}
        self.first: dict[Sort, tuple[int, int]] | None = None
        """Count and bytes of those that were there at the next census; `None` before it."""

    def settle(self) -> None:
        """The next census is taken: what lives is no mere intermediate."""
        self.prune()
        if self.first is None:
            self.first = {sort: (len(held), sum(one.bytes for one in held)) for sort, held in self.held.items()}

    def prune(self) -> None:
        """Forget what is gone."""
        alive = {sort: [one for one in held if one.alive] for sort, held in self.held.items()}
        self.held = {sort: held for sort, held in alive.items() if held}

    def left(self, sort: Sort) -> Left:
        held = self.held.get(sort, ())
        return Left(self.step, *(self.first or {}).get(sort, (0, 0)), len(held), sum(one.bytes for one in held))


class Census:
    """Cohorts, and which sorts of tensors grow for good."""

    def __init__(self) -> None:
        self.next_step = _FIRST
        """No census before this step has ended."""
        self.full = False
        """There are too many tensors to be followed."""
        self._cohorts: list[_Cohort] = []
        self._known: set[int] = set()
        """Keys of all that is followed."""
        self._allocated = 0

    def take(self, step: int) -> None:
        """Look at all tensors, after `step`."""
        for cohort in self._cohorts:
            cohort.settle()
        self._known = {one.key for cohort in self._cohorts for held in cohort.held.values() for one in held}
        made = _Cohort(step, step - self._cohorts[-1].step if self._cohorts else step)
        with torch._C.DisableTorchFunction():
            for one in leak_holders.alive():
                self._count(one, made)
        self._cohorts.append(made)
        if len(self._cohorts) > _COHORTS:
            self._forget_oldest()
        longer = made.span * (_LONGER if self._has_grown() else _IDLE)
        self.next_step = step + int(min(longer, step / 2) if len(self._cohorts) > 1 else max(_FIRST, step / _SPAN))

    def growing(self) -> dict[Sort, Rate]:
        """The sorts that leak, and how fast."""
        sorts = self._cohorts[-2].held if len(self._cohorts) > 2 else ()
        spans = [cohort.span for cohort in self._cohorts[1:-1]]
        return {sort: rate for sort in sorts if (rate := rules.adds(self.lefts(sort), spans)) is not None}

    def lefts(self, sort: Sort) -> list[Left]:
        """What each cohort has left behind. The first census saw what had been there before, the newest one what may
        be gone in a moment: neither tells anything."""
        return [cohort.left(sort) for cohort in self._cohorts[1:-1]]

    def samples(self, sort: Sort) -> list[list[int]]:
        """Keys of tensors that live, by cohort."""
        return [[one.key for one in cohort.held.get(sort, ()) if one.alive] for cohort in self._cohorts[1:-1]]

    def knows(self, key: int) -> bool:
        """Whether a storage was there at the newest census."""
        return key in self._known

    def _count(self, tensor: Any, made: _Cohort) -> None:
        sort = sort_of(tensor)
        for storage in storages(tensor):
            if storage._cdata in self._known or self.full:
                continue
            self._known.add(storage._cdata)
            made.held.setdefault(sort, []).append(Held(storage))
            self.full = len(self._known) > _MOST * _COHORTS or len(made.held[sort]) > _MOST

    def _forget_oldest(self) -> None:
        oldest = self._cohorts.pop(1)
        for sort, held in oldest.held.items():
            self._cohorts[0].held.setdefault(sort, []).extend(held)

    def _has_grown(self) -> bool:
        """Whether a CUDA device holds more than at the census before; without one nobody counts, and it may have."""
        if not torch.cuda.is_initialized():
            return True
        devices = range(torch.cuda.device_count())
        before, self._allocated = self._allocated, sum(allocator.mark(device).allocated for device in devices)
        return self._allocated > before


def sort_of(tensor: Any) -> Sort:
    """The sort of a tensor."""
    return Sort(tensor.dtype, device_name(tensor.device), tensor.dim(), leak_holders.node_of(tensor))
