"""The categories of memory, their order on screen, and what each one holds.

The names of the tensor categories are PyTorch's own (`torch.profiler`'s Category and
`torch.distributed._tools.mem_tracker`). Order matters: it is the order of the stacked bar from left to right,
of the table from top to bottom, and of the CSV columns.
"""

from __future__ import annotations

from typing import Final

TENSORS: Final = (
    "parameters",
    "buffers",
    "gradients",
    "optimizer_state",
    "inputs",
    "activations",
    "temporaries",
    "other_tensors",
)
"""What live tensors are. `other_tensors` is what could not be attributed: our error term, may be negative."""

CUDA_AROUND: Final = ("rounding", "pending_free", "cached", "context", "other_processes", "free")
"""What surrounds the tensors on a CUDA device."""

CPU_AROUND: Final = ("runtime", "unbacked", "other_processes", "free")
"""What surrounds the tensors in main memory. `unbacked` is never above 0."""

CUDA: Final = TENSORS + CUDA_AROUND
"""Every category of a CUDA device's memory record, in order."""

CPU: Final = TENSORS + CPU_AROUND
"""Every category of the CPU's memory record, in order."""

ALL: Final = (
    *TENSORS,
    "rounding",
    "pending_free",
    "cached",
    "context",
    "runtime",
    "unbacked",
    "other_processes",
    "free",
)
"""The union, in order: the CSV's columns."""

MEANING: Final[dict[str, str]] = {
    "parameters": "weights: storages of nn.Parameters reachable from a module or an optimizer",
    "buffers": "registered module buffers: BatchNorm statistics, rotary tables",
    "gradients": ".grad of parameters",
    "optimizer_state": "tensors in optimizer.state: momentum, exp_avg, exp_avg_sq, step",
    "inputs": "the data batch, its labels, and its copies on the device",
    "activations": "kept between forward and backward: saved for backward, or outputs still referenced",
    "temporaries": "live tensors that are none of the above: gradients of activations, workspaces",
    "other_tensors": "live tensor bytes that could not be attributed: memtop's own error term",
    "rounding": "allocated minus requested: the allocator's block rounding",
    "pending_free": "freed by Python, still waited for by another stream",
    "cached": "held by torch's allocator for no tensor",
    "context": "this process outside torch's allocator: CUDA context, kernels, libraries, NCCL",
    "runtime": "the training's processes minus resident tensors: Python, libraries, allocator slack",
    "unbacked": "tensor bytes allocated and not yet resident (never above 0)",
    "other_processes": "used by others on the device, the driver's own reserve included",
    "free": "what is left",
}
"""One line a category, for legends and help."""


def of_device(device: str) -> tuple[str, ...]:
    """The categories of a device's memory record, in order; `device` is `cpu`, `cuda:N` or `mps`."""
    return CUDA if device.startswith("cuda") else CPU
