"""What goes in: the batch of one step, as the loader yields it and as it reaches the root module.

It is for the screen alone. A picture of somebody's data, or the words of a text, are in no log.
"""

from __future__ import annotations

import msgspec

from memtop.model.record_base import RecordBase


class BatchColumn(msgspec.Struct, frozen=True, kw_only=True):
    """One column of a table, over the samples looked at; `None` where none of its values is finite."""

    low: float | None
    mean: float | None
    high: float | None


class BatchTensor(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor of the batch. Its figures are those of the first samples, `looked` values in all."""

    name: str
    """The way to it in the batch: `0`, `input_ids`; empty where the batch is the tensor."""
    place: str
    """`loader`: what the loader yields. `root`: what the outermost module is called with."""
    shape: list[int]
    dtype: str
    device: str
    bytes: int
    """Elements times the size of one."""
    kind: str
    """`image`, `tokens`, `table`, `labels` or `other`: guessed from shape and dtype."""
    layout: str | None
    """Of one sample of an image: `CHW`, `HWC`, `HW`, or `flat`; else `None`."""
    unread: str | None
    """Why its values were not looked at."""
    looked: int
    """Values that range, mean and columns are made of."""
    low: float | None
    high: float | None
    mean: float | None
    nonfinite: int
    """NaN and infinite values among those looked at: in no other figure."""
    histogram: list[int]
    """How many fall into each of equal parts of the range, of at most 16,384 of them; empty where unknown."""
    first: list[list[float | None]]
    """The beginning of the first samples: ids of tokens, labels, a table's values. `None`: not finite."""
    distinct: int | None
    """Different values among those looked at, of tokens and labels."""
    columns: list[BatchColumn]


class BatchPicture(msgspec.Struct, frozen=True, kw_only=True):
    """The first samples of an image tensor, thinned to at most 64 pixels a side and to 8 bits."""

    tensor: int
    """Which of the tensors."""
    width: int
    height: int
    channels: int
    """1 or 3."""
    black: float
    """The value that a byte of 0 stands for."""
    white: float
    pixels: list[bytes]
    """A sample each: rows from the top, channels together."""


class BatchSample(RecordBase, frozen=True, kw_only=True):
    """What one step was fed."""

    step: int
    tensors: list[BatchTensor]
    picture: BatchPicture | None
