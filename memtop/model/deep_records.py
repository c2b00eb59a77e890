"""What one deep look at a step found, beside the `memory` records of its moments: by module, by line, through time.

In each of the three the parts sum exactly: the modules' `at_peak` and the lines' `at_peak` are each the tensor bytes
of the look's `memory` record with moment `peak`, and a point of the trace is what the allocator was asked for then.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from memtop.model.record_base import RecordBase


class ModuleRow(msgspec.Struct, frozen=True, kw_only=True):
    """One module, without its children. Bytes of tensors that belong to no module stand in a row with `path` null."""

    path: str | None
    """Its dotted name from the root (`layers.3.conv`), the root's own is empty. `null`: what belongs to no module."""
    type: str
    """Its class; of the row without a module, empty."""
    parameters: int
    """Parameter elements held directly, tied ones at the first module that has them."""
    parameter_bytes: int
    buffer_bytes: int
    gradient_bytes: int
    """Of its own parameters, when backward had ended."""
    state_bytes: int
    """The optimizer's state for its own parameters, when the step had ended."""
    output: list[int] | None
    """Shape of the last tensor that it made in forward; `null` where it made none (a view, a container)."""
    activations: int
    """Bytes alive when forward ended that were made in it."""
    recomputed: int
    """Bytes of activations that backward made again in it, for a checkpoint."""
    at_peak: int
    """Tensor bytes of its own at the step's peak, its parameters, gradients and state included."""
    born: int
    """Bytes of all tensors made in it during the step."""
    flops: int | None
    """Floating-point operations of its forward (torch.utils.flop_counter's formulas); `null` where none is known."""
    series: list[int]
    """Bytes made in this step and alive, at equal times through the step: the highest of each slot."""


class ModulesRecord(RecordBase, frozen=True, kw_only=True):
    """The modules, parents before children in the order of `named_modules`, after a deep look."""

    kind: Literal["modules"] = "modules"
    device: str
    step: int
    rows: list[ModuleRow]
    folded: int
    """Modules that were too many to tell: their bytes are in the row without a module."""


class LineTensor(msgspec.Struct, frozen=True, kw_only=True):
    """Tensors of one line that are alike and alive at the peak."""

    shape: list[int]
    dtype: str
    category: str
    operator: str
    """What made them (`aten.addmm`); empty for what was there before the step."""
    module: str | None
    count: int
    bytes: int
    """Of all of them."""


class LineRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the person's code and the tensors made while it ran."""

    file: str | None
    """Path as Python has it; `null` for what was there before the step began (parameters, state, ...)."""
    line: int | None
    function: str | None
    text: str | None
    """The line itself; `null` where the file can't be read."""
    phase: str
    """`data`, `forward`, `backward`, `recompute`, `optimizer` or `held`."""
    at_peak: int
    """Bytes alive at the step's peak."""
    born: int
    """Bytes made by this line in the step."""
    count: int
    """Tensors made by this line in the step."""
    kept: int
    """Bytes of those that are still alive when the step has ended."""
    tensors: list[LineTensor]
    """Most bytes first; what does not fit into the record is one entry with an empty shape."""


class LinesRecord(RecordBase, frozen=True, kw_only=True):
    """The person's source lines by bytes alive at the peak, most first, after a deep look."""

    kind: Literal["lines"] = "lines"
    device: str
    step: int
    rows: list[LineRow]


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A phase of the step begins."""

    at: float
    """Seconds since the step began."""
    name: str
    """`data`, `forward`, `backward`, `recompute`, `optimizer`, or `end`."""


class TraceRecord(RecordBase, frozen=True, kw_only=True):
    """One whole step: tensor bytes by category through time. Times include what watching cost."""

    kind: Literal["trace"] = "trace"
    device: str
    step: int
    seconds: float
    """How long the step took, watching included."""
    columns: list[str]
    """The categories, in order."""
    times: list[float]
    """Seconds since the step began, one for each point, not falling."""
    points: list[list[int]]
    """Bytes by column, one list a point. Between two points nothing was higher than both."""
    marks: list[Mark]
    peak: int
    """The index of the highest point."""
    changes: int
    """How many births and deaths of storages the step had; `points` are thinned where they are fewer."""
