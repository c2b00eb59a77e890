"""The `forecast` record: which batch size fits, and what that rests on."""

from __future__ import annotations

from typing import Literal

import msgspec

from memtop.model.forecast import Affine, OfPixels, Point, Quadratic
from memtop.model.record_base import RecordBase


class ForecastRecord(RecordBase, frozen=True, kw_only=True):
    """The peak as a function of the batch size, and the largest batch that fits one device now. An estimate."""

    kind: Literal["forecast"] = "forecast"
    device: str
    step: int
    """The step that was looked at."""
    batch_size: int
    """The batch that it was watched with: samples of one batch as the loader yields it."""
    batches: int
    """How many batches the loader yielded in that step. Every batch size here is of one of them: under gradient
    accumulation what a step trains on is that many times as much."""
    sample_shape: list[int]
    """The shape of one sample of the batch's first tensor, for which the forecast holds; empty where not known."""
    fixed_bytes: int
    """What stays whatever the batch, where the answer lies: of the function that is the highest at `max_batch_size`,
    else at `batch_size`."""
    bytes_per_sample: int
    """What each sample adds there."""
    phases: list[Affine]
    """Tensor bytes of each phase as functions of the batch size; the peak is the highest of them."""
    max_batch_size: int | None
    """The largest batch whose forecast peak, with its error, is within the limit; `null` where nothing grows with the
    batch or no limit is known, 0 where not even one sample fits."""
    limit_bytes: int | None
    """What tensors can have on this device now: all but what other processes and this one's own runtime (on CUDA its
    context and the allocator's rounding) hold. Under a lower limit on the process itself, an estimate: the limit less
    what is mapped beside tensors and what the C library may keep of what is freed."""
    error_bytes: int | None
    """The error allowed for at `max_batch_size`."""
    points: list[Point]
    """Batch sizes whose peaks were measured, with what had been forecast for each, the smallest first."""
    basis: str
    """What it rests on, in words."""
    length: int | None = None
    """How long the sequences were that were looked at; `null` where the inputs are none."""
    max_length: int | None = None
    """The longest that fits at `batch_size` under the same limit and error; `null` where it can't be told what grows
    with the length or nothing does, and where no limit is known; 0 where not even one position fits."""
    lengths: list[Quadratic] = msgspec.field(default_factory=list)
    """Tensor bytes of each phase as functions of the length at `batch_size`; the peak is the highest of them. Empty
    where it can't be told what grows with the length."""
    limit_is: str | None = None
    """Which limit `limit_bytes` is: `device` (on the CPU RAM or the cgroup's limit), or one on the process itself,
    `RLIMIT_AS` (`ulimit -v`) or `RLIMIT_DATA` (`ulimit -d`), or on its share of a GPU, `memory fraction`
    (`set_per_process_memory_fraction`); `null` where none is known."""
    pieces_bytes: int | None = None
    """Of a GPU: what is left to the pieces that torch's allocator can give to no request, beside `limit_bytes`; an
    estimate. `null` on the CPU."""
    image: list[int] = msgspec.field(default_factory=list)
    """Height and width of the images that were looked at; empty where the inputs are none."""
    max_pixels: int | None = None
    """The most pixels of an image with which `batch_size` fits under the same limit, with an error of its own; `null`
    and 0 as for `max_length`."""
    bytes_per_pixel: int | None = None
    """What a pixel more adds there (at `image` where there is no such number), with all samples of the batch; `null`
    where that can't be told."""
    pixels: list[OfPixels] = msgspec.field(default_factory=list)
    """Tensor bytes of each phase as functions of the pixels at `batch_size`; the peak is the highest of them. Empty
    where it can't be told what grows with them."""
    largest_image: list[int] = msgspec.field(default_factory=list)
    """Height and width of the largest images seen in this training, where they are larger than `image`; else empty."""
    largest_image_bytes: int | None = None
    """The peak forecast for a batch of those."""
