"""The `data` of an `oom` event as a probe sends it: the picture at the instant when memory ran out."""

from __future__ import annotations

from typing import Any

import msgspec

from memtop.protocol.records import Allocator


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """A source line of the person's."""

    file: str
    line: int
    function: str
    text: str | None


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on the process itself."""

    name: str
    bytes: int
    used: int


class Oom(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes are bytes; what is not known is `null`."""

    device: str
    step: int
    """The step under way: steps completed, plus one."""
    asked: int | None
    place: Where | None
    module: str | None
    bytes: dict[str, int | None]
    """The tensor categories, as a search of the process's objects and of the graph behind them found them."""
    allocator: Allocator | None
    inputs: list[tuple[list[int], str]]
    """Shape and dtype of each tensor of the last batch seen."""
    inputs_now: list[tuple[list[int], str]]
    """Of the batch that failed, as far as live tensors look like one."""
    optimizers: list[str]
    limit: Limit | None
    half: bool
    """Whether activations are kept in half precision already."""
    leaves: int
    """Modules without children."""
    device_free: int | None
    """What CUDA's driver (or a share that the person has set) had left."""
    cached: int | None
    largest_free: int | None
    """The largest cached piece of the pool that this request is served from."""
    fatal: bool
    """Whether the program is known to have ended by it."""
    worker: int | None
    """Which worker of a DataLoader ran out and had its exception raised here again."""
    unwound: bool
    """Whether torch's own code had been left when this was read, and what that alone held was gone."""
    notes: list[str]


def decode(data: dict[str, Any]) -> Oom:
    """An event's `data`. Raises `msgspec.ValidationError` where it is none."""
    return msgspec.convert(data, Oom)
