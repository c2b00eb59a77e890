"""What a look writes down: storages as they were when first seen, and what befell them."""

from __future__ import annotations

from typing import Any, NamedTuple

HELD, DATA, FORWARD, BACKWARD, RECOMPUTE, OPTIMIZER = range(6)
PHASES = ("held", "data", "forward", "backward", "recompute", "optimizer")


class Birth(NamedTuple):
    """A storage, as it was when it was first seen."""

    bytes: int
    device: str
    shape: tuple[int, ...]
    dtype: Any
    operator: Any
    """The overload that made it; `None` for what no operator of this look made."""
    line: int
    """A number of `Places`, -1 for none."""
    module: int
    """`id` of the innermost module that ran, 0 for none."""
    sequence: int
    """Autograd's number of the node it belongs to: in forward the node that it made, in backward that whose gradient
    runs. -1 for none."""
    phase: int
    at: int
    """`time.monotonic_ns()`."""


FIELDS = len(Birth._fields)
PHASE, MODULE = Birth._fields.index("phase"), Birth._fields.index("module")


class Moment(NamedTuple):
    """A point of the step, among the events."""

    name: str
    at: int


class Resize(NamedTuple):
    """A storage has another size from here on."""

    birth: int
    bytes: int


class Move(NamedTuple):
    """A storage on a device has other memory from here on."""

    birth: int
    bytes: int
    address: int
    at: int
    """`time.monotonic_ns()` when it was noticed."""


class Flop(NamedTuple):
    """An operator whose floating-point operations can be counted, and what it was given: shapes, no tensors."""

    operator: Any
    module: int
    arguments: tuple[Any, ...]
    result: tuple[int, ...]
