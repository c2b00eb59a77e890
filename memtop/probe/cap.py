"""A cap on what torch may reserve of a CUDA device, for a trial that is to fit a smaller device than the one at hand.

Set where the monitor asks for it (`memtop fit --memory`), in a process that it has started for that alone. Nothing here
begins CUDA: the cap waits until the program does.
"""

from __future__ import annotations

import contextlib
import os

import torch

VARIABLE = "MEMTOP_CUDA_CAP"
"""Bytes, in the target's environment."""
_capped: set[int] = set()


def await_cuda() -> None:
    """Cap the device that CUDA begins with, as soon as it begins."""
    if os.environ.get(VARIABLE, "").isdecimal() and torch.version.cuda is not None:
        torch.cuda._lazy_call(_begun)


def _begun() -> None:
    with contextlib.suppress(Exception):
        _cap(torch.cuda.current_device())


def cap_others() -> None:
    """Cap the devices that the program has come to use since: once each, without touching one that it does not use."""
    if not os.environ.get(VARIABLE, "").isdecimal() or not torch.cuda.is_initialized():
        return
    for device in range(torch.cuda.device_count()):
        if device not in _capped and torch._C._cuda_memoryStats(device)["reserved_bytes"]["all"]["current"]:
            _cap(device)


def _cap(device: int) -> None:
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, int(os.environ[VARIABLE]) / total), device)
    _capped.add(device)
