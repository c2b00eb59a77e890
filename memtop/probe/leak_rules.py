"""Which source lines leave more tensors behind with every step. Pure: no torch, no clock.

What survives its own step is nothing special: the loss that a variable still holds, a cache, a copy of the weights. A
leak leaves something behind in *every* step that was looked at, and none of it ever goes. Looks lie further and
further apart, so that what levels off (warm-up, a cache, a bounded list) has time to do so; lists that a program
empties every hundred steps must not be told either, hence the least number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

LOOKS = 4
"""Looks in which a line must have left something behind."""
SETTLED = 2
"""Steps after which what a step left to the next one (its loss, its outputs) is gone."""
FACTOR = 3
"""The next look is taken when this many times the steps have passed."""
_STEPS = 110
"""Steps before which nothing is told, unless they are slow."""
_SLOW_STEPS, _SLOW_SECONDS = 56, 120.0
"""Where steps are slow: fewer of them, after this time."""
_ALIVE = 0.9
"""Of what was left behind: the share that must still be there."""
_SHARE = 0.25
"""Of memory: what may be gathered until a pass ends."""
_SLACK = 0.5
"""Slower than this share of the whole pace: it is levelling off."""
_STEADY = 4.0
"""How much faster or slower than on the whole a tensor may have grown at last, to be growing still."""


class Left(NamedTuple):
    """What one line left behind in one look's step."""

    step: int
    made: int
    """Tensors alive `SETTLED` steps later."""
    bytes: int
    alive: int
    """Of those, alive now."""
    alive_bytes: int


class Size(NamedTuple):
    """The largest tensor of one line that was alive when a look's step ended."""

    step: int
    bytes: int
    inputs: int
    """Bytes of that step's batch."""


class Rate(NamedTuple):
    """What a line leaves behind."""

    tensors: float
    """A step."""
    bytes: float
    """A step."""


class Passes:
    """When passes over the data end, as far as a loader says so."""

    def __init__(self) -> None:
        self.ends: int | None = None
        """The last step of the running pass; `None` where nothing says so."""
        self.length = 0
        """Steps of a whole pass; 0 where nothing says so."""
        self._ended = 0

    def saw(self, step: int, left: int | None, whole: int | None) -> None:
        """After `step`, so many more steps are `left` of the running pass, a `whole` one; `None`: nothing says so."""
        if self.ends is not None and step > self.ends:
            self._ended, self.ends = self.ends, None
        if left is not None and left > 0:
            self.ends, self.length = step + left, whole or 0

    def may_empty(self, since: int, step: int, rate: float, memory: int) -> bool:
        """Whether what has been left behind since step `since`, `rate` bytes a step, may only be waiting for a pass to
        end: none has ended meanwhile, and what there will be by then is not much of `memory` bytes."""
        if self.ends is None or since <= self._ended < step - SETTLED:
            return False
        return rate * (self.ends - since) < memory * _SHARE


def long_enough(step: int, seconds: float) -> bool:
    """Whether what was left behind has had time to go. `seconds` since the first look."""
    return step >= _STEPS or (step >= _SLOW_STEPS and seconds >= _SLOW_SECONDS)


def suspicious(seen: Sequence[Left]) -> bool:
    """Whether a line is worth another look: its newest step left something behind, and what older ones left is there.

    `seen`: one entry for each look that has settled, oldest first, those without anything left too.
    """
    return bool(seen) and seen[-1].made > 0 and all(one.alive >= _ALIVE * one.made for one in seen)


def kept(seen: Sequence[Left]) -> Rate | None:
    """What a line leaves behind a step; `None` where it does not leak (or not enough looks say so)."""
    last = seen[-LOOKS:]
    if len(last) < LOOKS or not suspicious(seen) or any(one.made == 0 for one in last):
        return None
    return Rate(_middle([one.made for one in last]), _middle([one.bytes for one in last]))


def adds(seen: Sequence[Left], spans: Sequence[int]) -> Rate | None:
    """What is left behind a step, of censuses; `None` where it has not gone on long enough, or slackens.

    `spans`: the steps that each census looks back over.
    """
    last, lately = seen[-LOOKS:], spans[-LOOKS:]
    if kept(seen) is None:
        return None
    tensors = sum(one.made for one in last) / sum(lately)
    newest = last[-1].made / lately[-1]
    # What comes every 50 steps comes once or twice in 70.
    if newest < _SLACK * tensors and last[-1].made + 1 < tensors * lately[-1]:
        return None
    return Rate(tensors, sum(one.bytes for one in last) / sum(lately))


def over(seen: Sequence[Left]) -> bool:
    """Whether a leak that was told has ended: the newest look found nothing more, or half of it has gone."""
    count, alive = sum(one.made for one in seen), sum(one.alive for one in seen)
    return seen[-1].made == 0 or alive < count / 2


def may_grow(seen: Sequence[Size]) -> bool:
    """Whether a tensor that is replaced by a larger one is worth another look."""
    return len(seen) < 2 or seen[-1].bytes > seen[-2].bytes


def grows(seen: Sequence[Size]) -> Rate | None:
    """Bytes a step by which a line's tensor grows, each replacing the one before; `None` where longer inputs can be the
    reason, or where it has stopped growing."""
    last = seen[-LOOKS:]
    pairs = list(pairwise(last))
    if len(last) < LOOKS or any(new.bytes <= old.bytes for old, new in pairs):
        return None
    if any(new.bytes * max(1, old.inputs) <= old.bytes * max(1, new.inputs) for old, new in pairs):
        return None
    if all(new.inputs > old.inputs for old, new in pairs):
        return None
    rates = [(new.bytes - old.bytes) / (new.step - old.step) for old, new in pairs]
    whole = (last[-1].bytes - last[0].bytes) / (last[-1].step - last[0].step)
    return Rate(0.0, whole) if whole / _STEADY <= rates[-1] <= whole * _STEADY else None


def _middle(values: Sequence[int]) -> float:
    ordered, half = sorted(values), len(values) // 2
    return float(ordered[half]) if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
