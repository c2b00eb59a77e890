"""What "what if" is worked out from: one deep look's course through a step, and the model's layers.

Bytes are of tensors, as the look saw them; sizes that grow with the batch are those of categories and phases that do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from memtop.model.deep_records import ModuleRow, ModulesRecord, TraceRecord

GROWING: Final = ("inputs", "activations")
"""Categories that are as large as the batch."""
PASSING: Final = ("data", "forward", "backward", "recompute")
"""Phases whose temporaries are as large as the batch, too: results in forward, gradients of them in backward."""


class Line(Protocol):
    """One phase of a step as an affine function of the batch size; `model.forecast.Affine` is one."""

    @property
    def phase(self) -> str: ...
    @property
    def bytes_per_sample(self) -> int: ...


class Point(msgspec.Struct, frozen=True):
    """One instant of the step: its phase, and bytes by category."""

    phase: str
    bytes: dict[str, int]
    grown: int = 0
    """By how much the gradients are more than an instant before."""


class Layer(msgspec.Struct, frozen=True):
    """One module, without its children; or what is made in none."""

    path: str
    """Empty for the root, and for what is made in no module."""
    type: str
    """Its class; empty for what is made in no module."""
    activations: int
    """Bytes made in it that are kept when forward ends."""
    output: int | None
    """Elements of what it makes."""
    parameters: int
    """Bytes held directly."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one training on one device. Bytes."""

    batch: int
    points: tuple[Point, ...]
    layers: tuple[Layer, ...]
    """In the order of the model."""
    trainable: int
    """Bytes of the parameters that take a gradient."""
    optimizer: str | None
    """Its class (`AdamW`); `None` where it is not known or there are several."""
    float_inputs: float
    """The share of the batch's bytes that are floating-point numbers."""
    limit: int | None
    """What tensors may take of the device; `None` where it is not known."""
    foreach: bool
    """Whether optimizers take lists of whole tensors, as they do on CUDA."""
    shares: Mapping[str, float]
    """By phase: the share of the temporaries at its peak that grows with the batch."""

    def forward_end(self) -> Point:
        """Where activations are highest."""
        return max(self.points, key=lambda point: point.bytes["activations"])

    def highest(self, category: str, phases: Sequence[str] | None = None) -> int:
        """The most bytes of a category, in some phases or in all."""
        wanted = [point.bytes[category] for point in self.points if phases is None or point.phase in phases]
        return max(wanted, default=0)


def facts(
    trace: TraceRecord,
    modules: ModulesRecord,
    *,
    batch: int,
    trainable: int,
    optimizers: Sequence[str] = (),
    float_inputs: float = 1.0,
    limit: int | None = None,
    forecast: Sequence[Line] = (),
) -> Facts:
    """From the records of one deep look at a step of `batch` samples.

    `trainable`, `optimizers` and the dtypes behind `float_inputs` are in the `model` record. `forecast`, where there is
    one, says by phase what a sample adds; without it all temporaries but the optimizer's are taken to grow."""
    points = _points(trace)
    return Facts(
        batch=batch,
        points=points,
        layers=tuple(_layer(row) for row in modules.rows),
        trainable=trainable,
        optimizer=optimizers[0] if len(optimizers) == 1 else None,
        float_inputs=float_inputs,
        limit=limit,
        foreach=trace.device.startswith("cuda"),
        shares={phase: _share(phase, points, batch, forecast) for phase in {point.phase for point in points}},
    )


def _points(trace: TraceRecord) -> tuple[Point, ...]:
    """The instants with the phases that they lie in; a phase in which nothing came or went has the one before it."""
    begins = [mark.at for mark in trace.marks]
    found: list[Point] = []
    reached = 0
    for at, vector in zip(trace.times, trace.points, strict=True):
        index = bisect_right(begins, at)
        found += [Point(mark.name, found[-1].bytes) for mark in trace.marks[reached : index - 1] if found]
        reached = max(reached, index)
        now = dict(zip(trace.columns, vector, strict=True))
        before = found[-1].bytes["gradients"] if found else now["gradients"]
        found.append(Point(_phase(trace, index), now, max(0, now["gradients"] - before)))
    found += [Point(mark.name, found[-1].bytes) for mark in trace.marks[reached:] if found and mark.name != "end"]
    return tuple(found)


def _phase(trace: TraceRecord, index: int) -> str:
    """The phase after so many marks. What dies when the step has ended is the optimizer's."""
    name = trace.marks[index - 1].name if index else "forward"
    return "optimizer" if name == "end" else name


def _layer(row: ModuleRow) -> Layer:
    output = None
    if row.output is not None:
        output = 1
        for size in row.output:
            output *= size
    return Layer(row.path or "", row.type, row.activations, output, row.parameter_bytes)


def _share(phase: str, points: Sequence[Point], batch: int, forecast: Sequence[Line]) -> float:
    """Of a phase's temporaries what grows: all or nothing, or what a forecast has left for them."""
    told = [line.bytes_per_sample for line in forecast if line.phase == phase]
    if not told:
        return float(phase in PASSING)
    top = max((point.bytes for point in points if point.phase == phase), key=lambda one: sum(one.values()))
    temporaries = top["temporaries"]
    grows = max(told) * batch - sum(top[name] for name in GROWING)
    return min(1.0, max(0.0, grows / temporaries)) if temporaries else float(phase in PASSING)
