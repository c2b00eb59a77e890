"""What a step was fed: a message in, the same with harmless strings out."""

from __future__ import annotations

from memtop.model.batch import BatchColumn, BatchPicture, BatchSample, BatchTensor
from memtop.model.text import one_line
from memtop.protocol import batch as wire


def sample(t: float, message: wire.Batch) -> BatchSample | None:
    """The batch of a message at run second `t`; `None` where its parts contradict each other."""
    tensors = [_tensor(one) for one in message.tensors]
    shown = message.picture
    if shown is not None:
        size = shown.width * shown.height * shown.channels
        if shown.tensor >= len(tensors) or not shown.pixels or any(len(one) != size for one in shown.pixels):
            return None
    return BatchSample(t=t, rank=message.rank, step=message.step, tensors=tensors, picture=_picture(shown))


def _tensor(told: wire.Tensor) -> BatchTensor:
    return BatchTensor(
        name=one_line(told.name, 80),
        place=told.place,
        shape=told.shape,
        dtype=one_line(told.dtype, 30),
        device=one_line(told.device, 20),
        bytes=told.bytes,
        kind=told.kind,
        layout=told.layout,
        unread=None if told.unread is None else one_line(told.unread, 100),
        looked=told.looked,
        low=told.low,
        high=told.high,
        mean=told.mean,
        nonfinite=told.nonfinite,
        histogram=told.histogram,
        first=told.first,
        distinct=told.distinct,
        columns=[BatchColumn(low=one.low, mean=one.mean, high=one.high) for one in told.columns],
    )


def _picture(told: wire.Picture | None) -> BatchPicture | None:
    if told is None:
        return None
    return BatchPicture(
        tensor=told.tensor,
        width=told.width,
        height=told.height,
        channels=told.channels,
        black=told.black,
        white=told.white,
        pixels=told.pixels,
    )
