"""What a scenario claims, in figures: a manifest's `[[claims]]`, each to be held against the log of a short run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from memtop.model.categories import TENSORS
from memtop.model.records import Moment, Setting

STEP: Final = 2
"""The step at which a claim holds: the first one with optimizer state, and watched deep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`category` is `factor` times `of`: "Adam keeps 2 × the parameters"."""

    text: str
    """The same in words, one line for a learner."""
    category: str
    factor: float
    of: str
    """The category it is measured by; the same one where two runs are compared."""
    moment: Moment = "forward_end"
    """When both are read."""
    tolerance: float = 0
    """By how much of what is expected the bytes may differ; 0: to the byte."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Of the run in which the claim holds, beside the defaults."""
    than: Mapping[str, Setting] | None = None
    """The settings of a second run, in which `of` is read; `None`: the same run."""
    step: str | None = None
    """The step of the lesson that it checks, by name; `None`: none, only a test holds it."""

    def holds(self, bytes_: int, of: int) -> bool:
        """Whether so many bytes are what is claimed of `of`."""
        expected = self.factor * of
        return abs(bytes_ - expected) <= self.tolerance * expected


def claim(table: Mapping[str, Any]) -> Claim:
    """A `[[claims]]` table. Raises `TypeError` for missing or unknown keys, `ValueError` for words of no meaning."""
    made = Claim(**{"of": table.get("category"), **table})
    for category in (made.category, made.of):
        if category not in TENSORS:
            raise ValueError(f"{category!r} is no category of tensors")
    if made.moment not in get_args(Moment):
        raise ValueError(f"{made.moment!r} is no moment of a step")
    if made.factor < 0 or made.tolerance < 0:
        raise ValueError("factor and tolerance are numbers from 0 up")
    return made
