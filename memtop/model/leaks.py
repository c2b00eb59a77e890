"""Leaks and waits as the probe found them, and their words. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from memtop.model.units import number, size

KINDS = {
    "graph": "kept with their graph",
    "chain": "kept by a graph that reaches back through earlier steps",
    "kept": "kept from step to step",
    "grows": "a tensor replaced by a larger one each time",
}
_REMEDIES = {
    "graph": "keep `loss.item()`, or `.detach()` what is kept",
    "chain": "`.detach()` what is carried from step to step (the hidden state) before the next one uses it",
    "kept": "keep numbers (`.item()`), move them to the CPU, or bound the list",
    "grows": "bound it, or write into one tensor made once",
}


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """One line that leaves more behind with every step."""

    t: float
    kind: str
    """A key of `KINDS`."""
    file: str
    line: int
    text: str | None
    module: str | None
    category: str | None
    device: str | None
    tensors_per_step: float
    bytes_per_step: int
    since: int
    """The first step in which it was seen."""
    holder: str | None
    """What of Python's holds the tensors: `list losses`."""
    over: bool = False
    """It has levelled off, or was let go."""

    @property
    def place(self) -> str:
        """`train.py:12`."""
        return f"{self.file.rpartition('/')[2]}:{self.line}"


def headline(leak: Leak) -> str:
    """What leaks, in one line."""
    held = "" if leak.holder is None else f", in {leak.holder}"
    if leak.over:
        return f"no leak any more: what {leak.place} left behind is gone, or has levelled off"
    few = "1 tensor, " if leak.tensors_per_step == 1 else f"{number(leak.tensors_per_step)} tensors, "
    count = few if leak.tensors_per_step >= 1 else ""
    return f"leak at {leak.place}: {count}{size(leak.bytes_per_step)} more a step, {KINDS[leak.kind]}{held}"


def remedy(leak: Leak) -> str | None:
    """What to do about it."""
    return None if leak.over else _REMEDIES[leak.kind]


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
        "since": leak.since,
        "holder": leak.holder,
        "remedy": remedy(leak),
    }
