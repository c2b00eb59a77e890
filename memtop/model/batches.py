"""A step's batch and its place in a pass over the loader, in words. Pure."""

from __future__ import annotations

from memtop.model.records import ModelRecord, StepRecord
from memtop.model.units import duration, number


def size(batch: int | None, model: ModelRecord | None) -> str:
    """The samples of a step: `64`, `64 = 8 × 8` where it takes eight batches of eight, `60 in 8` of unequal ones."""
    count = 1 if model is None else model.micro_batches or 1
    if batch is None or count < 2:
        return number(batch)
    newest = {length for one in model.inputs for length in one.shape[:2]} if model is not None else set()
    each = batch // count
    return f"{batch:,} = {count} × {each:,}" if each * count == batch and each in newest else f"{batch:,} in {count}"


def sample_bytes(batch: int | None, model: ModelRecord | None) -> float | None:
    """Bytes of one sample, labels included: the newest batch over its share of the step's samples."""
    if model is None or not model.inputs or not batch:
        return None
    return sum(one.bytes for one in model.inputs) * (model.micro_batches or 1) / batch


def pass_seconds(step: StepRecord | None, rate: float | None) -> float | None:
    """Seconds to the end of the running pass over the loader at `rate` steps a second; `None` where not known."""
    if step is None or step.pass_end is None or not rate:
        return None
    return max(0, step.pass_end - step.step) / rate


def pass_words(step: StepRecord | None, seconds: float | None) -> str:
    """`pass ends at step 640, in 12 s`; empty where no loader says its length. The number of passes is not known."""
    if step is None or step.pass_end is None:
        return ""
    if step.pass_end <= step.step:
        return f"a pass has ended at step {step.step:,}"
    return f"pass ends at step {step.pass_end:,}" + ("" if seconds is None else f", in {duration(seconds)}")
