"""Leaks and waits as the probe found them, and their words. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from memtop.model.i18n import N_
from memtop.model.units import number, size

KINDS = {
    "graph": N_("kept with their graph"),
    "chain": N_("kept by a graph that reaches back through earlier steps"),
    "kept": N_("kept from step to step"),
    "grows": N_("a tensor replaced by a larger one each time"),
}
_REMEDIES = {
    "graph": N_("keep `loss.item()`, or `.detach()` what is kept"),
    "chain": N_("`.detach()` what is carried from step to step (the hidden state) before the next one uses it"),
    "kept": N_("keep numbers (`.item()`), move them to the CPU, or bound the list"),
    "grows": N_("bound it, or write into one tensor made once"),
}
_OVER = N_("no leak any more: what {place} left behind is gone, or has levelled off")
_LEAK = N_("leak at {place}: {what}, {kind}")
_HELD = N_("leak at {place}: {what}, {kind}, in {holder}")
_ONE = N_("1 tensor, {size} more a step")
_MANY = N_("{count} tensors, {size} more a step")
_MORE = N_("{size} more a step")
_RARE = N_("{size} more about every {steps} steps")
_NOWHERE = N_("a line that is not known")
_RARELY = 0.9
"""Tensors a step below which they come only now and then."""


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """One line that leaves more behind with every step."""

    t: float
    kind: str
    """A key of `KINDS`."""
    file: str | None
    """`None` where the line could not be found."""
    line: int | None
    text: str | None
    module: str | None
    category: str | None
    device: str | None
    tensors_per_step: float
    bytes_per_step: int
    bytes_each: int | None = None
    """Of what is added only now and then: how much each time."""
    since: int
    """The first step in which it was seen."""
    holder: str | None
    """What of Python's holds the tensors: `list losses`."""
    over: bool = False
    """It has levelled off, or was let go."""

    @property
    def place(self) -> str | None:
        """`train.py:12`; `None` where the line could not be found."""
        return None if self.file is None else f"{self.file.rpartition('/')[2]}:{self.line}"


def headline(leak: Leak, say: Callable[[str], str] = str) -> str:
    """What leaks, in one line. `say` translates, for a screen."""
    place = leak.place or say(_NOWHERE)
    if leak.over:
        return say(_OVER).format(place=place)
    kind, what = say(KINDS[leak.kind]), _amount(leak, say)
    if leak.holder is None:
        return say(_LEAK).format(place=place, what=what, kind=kind)
    return say(_HELD).format(place=place, what=what, kind=kind, holder=leak.holder)


def _amount(leak: Leak, say: Callable[[str], str]) -> str:
    """How much more, and how often."""
    bytes_, tensors = size(leak.bytes_per_step), leak.tensors_per_step
    if leak.bytes_each is not None and 0 < tensors < _RARELY:
        return say(_RARE).format(size=size(leak.bytes_each), steps=number(1 / tensors))
    if tensors == 1:
        return say(_ONE).format(size=bytes_)
    return say(_MANY if tensors > 1 else _MORE).format(count=number(tensors), size=bytes_)


def remedy(leak: Leak, say: Callable[[str], str] = str) -> str | None:
    """What to do about it. `say` translates, for a screen."""
    return None if leak.over else say(_REMEDIES[leak.kind])


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a deep look's step that read values off a device."""

    file: str | None
    line: int | None
    text: str | None
    operator: str
    device: str
    phase: str
    count: int
    seconds: float
    """That the CPU stood still; 0 where the tensors are the CPU's own."""


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, most first."""

    step: int
    count: int
    seconds: float
    rows: tuple[Wait, ...]


def as_data(leak: Leak) -> dict[str, Any]:
    """The `data` of a log's event."""
    return {
        "kind": leak.kind,
        "file": leak.file,
        "line": leak.line,
        "text": leak.text,
        "module": leak.module,
        "category": leak.category,
        "device": leak.device,
        "tensors_per_step": leak.tensors_per_step,
        "bytes_per_step": leak.bytes_per_step,
        "bytes_each": leak.bytes_each,
        "since": leak.since,
        "holder": leak.holder,
        "remedy": remedy(leak),
    }
