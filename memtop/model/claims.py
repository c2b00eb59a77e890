"""What a scenario claims, in figures (`[[claims]]`), and the steps of its lesson that come to them (`[[steps]]`)."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, Final, get_args

import msgspec

from memtop.model.categories import TENSORS
from memtop.model.expressions import Value
from memtop.model.records import Moment, Setting

STEP: Final = 2
"""The step at which a claim holds: the first one with optimizer state, and watched deep."""


WAS: Final = "was_"
"""Goes before a setting's name where a condition speaks of another run."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
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
    settings: Mapping[str, Setting] = msgspec.field(default_factory=dict)
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


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a lesson: a `[[steps]]` table of a manifest."""

    name: str
    do: str
    """What to do, and which key does it."""
    when: str
    """Whether it is done: a condition on the settings, and with `was_` before its name on those of another run.

    Beside them there are `looks`, the number of deep looks from the second step on, and `failed`.
    """
    why: str
    """Why the figures come out as they do."""

    @property
    def names(self) -> frozenset[str]:
        """The settings that its condition speaks of."""
        found = {node.id for node in ast.walk(ast.parse(self.when, mode="eval")) if isinstance(node, ast.Name)}
        return frozenset(name.removeprefix(WAS) for name in found)

    @property
    def compares(self) -> bool:
        """Whether it takes two runs."""
        return any(
            isinstance(node, ast.Name) and node.id.startswith(WAS)
            for node in ast.walk(ast.parse(self.when, mode="eval"))
        )


def names(
    settings: Mapping[str, Setting], was: Mapping[str, Setting] | None, *, looks: int = 0, failed: bool = False
) -> dict[str, Value]:
    """What a step's condition may speak of; `was` are the settings of another run, where there is one."""
    found: dict[str, Value] = {**settings, "looks": looks, "failed": failed}
    return found | {f"{WAS}{name}": value for name, value in (was or {}).items()}
