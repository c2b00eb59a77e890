"""What if, from what a session knows of its newest deep look. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from memtop.model.categories import TENSORS
from memtop.model.forecast import error_of
from memtop.model.forecast_record import ForecastRecord
from memtop.model.i18n import _
from memtop.model.records import InputTensor, ModelRecord
from memtop.model.snapshot import DeepLook, Snapshot
from memtop.model.whatif import Line, whatif
from memtop.model.whatif_facts import facts


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of one training at one batch size."""

    lines: tuple[Line, ...]
    """How things are, then every change from the lowest peak to the highest."""
    batch: int
    """Samples of one batch as the loader yields it: largest batches are of one, too."""
    batches: int
    """How many of them a step takes; 1 unless gradients are accumulated."""
    step: int
    """The step that was looked at."""
    device: str
    limit: int | None
    """What tensors may take, bytes; `None` where it is not known."""
    margin: float
    """The share of a peak that stays free below the limit."""


def missing(snapshot: Snapshot) -> str | None:
    """Why nothing can be told, in words; `None` where `told` can."""
    deep = snapshot.deep
    if deep is None or deep.modules is None:
        return _("no deep look yet: the second step is watched whole")
    if deep.trace is None:
        logged = snapshot.replay is not None
        without = _("this log has no course of a step: --trace-steps writes it")
        return without if logged else _("the deep look is not over yet")
    if snapshot.model is None or not snapshot.model.bytes.get("trainable"):
        return _("nothing that is trained has been seen")
    if not deep.trace.points or _batch(snapshot) is None:
        return _("the batch size is not known: no loader and no tensor of samples was seen")
    return None


def told(snapshot: Snapshot, limit: int | None = None, margin: float = 0.0) -> Told | None:
    """The lines; `None` where something is `missing`.

    `limit` bytes in place of what the device has. The margin is never less than the forecast's own error.
    """
    deep, model, forecast, batch = snapshot.deep, snapshot.model, snapshot.forecast, _batch(snapshot)
    if missing(snapshot) is not None or deep is None or model is None or batch is None:
        return None
    assert deep.trace is not None
    assert deep.modules is not None
    margin = max(margin, error_of(forecast.points if forecast is not None else ()))
    limit = forecast.limit_bytes if limit is None and forecast is not None else limit
    known = facts(
        deep.trace,
        deep.modules,
        batch=batch,
        trainable=model.bytes.get("trainable") or 0,
        optimizers=model.optimizers,
        float_inputs=_float_share(model),
        limit=None if limit is None else int(limit / (1 + Fraction(margin).limit_denominator(10**9))),
        forecast=() if forecast is None else forecast.phases,
    )
    first, *changes = whatif(known)
    return Told(
        lines=(first, *sorted(changes, key=lambda line: line.peak)),
        batch=batch,
        batches=1 if forecast is None else forecast.batches,
        step=deep.step,
        device=deep.peak.device,
        limit=limit,
        margin=margin,
    )


def _batch(snapshot: Snapshot) -> int | None:
    """The batch of the step that was looked at, which need not be that of the newest step."""
    deep, forecast, step = snapshot.deep, snapshot.forecast, snapshot.step
    if deep is not None and forecast is not None:
        found = _measured(deep, forecast)
        if found is not None:
            return found
    size = None if step is None else step.batch_size
    if size is None or forecast is None:
        return size or None
    return max(1, size // max(1, forecast.batches))


def _measured(deep: DeepLook, forecast: ForecastRecord) -> int | None:
    peak = sum(deep.peak.bytes.get(name) or 0 for name in TENSORS)
    at = [point.batch_size for point in forecast.points if point.measured_bytes == peak]
    if forecast.step == deep.step and forecast.batch_size in at:
        return forecast.batch_size
    return at[0] if len(at) == 1 else forecast.batch_size if forecast.step == deep.step else None


def _float_share(model: ModelRecord) -> float:
    """The share of the batch's bytes that are floating-point numbers."""
    whole = sum(one.bytes for one in model.inputs)
    return sum(one.bytes for one in _floats(model.inputs)) / whole if whole else 1.0


def _floats(inputs: Sequence[InputTensor]) -> list[InputTensor]:
    return [one for one in inputs if "float" in one.dtype]
