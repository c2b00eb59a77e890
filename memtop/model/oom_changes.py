"""What other settings would have made of the step that ran out: the newest look, scaled to its batch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from memtop.model.categories import TENSORS
from memtop.model.forecast_record import ForecastRecord
from memtop.model.records import ModelRecord
from memtop.model.snapshot import DeepLook
from memtop.model.whatif import Line, whatif
from memtop.model.whatif_facts import GROWING, Facts, Layer, Point, facts
from memtop.model.whatif_layers import segments


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """A step at one batch size."""

    lines: Mapping[str, Line]
    """By the name that `whatif` gives a change."""
    segments: int
    """How many segments its checkpoints make; 0 where it has no such line."""


def changed(deep: DeepLook | None, model: ModelRecord | None, forecast: ForecastRecord, batch: int) -> Changed | None:
    """What `whatif` says of the newest look at a batch of `batch` samples; `None` where it can say nothing."""
    if deep is None or deep.trace is None or deep.modules is None or not deep.trace.points or model is None:
        return None
    looked, trainable = _batch(deep, forecast), model.bytes.get("trainable")
    if not looked or not trainable:
        return None
    inputs = sum(one.bytes for one in model.inputs)
    known = facts(
        deep.trace,
        deep.modules,
        batch=looked,
        trainable=trainable,
        optimizers=model.optimizers,
        float_inputs=sum(one.bytes for one in model.inputs if "float" in one.dtype) / inputs if inputs else 1.0,
        forecast=forecast.phases,
    )
    scaled = at_batch(known, batch)
    cut, lines = segments(scaled.layers), {one.name: one for one in whatif(scaled)}
    if any(point.phase == "recompute" for point in scaled.points):
        lines.pop("checkpointing", None)  # There are some already.
    return Changed(lines=lines, segments=0 if cut is None else cut.count)


def at_batch(known: Facts, batch: int) -> Facts:
    """The same step with another batch: what grows with it, in proportion."""
    times = batch / known.batch
    return replace(
        known,
        batch=batch,
        points=tuple(_point(one, known.shares.get(one.phase, 0.0), times) for one in known.points),
        layers=tuple(_layer(one, times) for one in known.layers),
    )


def _point(point: Point, share: float, times: float) -> Point:
    """`share` of its temporaries grows."""
    grown = {name: round(point.bytes[name] * times) for name in GROWING}
    temporaries = round(point.bytes["temporaries"] * (1 - share + share * times))
    return replace(point, bytes=point.bytes | grown | {"temporaries": temporaries})


def _layer(layer: Layer, times: float) -> Layer:
    output = None if layer.output is None else round(layer.output * times)
    return replace(layer, activations=round(layer.activations * times), output=output)


def _batch(deep: DeepLook, forecast: ForecastRecord) -> int | None:
    """The batch of the look: of one that the forecast does not rest on, by its peak."""
    if forecast.step == deep.step:
        return forecast.batch_size
    peak = sum(deep.peak.bytes.get(name) or 0 for name in TENSORS)
    at = [point.batch_size for point in forecast.points if point.measured_bytes == peak]
    return at[0] if len(at) == 1 else None
