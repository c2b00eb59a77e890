"""One deep look: put around a step, told of its moments, and turned into records when the step has ended."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode

from . import allocator, limits, wire
from .attribution import Attribution
from .births import BACKWARD, DATA, FORWARD, OPTIMIZER
from .cuda_history import History, Recorded
from .forwards import compiling
from .found import Found
from .inputs import Inputs
from .look import Look
from .sample import Samples
from .tracker import Tracker

_LONGEST_NS = 60_000_000_000
"""A step that takes longer than this (an evaluation between two steps, say) is followed no further."""


def obstacle() -> str | None:
    """Why no deep look can begin now: what the person watches with comes first. `None` where nothing is in the way."""
    if _get_current_dispatch_mode() is not None:
        return "a dispatch mode of the program's own is on"
    if torch._C._autograd._profiler_enabled():
        return "the program's own profiler is on"
    if torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():
        return "a CUDA graph is being captured"
    if not hasattr(TorchDispatchMode, "ignore_compile_internals") and compiling():
        return f"torch.compile is in use, and under a dispatch mode torch {torch.__version__} would end it"
    return None


class DeepStep:
    """A look at the step that begins now."""

    def __init__(self, tracker: Tracker, inputs: Inputs, step: int, edges: tuple[CodeType, ...]) -> None:
        """`step` is its number. `edges`: code of ours that stands between the person's line and autograd."""
        self._tracker = tracker
        self.step = step
        self._look = Look(_countable(), writes=_is_distributed())
        self._look.places.edges(*edges)
        self._attribution = Attribution(self._look, tracker, inputs)
        self._counters: dict[str, Any] = {}
        self._peaks: dict[str, dict[str, int]] = {}
        self._limits: dict[str, list[limits.Reading]] = {}
        """By moment, what was taken of the process's own limits."""
        self._notes: set[str] = set()
        self._outside: list[tuple[int, int]] = []
        """Phase and line around each backward that runs: a re-entrant checkpoint starts one inside another."""
        self._attribution.begin()
        for device in self._devices():
            self._peaks[device] = allocator.highest(device)
        self._history = History.begin(self._indices(), self._notes)
        self._recorded: dict[str, Recorded] = {}
        self.found: Found | None = None
        """Once `records` has worked it out."""
        self.settled = True
        """Whether the step before was watched: else the batch that it left behind is not known."""
        self.samples: Samples | None = None
        """Some of the batch; `None` where nobody asked for this look."""
        self._look.enter()

    def on_raise(self, tell: Callable[[BaseException], None]) -> None:
        """Have `tell` called with what an operator raises; it must not raise."""
        self._look.raised = tell

    def syncs(self) -> tuple[str, dict[str, Any]] | None:
        """Where the step made the CPU wait: message and data; `None` where it did not."""
        return self._look.syncs.told(self.step)

    @property
    def broken(self) -> str | None:
        """Why the look was given up; `None` where it goes on."""
        if self._look.broken is None and time.monotonic_ns() - self._look.began > _LONGEST_NS:
            self._look.broken = f"the step took more than {_LONGEST_NS // 10**9} s"
        return self._look.broken

    def loading(self) -> None:
        """A loader is about to yield."""
        self._look.phase = DATA

    def loaded(self, batch: Any) -> None:
        """A loader has yielded, or has ended (`None`)."""
        self._look.phase = FORWARD
        if batch is not None:
            self._look.took(batch)
            if self.samples is not None:
                self.samples.loaded(batch)

    def entered(self, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """A root module is called, where such calls are seen."""
        if self.samples is not None:
            self.samples.entered(given, named)

    def backward_begins(self, roots: list[Any], frame: FrameType, first: bool) -> None:
        """A backward begins at `roots`, called from `frame`; `first` of its step or a later one."""
        look = self._look
        if first:
            self._moment("forward_end")
        self._attribution.forward_ended(roots, first)
        self._outside.append((look.phase, look.places.edge))
        look.phase, look.places.edge = BACKWARD, look.places.line(frame)

    def backward_ended(self) -> None:
        """That backward has returned, or raised."""
        if self._outside:
            self._look.phase, self._look.places.edge = self._outside.pop()

    def hold(self, made: list[Any]) -> None:
        """What the last forward pass has returned, in a program that only infers: it may live into this step."""
        self._attribution.hold(made)

    def forward_ended(self, made: list[Any]) -> None:
        """A step that is a forward pass is at its end; it returns `made`."""
        self._moment("forward_end")
        self._attribution.forward_ended(made)

    def optimizer_begins(self, frame: FrameType, first: bool) -> None:
        """An optimizer's step begins, called from `frame`; `first` of its step or a later one."""
        look = self._look
        if first:
            self._moment("backward_end")
            self._attribution.backward_ended()
        look.phase, look.places.edge = OPTIMIZER, look.places.line(frame)

    def optimizer_ended(self) -> None:
        """An optimizer's step has ended."""
        self._look.phase, self._look.places.edge = FORWARD, -1

    def step_ended(self) -> None:
        """The step is over."""
        try:
            self._look.leave()
            self._moment("step_end")
            self._attribution.step_ended()
        finally:
            if self._history is not None:
                self._recorded = self._history.end()

    def leave(self) -> None:
        """Watching is over, in the middle of a step: nothing is followed any more."""
        self._look.leave()
        if self._history is not None:
            self._history.drop()

    def records(self) -> list[wire.Record]:
        """What was found, once the step has ended. Raises what goes wrong on the way."""
        for device in self._devices():
            self._counters[f"{device} peak"] = self._at_peak(device)
        with _uncollected():
            found = Found(self._look, self._attribution, self._tracker.modules(), self.step, self._recorded)
            self.found = found
            return found.records(self._counters, sorted({*self._tracker.notes, *self._notes}), self._limits)

    def _at_peak(self, device: str) -> dict[str, int] | None:
        """The allocator's counters at the step's peak, for want of its own record: its running maxima, where this step
        has raised them. What had been reserved and what waited for another stream was not counted at that instant."""
        before, highest = self._peaks.get(device), allocator.highest(device)
        if before is None or any(highest[name] <= before[name] for name in ("requested", "allocated")):
            return None
        known = [one["reserved"] for name, one in self._counters.items() if name.startswith(f"{device} ") and one]
        highest["active"] = highest["allocated"]
        highest["reserved"] = max([*known, highest["allocated"]])
        return highest

    def _moment(self, name: str) -> None:
        self._look.moment(name)
        self._limits[name] = limits.read()
        for device in self._devices():
            self._counters[f"{device} {name}"] = allocator.counters(device)
        if self._history is not None:
            self._history.mark(name, self._indices())

    def _devices(self) -> list[str]:
        """The CUDA devices that something of this look lives on."""
        if not torch.cuda.is_initialized():
            return []
        return sorted(self._look.devices)

    def _indices(self) -> list[int]:
        return [int(device.partition(":")[2]) for device in self._devices()]


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without cyclic collections of this thread's making: what we build here is much and holds no circles, and each
    collection would walk over everything that the person has."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _countable() -> frozenset[Any]:
    """Operators whose floating-point operations torch knows how to count."""
    from torch.utils.flop_counter import flop_registry

    return frozenset(
        getattr(packet, name)
        for packet in flop_registry
        if isinstance(packet, torch._ops.OpOverloadPacket)
        for name in packet.overloads()
    )


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
