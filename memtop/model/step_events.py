"""The storages of one training step in the order in which they came and went, as the probe writes them on request.

A storage has a number, its index in `births`. `changes` say from one instant to the next which storage has how many
bytes from then on; 0 is its death. Written by `probe/events.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec


class EventsError(ValueError):
    """A file that does not hold a step's storages: one line for a person."""


class Birth(NamedTuple):
    """One storage. Names are indices into the lists of `StepEvents`."""

    category: int
    phase: int
    operator: int
    """What made it (`aten.addmm`); the empty name for what was there before the step."""
    module: int
    """Dotted path of the module that it belongs to; the empty name for none, and for the root."""
    dtype: int
    bytes: int
    """Its size when it was first seen."""
    shape: list[int]
    """Of the tensor by which it was first seen: a view may have another."""


class StepEvents(msgspec.Struct, frozen=True, kw_only=True):
    """One device through one step. Sizes are bytes."""

    v: Literal[1]
    kind: Literal["storages"] = "storages"
    device: str
    step: int
    """The step's number, from 1."""
    rank: int
    pid: int
    played: bool
    """Whether the allocator's own record was played: scratch inside operators is among the storages then."""
    categories: list[str]
    phases: list[str]
    operators: list[str]
    modules: list[str]
    dtypes: list[str]
    births: list[Birth]
    held: list[int]
    """What was there before the step, in the order in which it was found."""
    changes: list[tuple[int, int]]
    """Storage, and the bytes that it has from now on."""
    moments: dict[str, int]
    """How many changes had been when each moment of the step came."""

    def category(self, number: int) -> str:
        """What a storage is."""
        return self.categories[self.births[number].category]

    def phase(self, number: int) -> str:
        """The phase of the step that it was born in; `held` for those of before."""
        return self.phases[self.births[number].phase]

    def operator(self, number: int) -> str:
        """What made it, without its overload's name: `aten.addmm`."""
        return ".".join(self.operators[self.births[number].operator].split(".")[:2])

    def deaths(self) -> set[int]:
        """The storages that die in the step."""
        return {number for number, size in self.changes if size == 0}

    def totals(self) -> Iterator[dict[str, int]]:
        """Bytes by category at the start and after each change. The same dict each time: copy what is kept."""
        now = dict.fromkeys(self.categories, 0)
        sizes: dict[int, int] = {}
        for number in self.held:
            sizes[number] = self.births[number].bytes
            now[self.category(number)] += sizes[number]
        yield now
        for number, size in self.changes:
            now[self.category(number)] += size - sizes.get(number, 0)
            sizes[number] = size
            yield now

    @property
    def peak(self) -> int:
        """The most that was held at any instant, as it was asked for."""
        return max(sum(now.values()) for now in self.totals())


def decode(text: bytes) -> StepEvents:
    """What a file holds. Raises `EventsError`."""
    try:
        events = msgspec.json.decode(text, type=StepEvents)
    except (msgspec.DecodeError, ValueError) as error:
        raise EventsError(f"not the storages of a step: {error}") from None
    _check(events)
    return events


def _check(events: StepEvents) -> None:
    """That every number names something: what reads it afterwards may rely on it."""
    count = len(events.births)
    lists = (events.categories, events.phases, events.operators, events.modules, events.dtypes)
    for birth in events.births:
        indices = (birth.category, birth.phase, birth.operator, birth.module, birth.dtype)
        if birth.bytes < 0 or any(not 0 <= one < len(names) for one, names in zip(indices, lists, strict=True)):
            raise EventsError("not the storages of a step: a storage names what is not there")
    if any(not 0 <= number < count for number in events.held):
        raise EventsError("not the storages of a step: it holds one that is not there")
    if any(not 0 <= number < count or size < 0 for number, size in events.changes):
        raise EventsError("not the storages of a step: it changes one that is not there")
    if any(not 0 <= index <= len(events.changes) for index in events.moments.values()):
        raise EventsError("not the storages of a step: a moment lies outside of it")
