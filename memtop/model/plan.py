"""What a step would take of a CUDA device that is not here: its storages, played through a model of torch's allocator.

Every figure is an estimate. Three steps are played: in the first the optimizer's state comes, from the second on things
repeat, but for what the allocator does with the pieces that it has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from memtop.model.caching import AllocatorConfig, CachingAllocator, OutOfMemory, Shortage, parse
from memtop.model.on_cuda import CUBLAS, on_cuda
from memtop.model.playing import Played, Player
from memtop.model.step_events import StepEvents

STEPS: Final = 3


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a process takes of a device outside torch's allocator: context, kernels, libraries. Bytes."""

    low: int = 200 * 10**6
    high: int = 700 * 10**6
    """The range seen on real devices; less with lazy loading and few kernels, more with NCCL."""

    @property
    def middle(self) -> int:
        """What an estimate takes it for."""
        return (self.low + self.high) // 2


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Where the played steps ran out of memory."""

    shortage: Shortage
    step: int
    """1, 2 or 3."""
    phase: str
    operator: str
    module: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the steps would take. Bytes; all of them estimates. Where it does not fit: up to where it failed."""

    requested: int
    """The most that tensors ask for together."""
    allocated: int
    """Peak of `allocated_bytes.all`, cuBLAS's workspaces included."""
    reserved: int
    """Peak of `reserved_bytes.all`."""
    used: int
    """Peak on the device: `reserved` and the middle of the context's range."""
    low: int
    """`used` at least: no workspace, and the smallest context."""
    high: int
    """`used` at most: workspaces of convolutions, and the largest context."""
    by_step: tuple[int, ...]
    """Peak of `reserved` in each step."""
    retries: int
    """How often the cache had to be given back: it fits, but not well."""
    fits: Literal["yes", "perhaps", "no"] | None
    """Whether it fits the limit: not even the upper end does not, only the upper end does not, the middle does not.
    `None` without a limit."""
    oom: Failure | None
    """Of the middle, where that does not fit."""
    rests_on: tuple[str, ...]
    """What the figures rest on, one line each."""


def plan(
    events: StepEvents,
    limit: int | None = None,
    conf: str = "",
    context: Context | None = None,
    *,
    optimizers: list[str] | None = None,
    workspace: int = CUBLAS,
    capped: bool = False,
) -> Plan:
    """Play a step on a device of `limit` bytes, of which `context` is not torch's.

    `conf` is the text of `PYTORCH_ALLOC_CONF`; `optimizers` the class names of a `model` record; `workspace` cuBLAS's a
    thread. `capped`: `limit` is of the allocator alone (`set_per_process_memory_fraction`). Raises `ConfigError`."""
    config, around = parse(conf), context or Context()
    step, notes = on_cuda(events, optimizers)

    def play(outside: int, workspace: int, scratch: bool) -> Played:
        left = None if limit is None else limit if capped else max(limit - outside, 0)
        return _play(step, config, left, capped, workspace, scratch and not events.played)

    middle, low, high = (
        play(around.middle, workspace, False),
        play(around.low, 0, False),
        play(around.high, workspace, True),
    )
    return Plan(
        requested=step.peak,
        allocated=middle.allocated,
        reserved=middle.reserved,
        used=middle.reserved + around.middle,
        low=low.reserved + around.low,
        high=high.reserved + around.high,
        by_step=tuple(middle.by_step),
        retries=middle.retries,
        fits=None if limit is None else "no" if middle.failed else "perhaps" if high.failed else "yes",
        oom=_failure(step, middle),
        rests_on=_rests_on(events, config, around, workspace, notes),
    )


def largest(
    at: Callable[[int], Plan], low: int, high: int, fits: tuple[str, ...] = ("yes",), multiple: int = 1
) -> int | None:
    """The largest batch from `low` to `high`, a multiple of `multiple`, whose plan fits; `None` where none does.

    `at` plans a batch size (`extrapolate.at_batch` and `plan`). Bisection: it takes for granted that what is smaller
    than what fits does, too, which holds but for a few per cent of fragmentation."""
    begin, end = -(-low // multiple), high // multiple
    if begin > end or at(begin * multiple).fits not in fits:
        return None
    while begin < end:
        middle = (begin + end + 1) // 2
        begin, end = (middle, end) if at(middle * multiple).fits in fits else (begin, middle - 1)
    return begin * multiple


def _play(
    step: StepEvents, config: AllocatorConfig, limit: int | None, capped: bool, workspace: int, scratch: bool
) -> Played:
    player = Player(step, CachingAllocator(config, limit, capped), workspace, scratch)
    for _ in range(STEPS):
        try:
            player.step()
        except OutOfMemory as error:
            player.played.failed = error.shortage
            break
    return player.done()


def _failure(events: StepEvents, played: Played) -> Failure | None:
    if played.failed is None:
        return None
    number = played.number
    return Failure(
        shortage=played.failed,
        step=len(played.by_step),
        phase="held" if number is None else events.phase(number),
        operator="" if number is None else events.operator(number),
        module="" if number is None else events.modules[events.births[number].module],
    )


def _rests_on(
    events: StepEvents, config: AllocatorConfig, context: Context, workspace: int, notes: list[str]
) -> tuple[str, ...]:
    where = "a GPU" if events.device.startswith("cuda") else "the CPU"
    kind = "expandable segments" if config.expandable else "segments of 2, 20 and more MiB"
    return (
        f"the {len(events.changes):,} changes of storages in step {events.step}, seen on {where}",
        f"a model of torch's caching allocator: {kind}, one stream",
        f"cuBLAS: {workspace:,} B for each thread that multiplies",
        f"CUDA's context: {context.low:,} to {context.high:,} B",
        *notes,
    )
