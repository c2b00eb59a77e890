"""A cap on what this process may still take, so that running out of memory harms nobody."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from common.cli import Problem

MIB = 2**20


def cap(device: torch.device, size: int) -> None:
    """Let this process take `size` bytes more on the device and no further. Raises `Problem` where that can't be held,
    or where the machine does not have that much to spare."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        _spare(size, free, device)
        taken = torch.cuda.memory_reserved(device)
        torch.cuda.set_per_process_memory_fraction(min(1.0, (taken + size) / total), device)
    elif device.type == "mps":
        most = torch.mps.recommended_max_memory()
        _spare(size, most - torch.mps.driver_allocated_memory(), device)
        torch.mps.set_per_process_memory_fraction((torch.mps.driver_allocated_memory() + size) / most)
    else:
        _cap_address_space(size, device)


def _cap_address_space(size: int, device: torch.device) -> None:
    """What is claimed counts, touched or not: torch's allocator fails at once, as it does where memory has ended."""
    if sys.platform != "linux":
        raise Problem("--device cpu: the cap that makes this safe is held by Linux alone; try --device mps")
    import resource

    _spare(size, _free_memory(), device)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    wanted = pages * resource.getpagesize() + size
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bounds = [each for each in (wanted, soft, hard) if each != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(bounds), hard))


def _spare(size: int, free: int, device: torch.device) -> None:
    """Half of what is free is for others."""
    if size > free // 2:
        raise Problem(f"--cap {size // MIB}: {device} has {free // MIB} MiB free, of which this may take half")


def _free_memory() -> int:
    """Bytes that programs can still take: the machine's, or this container's where that is less."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no such group, or `max`: no limit
        return available
    return min(available, limit - used)
