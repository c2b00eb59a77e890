"""The counters of torch's CUDA caching allocator, and what torch says of its devices."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import torch


class Mark(NamedTuple):
    """Where one device's allocator stands: its bytes as it counts them, and how far it has come."""

    changes: int
    """Blocks handed out and taken back so far: `allocation.all.allocated` plus `.freed`."""
    requested: int
    """What was asked for, of blocks in use and of those that another stream still waits for."""
    allocated: int


def counters(device: str) -> dict[str, int] | None:
    """Bytes of one device, or `None` for the CPU (which keeps no count) and where CUDA has not begun.

    Indexes `torch._C._cuda_memoryStats` directly: `torch.cuda.memory_allocated()` spends 132 µs flattening a dict.

    torch takes a block off `allocated_bytes` when it is freed, but off `requested_bytes` only when no other stream
    waits for it any more (`free` and `free_block` of c10/cuda/CUDACachingAllocator.cpp). What waits is left out here,
    so `requested` is what live tensors asked for; it is low by the rounding of the waiting blocks.
    """
    if not device.startswith("cuda:") or not torch.cuda.is_initialized():
        return None
    stats = torch._C._cuda_memoryStats(int(device[5:]))
    allocated, active = stats["allocated_bytes"]["all"]["current"], stats["active_bytes"]["all"]["current"]
    return {
        "requested": stats["requested_bytes"]["all"]["current"] - (active - allocated),
        "allocated": allocated,
        "active": active,
        "reserved": stats["reserved_bytes"]["all"]["current"],
        "retries": stats["num_alloc_retries"],
    }


def mark(device: int) -> Mark:
    """Where the allocator of one CUDA device, by its index, stands."""
    stats = torch._C._cuda_memoryStats(device)
    blocks = stats["allocation"]["all"]
    return Mark(
        blocks["allocated"] + blocks["freed"],
        stats["requested_bytes"]["all"]["current"],
        stats["allocated_bytes"]["all"]["current"],
    )


def highest(device: str) -> dict[str, int]:
    """The highest of each counter since the process began (or since the person reset it): bytes of one CUDA device."""
    stats = torch._C._cuda_memoryStats(int(device[5:]))
    return {
        "requested": stats["requested_bytes"]["all"]["peak"],
        "allocated": stats["allocated_bytes"]["all"]["peak"],
        "active": stats["active_bytes"]["all"]["peak"],
        "reserved": stats["reserved_bytes"]["all"]["peak"],
        "retries": stats["num_alloc_retries"],
    }


def memory(device: str) -> int:
    """Bytes that a device has in all; for the CPU what this process's container may use of them."""
    if device.startswith("cuda:") and torch.cuda.is_initialized():
        return int(torch.cuda.get_device_properties(int(device[5:])).total_memory)
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(whole, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # No such file, or `max`.
        return whole


def share(device: str) -> int | None:
    """Bytes that torch may reserve of a CUDA device where a person has set a share of it
    (`set_per_process_memory_fraction`); `None` for the whole device, and where torch can't say."""
    fraction = getattr(torch.cuda, "get_per_process_memory_fraction", None)
    if fraction is None or not device.startswith("cuda:") or not torch.cuda.is_initialized():
        return None
    try:
        set_to = float(fraction(int(device[5:])))
    except (AttributeError, RuntimeError):  # Another allocator's back end has no shares.
        return None
    return int(set_to * memory(device)) if set_to < 1 else None


def facts() -> dict[str, Any]:
    """What a `hello` says of this torch. Asks for devices only where CUDA has begun: asking would begin it."""
    backend = None
    devices = []
    if torch.version.cuda is not None and torch.cuda.is_initialized():
        backend = torch.cuda.get_allocator_backend()
        devices = [_device(index) for index in range(torch.cuda.device_count())]
    return {"torch": torch.__version__, "cuda": torch.version.cuda, "allocator": backend, "devices": devices}


def _device(index: int) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(index)
    uuid = getattr(properties, "uuid", None)
    return {
        "name": f"cuda:{index}",
        "uuid": None if uuid is None else str(uuid),
        "title": properties.name,
        "total": properties.total_memory,
    }
