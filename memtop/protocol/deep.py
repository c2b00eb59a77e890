"""What a deep look at one step found, and the marks of `memtop.track()`, as they cross the socket."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from memtop.model.deep_records import LineRow, Mark, ModuleRow
from memtop.protocol.base import Wire

Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
"""Bytes, elements or a number of things: what a computer can hold."""

Size = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""Bytes, or what is taken from them: one position less than the length is a fixed size below 0."""


class Modules(Wire, frozen=True, kw_only=True, tag="modules"):
    """See `model.deep_records.ModulesRecord`."""

    device: str
    step: int
    rows: list[ModuleRow]
    folded: int


class Lines(Wire, frozen=True, kw_only=True, tag="lines"):
    """See `model.deep_records.LinesRecord`."""

    device: str
    step: int
    rows: list[LineRow]


class Trace(Wire, frozen=True, kw_only=True, tag="trace"):
    """See `model.deep_records.TraceRecord`."""

    device: str
    step: int
    seconds: float
    columns: list[str]
    times: list[float]
    points: list[list[int]]
    marks: list[Mark]
    peak: int
    changes: int


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of a step: its instants as functions of the batch size, those that are the highest somewhere."""

    phase: str
    lines: list[Annotated[list[Size], msgspec.Meta(min_length=2, max_length=3)]]
    """[fixed bytes, bytes a sample] each, and bytes a pair of samples where there are such; the least growth first."""


class Curves(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of a step: its instants as functions of the length of the sequences, at the batch that was seen."""

    phase: str
    curves: list[Annotated[list[Size], msgspec.Meta(min_length=3, max_length=3)]]
    """[fixed bytes, bytes a position, bytes a pair of positions] each, the highest at short lengths first."""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that somebody has set on the process's own memory."""

    name: str
    """`RLIMIT_AS` or `RLIMIT_DATA`; `memory fraction`, of torch's reserve of a GPU."""
    bytes: Count
    beside: Count
    """What the process has mapped of it for other things than tensors: the least of the look's moments. Of a GPU the
    allocator's rounding at the peak."""


class Scaling(Wire, frozen=True, kw_only=True, tag="scaling"):
    """What stays and what grows with the batch, as a deep look saw it. See `model.forecast`."""

    device: str
    step: int
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
    """Samples of one batch of the loader, of the largest where there were several."""
    batches: int
    """How many the loader yielded in the step."""
    peak: Count
    rounding: Count
    """Bytes of the CUDA allocator's rounding at the peak; 0 elsewhere."""
    sample_shape: list[Count]
    """Of the first tensor that the loader yielded; empty where it is not known."""
    phases: list[Envelope]
    length: Annotated[int, msgspec.Meta(ge=1, le=1 << 40)] | None = None
    """Of the sequences; `None` where the inputs are none."""
    lengths: list[Curves] = msgspec.field(default_factory=list)
    """Empty where it can't be told what grows with the length."""
    length_unknown: str | None = None
    """Why not."""
    limits: list[Limit] = msgspec.field(default_factory=list)
    """Of host memory; empty where none is set."""
    blocks: list[Annotated[list[Count], msgspec.Meta(min_length=2, max_length=2)]] = msgspec.field(default_factory=list)
    """Of storages that grow, where they are most, by size: [bytes of the smallest, bytes of all] of those whose sizes
    have as many binary digits."""
    image: Annotated[list[Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]], msgspec.Meta(max_length=2)] = msgspec.field(
        default_factory=list
    )
    """Height and width of the images; empty where the inputs are none."""
    pixels: list[Curves] = msgspec.field(default_factory=list)
    """[fixed bytes, and at this size bytes that grow with the pixels, and with their square] each. Empty where it can't
    be told what grows with them."""
    pixels_error: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    """What sides that are rounded may make of it at large sizes, as a share of it."""
    pixels_unknown: str | None = None
    """Why there are no `pixels`."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Tensors alike. See `model.snapshot.TensorGroup`."""

    shape: list[Count]
    dtype: str
    kind: str
    device: str
    count: Count
    bytes: Count


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """The `data` of an event named `track`. See `model.snapshot.Tracked`."""

    place: str
    label: str
    gained: list[Group]
    lost: list[Group]
    total: Count


def track(data: dict[str, Any]) -> Track:
    """The data of a `track` event. Raises `msgspec.ValidationError` on anything that is not exactly one."""
    return msgspec.convert(data, Track)
