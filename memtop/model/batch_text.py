"""What goes in, in words: shapes with their letters, ranges, what happens on the way to the model. Pure."""

from __future__ import annotations

import math

from memtop.model import units
from memtop.model.batch import BatchSample, BatchTensor
from memtop.model.i18n import N_, _

_KINDS = ("image", "tokens", "table")
_LETTERS = {"CHW": "(N, C, H, W)", "HWC": "(N, H, W, C)", "HW": "(N, H, W)", "flat": "(N, C·H·W)"}
UNREAD = (
    N_("it is inside a transformation of functions"),
    N_("it is not dense"),
    N_("it is a tensor of a kind of its own"),
    N_("a CUDA graph is being captured"),
    N_("one sample of it is more than is copied from a device"),
    N_("it has gaps: a copy would take memory on the device"),
)
"""Reasons of the probe for values that were not read. It gives others too, which have names in them."""


def main_tensor(sample: BatchSample) -> int | None:
    """Which tensor the batch is about: the one drawn, else the first of a kind that we know, else the first."""
    if sample.picture is not None:
        return sample.picture.tensor
    for kind in _KINDS:
        for place, tensor in enumerate(sample.tensors):
            if tensor.kind == kind:
                return place
    return 0 if sample.tensors else None


def count(sample: BatchSample) -> int:
    """How many samples can be shown one by one."""
    place = main_tensor(sample)
    if place is None:
        return 0
    if sample.picture is not None:
        return len(sample.picture.pixels)
    return len(sample.tensors[place].first)


def label(sample: BatchSample, number: int) -> str | None:
    """The label of a sample: the value of the first tensor of labels that comes with it; `None` where none does."""
    place = main_tensor(sample)
    if place is None:
        return None
    for tensor in sample.tensors:
        if tensor.kind == "labels" and tensor.place == sample.tensors[place].place and number < len(tensor.first):
            return value(tensor.first[number][0]) if tensor.first[number] else None
    return None


def at_root(sample: BatchSample) -> BatchTensor | None:
    """What the model gets of the tensor that the loader yields: as many values a sample. `None`: it was not seen."""
    place = main_tensor(sample)
    if place is None or sample.tensors[place].place != "loader":
        return None
    loaded = sample.tensors[place]
    same = (one for one in sample.tensors if one.place == "root" and _each(one) == _each(loaded))
    return next(same, None)


def _each(tensor: BatchTensor) -> int:
    """Values of one sample."""
    return math.prod(tensor.shape[1:])


def elements(tensor: BatchTensor) -> int:
    """Values of all samples."""
    return math.prod(tensor.shape)


def shape(tensor: BatchTensor) -> str:
    """`(64, 3, 32, 32)`."""
    return f"({', '.join(map(str, tensor.shape))}{',' if len(tensor.shape) == 1 else ''})"


def letters(tensor: BatchTensor) -> str:
    """What the dimensions are, as far as that can be guessed."""
    if tensor.layout is not None:
        return _LETTERS[tensor.layout]
    return {"tokens": "(N, T)", "table": _("(N, columns)"), "labels": "(N,)"}.get(tensor.kind, "")


def channels(tensor: BatchTensor, drawn: int) -> str:
    """Whether an image is gray or in colour. `drawn`: channels of its picture."""
    if tensor.layout in ("CHW", "HWC"):
        given = tensor.shape[1 if tensor.layout == "CHW" else 3]
        if given == 4:
            return _("colour and a fourth channel, which is not drawn")
        if given not in (1, 3):
            return _("{given} channels, of which the first is drawn").format(given=given)
    return _("colour") if drawn == 3 else _("grayscale")


def value(given: float | None) -> str:
    """A value as a person reads it: whole ones without a point, others with four digits."""
    if given is None:
        return units.UNKNOWN
    if given == int(given) and abs(given) < 1e15:
        return f"{int(given):,}".replace("-", "−")
    return f"{given:.4g}".replace("-", "−")


def span(tensor: BatchTensor) -> str:
    """`0 to 255`; unknown where nothing was looked at."""
    if tensor.low is None or tensor.high is None:
        return units.UNKNOWN
    return _("{low} to {high}").format(low=value(tensor.low), high=value(tensor.high))


def on_the_way(loaded: BatchTensor, entered: BatchTensor | None) -> str:
    """What happens to the values between loader and model."""
    if entered is None:
        return _("what reaches the model was not seen")
    changes = []
    if entered.dtype != loaded.dtype:
        changes.append(_becomes(loaded.dtype, entered.dtype))
    if entered.shape != loaded.shape:
        changes.append(_becomes(shape(loaded), shape(entered)))
    if entered.device != loaded.device:
        changes.append(_becomes(loaded.device, entered.device))
    if loaded.low is not None and entered.low is not None and span(entered) != span(loaded):
        changes.append(_becomes(span(loaded), span(entered)))
    if not changes:
        return _("reaches the model as loaded")
    return _("on the way to the model: {changes}").format(changes=_(", ").join(changes))


def _becomes(before: str, after: str) -> str:
    return _("{before} becomes {after}").format(before=before, after=after)
