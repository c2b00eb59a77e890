"""A step that ran on the CPU as it would run on a CUDA device: which of its storages would not be there, which others.

What is known to differ, and is put right: what a loader makes stays in host memory but for the batch; Adam's `step`
counters stay there; dropout's masks are bytes, and attention with dropout is fused; optimizers take their `foreach`
road by default, whose temporaries are a whole list of tensors, as large as all that is trained; matrix products take a
workspace for cuBLAS, once a thread.

What is not: cuDNN's recurrent networks and what it saves for backward, and the workspaces of convolutions, which only
the upper end of a plan has.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from memtop.model.fused import fused_attention, masks_of_bytes
from memtop.model.step_events import Birth, StepEvents

CUBLAS: Final = 8_519_680
"""cuBLAS's workspace for each thread that multiplies matrices, bytes: 2 x 4096 KiB + 8 x 16 KiB
(aten/src/ATen/cuda/CublasHandlePool.cpp; cublasLt shares it)."""
CUBLAS_HOPPER: Final = 32 * 1024**2
"""The same on devices of compute capability 9."""
MULTIPLY: Final = frozenset({"aten.mm", "aten.addmm", "aten.bmm", "aten.baddbmm", "aten.mv", "aten.addmv", "aten.dot"})
"""Operators that ask cuBLAS."""
CONVOLVE: Final = frozenset({"aten.convolution", "aten.convolution_backward", "aten.cudnn_convolution"})

_FOREACH: Final = frozenset({"Adam", "AdamW", "SGD"})
"""Optimizers of torch.optim whose `foreach` road is known: where the ordinary one makes something on the way (Adam's
denominator, weight decay), this makes one of it for each tensor, all at once. A fused one makes nothing on either."""


def on_cuda(events: StepEvents, optimizers: list[str] | None = None) -> tuple[StepEvents, list[str]]:
    """The step as it would be on CUDA, and notes on what could not be told. `optimizers` are class names, as a `model`
    record has them; `None` where they are not known. A step that ran on CUDA is returned as it is."""
    if events.device.startswith("cuda"):
        return events, []
    events = masks_of_bytes(fused_attention(_without(events, _of_the_host(events))))
    return _foreach(events, optimizers)


def _of_the_host(events: StepEvents) -> set[int]:
    """Storages that would be in host memory: what a loader makes on the way to a batch, and `step` counters."""
    found = set()
    for number, birth in enumerate(events.births):
        category = events.category(number)
        counter = category == "optimizer_state" and not birth.shape and birth.bytes <= 8
        if counter or (events.phase(number) == "data" and category != "inputs"):
            found.add(number)
    return found


def _without(events: StepEvents, gone: set[int]) -> StepEvents:
    """The step without some of its storages. The others keep their numbers."""
    kept = [index for index, (number, _) in enumerate(events.changes) if number not in gone]
    moments = {name: sum(index < at for index in kept) for name, at in events.moments.items()}
    held = [number for number in events.held if number not in gone]
    return replace(events, held=held, changes=[events.changes[index] for index in kept], moments=moments)


def _foreach(events: StepEvents, optimizers: list[str] | None) -> tuple[StepEvents, list[str]]:
    """The optimizer's temporaries as lists of whole tensors, where they are known."""
    begins, ends = events.moments.get("backward_end"), events.moments.get("step_end")
    if begins is None or ends is None:
        return events, []
    own = {
        number
        for number, size in events.changes[begins:ends]
        if size and events.phase(number) == "optimizer" and events.category(number) == "temporaries"
    }
    if not optimizers or any(name not in _FOREACH for name in optimizers):
        named = ", ".join(optimizers or ["the optimizer, which is not known"])
        return events, [f"{named}: its temporaries are taken as on the CPU, CUDA's may be larger"] if own else []
    if not own:
        return events, []
    events = _without(events, own)
    return _with_lists(events, events.moments["backward_end"]), []


def _with_lists(events: StepEvents, at: int) -> StepEvents:
    """One temporary for each gradient that is there, all of them at once, at a place among the changes."""
    sizes = {number: events.births[number].bytes for number in events.held} | dict(events.changes[:at])
    gradients = [number for number, size in sizes.items() if size and events.category(number) == "gradients"]
    category, phase = events.categories.index("temporaries"), events.phases.index("optimizer")
    first = len(events.births)
    made = [Birth(category, phase, 0, 0, 0, sizes[number], []) for number in gradients]
    numbers = range(first, first + len(made))
    lists = [(number, one.bytes) for number, one in zip(numbers, made, strict=True)] + [(one, 0) for one in numbers]
    moments = {name: place + len(lists) * (place > at) for name, place in events.moments.items()}
    changes = [*events.changes[:at], *lists, *events.changes[at:]]
    if moments["step_end"] == at:
        moments["step_end"] += len(lists)
    return replace(events, births=[*events.births, *made], changes=changes, moments=moments)
