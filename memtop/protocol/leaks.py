"""The `data` of `leak`, `leak_over` and `syncs` events as a probe sends them."""

from __future__ import annotations

from typing import Any

import msgspec

from memtop.protocol.oom import Where


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """See `model.leaks.Leak`."""

    kind: str
    place: Where | None
    """`None` where the line could not be found."""
    module: str | None
    category: str | None
    device: str | None
    tensors_per_step: float
    bytes_per_step: int
    bytes_each: int | None = None
    """Of what is added only now and then: how much each time."""
    since: int
    holder: str | None
    more: list[Where]
    """Other lines whose tensors hang on the same cause."""


class Over(msgspec.Struct, frozen=True, kw_only=True):
    """A leak that has ended."""

    place: Where | None
    holder: str | None = None
    part: bool
    """It was one of another leak's `more`."""


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """See `model.leaks.Wait`."""

    file: str | None
    line: int | None
    text: str | None
    operator: str
    device: str
    phase: str
    count: int
    seconds: float


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """See `model.leaks.Waits`."""

    step: int
    count: int
    seconds: float
    rows: list[Wait]


def leak(data: dict[str, Any]) -> Leak:
    """Raises `msgspec.ValidationError` where `data` is none."""
    return msgspec.convert(data, Leak)


def over(data: dict[str, Any]) -> Over:
    """Raises `msgspec.ValidationError` where `data` is none."""
    return msgspec.convert(data, Over)


def waits(data: dict[str, Any]) -> Waits:
    """Raises `msgspec.ValidationError` where `data` is none."""
    return msgspec.convert(data, Waits)
