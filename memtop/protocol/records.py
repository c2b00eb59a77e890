"""Target to monitor: what a probe sends, one JSON object a line. Mirrors `probe/wire.py`; a test holds them together.

Strict types: a line that does not decode is counted and dropped, never trusted. Every string is hostile until
`model.text.harmless` has seen it. `t_ns` is `time.monotonic_ns()`, one clock for all processes of a host.
"""

from __future__ import annotations

from typing import Any

import msgspec

from memtop.protocol.base import Wire
from memtop.protocol.batch import Batch as Batch
from memtop.protocol.deep import Lines as Lines
from memtop.protocol.deep import Modules as Modules
from memtop.protocol.deep import Scaling as Scaling
from memtop.protocol.deep import Trace as Trace


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device as the target's torch sees it."""

    name: str
    """`cuda:0`."""
    uuid: str | None
    title: str | None
    total: int | None


class Hello(Wire, frozen=True, kw_only=True, tag="hello"):
    """A Python of the target tree is up (`torch` null: not imported yet)."""

    python: str
    torch: str | None
    cuda: str | None
    allocator: str | None
    """CUDA's allocator backend, `native` or `cudaMallocAsync`."""
    devices: list[Device]


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor of the batch."""

    shape: list[int]
    dtype: str
    bytes: int


class Model(Wire, frozen=True, kw_only=True, tag="model"):
    """See `model.records.ModelRecord`."""

    name: str | None
    device: str | None
    parameters: int
    trainable_parameters: int
    bytes: dict[str, int | None]
    modules: int | None
    optimizers: list[str]
    inputs: list[Input]
    """One batch; of several in a step, the newest."""
    micro_batches: int | None = None
    """Batches that one step takes: more than one where gradients accumulate."""
    sequence: int | None = None
    """The length of the samples where they are sequences."""


class Allocator(msgspec.Struct, frozen=True, kw_only=True):
    """torch's caching allocator on one CUDA device, bytes. Source: `torch._C._cuda_memoryStats`."""

    requested: int
    """What live tensors asked for, what another stream still waits for left out."""
    allocated: int
    active: int
    reserved: int
    retries: int
    """Device mallocs that failed and flushed the cache."""


class Memory(Wire, frozen=True, kw_only=True, tag="memory"):
    """The tensors of one device at one moment. `t_ns` is when the moment was: a deep look tells of it later."""

    device: str
    step: int
    moment: str
    tier: str
    bytes: dict[str, int | None]
    """The tensor categories; `null` where the tier can't tell. A deep look tells them all."""
    allocator: Allocator | None
    where: dict[str, Any] | None
    """Of a peak: `phase`, `module`, `operator`, `line`, `text`, `seconds`. See `model.records.MemoryRecord`."""
    notes: list[str]


class Step(Wire, frozen=True, kw_only=True, tag="step"):
    """Steps since the last such record."""

    step: int
    steps: int
    seconds: float
    phases: dict[str, float | None]
    batch_size: int | None
    loss: float | None
    pass_end: int | None = None
    """The step with which the running pass over the loader will end; `None` where no loader says its length."""
    spent_ns: int
    """What watching has cost so far, measured inside the target."""
    announced_ns: int
    """What the announced looks have cost beside that: steps 1 and 2, and those asked for by key."""
    looks: int
    """Deep looks taken so far."""
    trained_ns: int
    """Time since the first step began, pauses left out."""


class Event(Wire, frozen=True, kw_only=True, tag="event"):
    name: str
    message: str
    data: dict[str, Any]


class Ack(Wire, frozen=True, kw_only=True, tag="ack"):
    """A command took effect."""

    id: int
    step: int


class Fault(Wire, frozen=True, kw_only=True, tag="fault"):
    """A command could not take effect."""

    id: int
    message: str
    remedy: str | None


class Bye(Wire, frozen=True, kw_only=True, tag="bye"):
    """The probe's last word."""

    steps: int
    seconds: float
    spent_ns: int
    announced_ns: int
    looks: int
    dropped: int


Message = Hello | Model | Memory | Modules | Lines | Trace | Scaling | Batch | Step | Event | Ack | Fault | Bye
_decoder = msgspec.json.Decoder(Message)


def decode(line: bytes) -> Message:
    """One line to a message. Raises `msgspec.MsgspecError` on anything that is not exactly one."""
    try:
        message: Message = _decoder.decode(line)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None
    return message
