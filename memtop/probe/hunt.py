"""Where something is made that is added only in some steps: it is found when it comes, and one of the steps in which it
will come next is watched deep.

A census has said what sort of tensor it is and how often it comes. The interpreter's young objects, some thousands, are
looked through after each step for as long as it takes to see two of them that stay; where they come as often as the
loader's passes end, the step after the next end is the one. Where none of this succeeds, the line is not known.
"""

from __future__ import annotations

import gc
from typing import Any

import torch

from .census import Census, Sort, sort_of
from .found import Found
from .leak_holders import Holder
from .leak_looks import Kept, Looked
from .leak_rules import SETTLED, Passes, Rate
from .places import Place
from .storages import Held, storages

_TRIES = 3
_LONGEST = 500
"""Steps from one to the next that are looked through for it."""
_STAYS = 3
"""Steps for which a tensor must stay to be taken for one that will never go."""
_CROWD = 30_000
"""Young objects that are too many to be looked through: a program that collects by itself, or never."""
_YOUNG = (0, 1)
_KINDS = frozenset({torch.Tensor, torch.nn.Parameter})


class Hunt:
    """For the line that makes one sort of tensor."""

    def __init__(self, sort: Sort, rate: Rate, holder: Holder, step: int) -> None:
        self.sort, self.rate, self.holder = sort, rate, holder
        self.found: tuple[Place, Kept] | None = None
        """The line, and one of its tensors that stayed."""
        self.over = False
        """The line is found, or is given up."""
        self.target: int | None = None
        """The step to be watched deep."""
        self._every = 1 / rate.tensors
        self._began = step
        self._fresh: list[tuple[int, Held]] = []
        self._stayed: list[int] = []
        self._seen: set[int] = set()
        self._looked: Looked | None = None
        self._tries = 0

    def step_ended(self, step: int, census: Census, passes: Passes) -> None:
        """After `step`: whether one has come, and when the next will."""
        if self._looked is not None:
            if step > self._looked.step + SETTLED:
                self._settle(self._looked, step)
            return
        if self.target is not None:
            if step > self.target:  # The look was not granted.
                self._failed(step)
            return
        self.target = self._foreseen(step, passes)
        if self.target is None:
            self._poll(step, census)

    def looked(self, found: Found) -> None:
        """A deep look has been taken."""
        if self.target == found.step:
            self._looked = Looked(found)

    def _foreseen(self, step: int, passes: Passes) -> int | None:
        if self._every < 1.5:
            return step + 1
        if passes.length and abs(self._every - passes.length) < 0.2 * passes.length and passes.ends is not None:
            return passes.ends + 1 if passes.ends >= step else None
        if len(self._stayed) < 2:
            return None
        newest, apart = self._stayed[-1], self._stayed[-1] - self._stayed[-2]
        return newest + apart * ((step - newest) // apart + 1)

    def _poll(self, step: int, census: Census) -> None:
        if step > self._began + 4 * min(self._every, _LONGEST) + 20:
            self.over = True
        elif gc.get_count()[0] < _CROWD:
            self._look_through(step, census)

    def _look_through(self, step: int, census: Census) -> None:
        with torch._C.DisableTorchFunction():
            for generation in _YOUNG:
                for one in [one for one in gc.get_objects(generation=generation) if type(one) in _KINDS]:
                    if sort_of(one) == self.sort:
                        self._meet(step, one, census)
        stay = [(at, one) for at, one in self._fresh if step >= at + _STAYS and one.alive]
        self._stayed += sorted({at for at, _ in stay if not self._stayed or at > self._stayed[-1]})
        self._fresh = [(at, one) for at, one in self._fresh if step < at + _STAYS and one.alive]
        self._seen |= {one.key for _, one in stay}

    def _meet(self, step: int, tensor: Any, census: Census) -> None:
        known = {one.key for _, one in self._fresh}
        for storage in storages(tensor):
            key = storage._cdata
            if key not in known and key not in self._seen and not census.knows(key):
                self._fresh.append((step, Held(storage)))

    def _settle(self, looked: Looked, step: int) -> None:
        looked.settle()
        alike = [
            (place, one)
            for place, held in looked.kept.items()
            for one in held
            if (one.dtype, one.device, one.dims) == self.sort[:3]
        ]
        self._looked = None
        if alike:
            self.found, self.over = max(alike, key=lambda pair: pair[1].bytes), True
        else:
            self._failed(step)

    def _failed(self, step: int) -> None:
        self._tries += 1
        self.target, self._began, self._stayed, self._fresh = None, step, [], []
        self.over = self._tries >= _TRIES
