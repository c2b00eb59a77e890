"""Which objects of a process are optimizers, whoever wrote them; and what ends a step where none of them shows it."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

_SEARCH_AT = (3, 30, 300)
"""Backwards without a step after which optimizers are looked for: the first are slow, gradients may accumulate, and a
GradScaler skips some."""


class Found(NamedTuple):
    """Optimizers, by weak reference."""

    hooked: list[weakref.ref[Any]]
    """Their steps are told by torch's own hooks."""
    strange: list[weakref.ref[Any]]
    """They are optimizers by what they have and can do alone."""

    @property
    def kinds(self) -> set[type]:
        """Classes of the strange ones that live."""
        return {type(one) for known in self.strange if (one := known()) is not None}

    @property
    def any_hooked(self) -> bool:
        """Whether one of those that torch's hooks tell of lives."""
        return any(known() is not None for known in self.hooked)


def found(objects: list[Any]) -> Found:
    """The optimizers among `objects`. Asks `type(o)` and its own dictionary alone: no code of anybody's runs."""
    can: dict[type, bool] = {}
    hooked: list[weakref.ref[Any]] = []
    strange: list[weakref.ref[Any]] = []
    for one in objects:
        kind = type(one)
        able = can.get(kind)
        if able is None:
            able = can[kind] = _has(kind, "step") and _has(kind, "zero_grad")
        if able and _is_optimizer(one):
            (hooked if getattr(kind.step, "hooked", False) else strange).append(weakref.ref(one))
    return Found(hooked, strange)


def _has(kind: type, name: str) -> bool:
    return any(name in vars(base) for base in type.mro(kind)) if kind is not type else False


def _is_optimizer(one: Any) -> bool:
    """Whether it has groups of parameters and a state, and can be referred to weakly."""
    try:
        own = object.__getattribute__(one, "__dict__")
        groups, state = own.get("param_groups"), own.get("state")
        weakref.ref(one)
    except (AttributeError, TypeError):
        return False
    if not isinstance(groups, list) or not isinstance(state, Mapping):
        return False
    return bool(groups) and all(isinstance(group, dict) and "params" in group for group in groups)


class Waiting:
    """Backwards of a program in which no optimizer has stepped yet."""

    def __init__(self) -> None:
        self._backwards = 0

    @property
    def begun(self) -> bool:
        """Whether there was a backward: the program trains."""
        return self._backwards > 0

    def backward(self) -> bool:
        """One more has begun. Whether it is time to look for optimizers that step unseen."""
        self._backwards += 1
        return self._backwards in _SEARCH_AT
