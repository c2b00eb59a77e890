"""Which GPUs and MIG instances there are. Source: NVML, asked once when the collector opens."""

from __future__ import annotations

from typing import Any

import msgspec

from memtop.collectors.nvml_errors import Calls, line


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """A physical GPU or a MIG instance that answered with its UUID."""

    index: int
    """NVML's index of the physical GPU."""
    uuid: str
    handle: Any
    chip: Gpu | None = None
    """The physical GPU of a MIG instance."""
    mig: bool | None = None
    """MIG mode of a physical GPU; `None` where it knows none."""

    @property
    def body(self) -> Gpu:
        """The physical GPU: what has a temperature, a power draw and a PCIe link."""
        return self.chip or self


def find(calls: Calls) -> tuple[tuple[Gpu, ...], list[str]]:
    """Every GPU, each followed by its MIG instances, and a line for each GPU that can't be opened."""
    gpus: list[Gpu] = []
    problems: list[str] = []
    for index in range(calls.ask("", "number of GPUs", "nvmlDeviceGetCount") or 0):
        found = _open(calls, index)
        gpus += found
        if not found:
            key = f"index {index}"
            fault = calls.gone(key)
            reasons = [line(fault)] if fault else calls.notes(key)
            problems.append(f"GPU {index}: {'; '.join(reasons) or 'it does not tell its UUID'}")
    return tuple(gpus), problems


def _open(calls: Calls, index: int) -> list[Gpu]:
    key = f"index {index}"
    handle = calls.ask(key, "handle", "nvmlDeviceGetHandleByIndex", index)
    uuid = calls.ask(key, "UUID", "nvmlDeviceGetUUID", handle) if handle is not None else None
    if not isinstance(uuid, str) or not uuid:
        return []
    mode = calls.ask(uuid, None, "nvmlDeviceGetMigMode", handle)
    gpu = Gpu(index=index, uuid=uuid, handle=handle, mig=bool(mode[0]) if mode else None)
    return [gpu, *(_instances(calls, gpu) if gpu.mig else [])]


def _instances(calls: Calls, gpu: Gpu) -> list[Gpu]:
    found: list[Gpu] = []
    # Places of instances may be empty: asking for those is answered with "not found" and means nothing.
    for place in range(calls.ask(gpu.uuid, "MIG instances", "nvmlDeviceGetMaxMigDeviceCount", gpu.handle) or 0):
        handle = calls.ask(gpu.uuid, None, "nvmlDeviceGetMigDeviceHandleByIndex", gpu.handle, place)
        uuid = calls.ask(gpu.uuid, "UUID of a MIG instance", "nvmlDeviceGetUUID", handle) if handle else None
        if isinstance(uuid, str) and uuid:
            found.append(Gpu(index=gpu.index, uuid=uuid, handle=handle, chip=gpu, mig=True))
    return found
