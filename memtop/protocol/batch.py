"""A few samples of a batch as they cross the socket, with limits to all of it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from memtop.protocol.base import Wire

Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Side = Annotated[int, msgspec.Meta(ge=1, le=64)]
Pixels = Annotated[bytes, msgspec.Meta(max_length=12_288)]
"""Base64 on the wire."""
Row = Annotated[list[float | None], msgspec.Meta(max_length=32)]


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """See `model.batch.BatchColumn`."""

    low: float | None
    mean: float | None
    high: float | None


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """See `model.batch.BatchTensor`."""

    name: str
    place: Literal["loader", "root"]
    shape: Annotated[list[Count], msgspec.Meta(max_length=64)]
    dtype: str
    device: str
    bytes: Count
    kind: Literal["image", "tokens", "table", "labels", "other"]
    layout: Literal["CHW", "HWC", "HW", "flat"] | None
    unread: str | None
    looked: Count
    low: float | None
    high: float | None
    mean: float | None
    nonfinite: Count
    histogram: Annotated[list[Count], msgspec.Meta(max_length=24)]
    first: Annotated[list[Row], msgspec.Meta(max_length=16)]
    distinct: Count | None
    columns: Annotated[list[Column], msgspec.Meta(max_length=24)]


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """See `model.batch.BatchPicture`."""

    tensor: Count
    width: Side
    height: Side
    channels: Literal[1, 3]
    black: float
    white: float
    pixels: Annotated[list[Pixels], msgspec.Meta(max_length=16)]


class Batch(Wire, frozen=True, kw_only=True, tag="batch"):
    """See `model.batch.BatchSample`."""

    step: Count
    tensors: Annotated[list[Tensor], msgspec.Meta(max_length=10)]
    picture: Picture | None
