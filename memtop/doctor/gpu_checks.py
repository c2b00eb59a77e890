"""Checks of NVML: the driver, the GPUs that it knows, and whether their processes can be seen."""

from __future__ import annotations

import msgspec

from memtop.doctor.bounded import Later
from memtop.doctor.report import Finding, ok, warning
from memtop.doctor.torch_checks import built_with, driver_fits
from memtop.doctor.worker import Worker
from memtop.model.records import DeviceRecord
from memtop.model.specs import GpuSpec
from memtop.model.text import harmless


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What NVML answered."""

    reason: str | None
    """Why there is no GPU; `None` where there is one."""
    remedy: str | None
    gpus: tuple[GpuSpec, ...]
    note: str | None
    """What NVML can't tell of them."""
    processes: bool
    """Whether every GPU's processes can be seen."""


def ask() -> Seen:
    """Open NVML, read everything once, and close it. May hang in the driver: give it a thread of its own."""
    from memtop.collectors.nvml import Nvml, Unavailable

    nvml = Nvml.open()
    if isinstance(nvml, Unavailable):
        return Seen(reason=nvml.reason, remedy=nvml.remedy, gpus=(), note=None, processes=False)
    try:
        gpus, records = nvml.specs(), nvml.sample(0.0)
        visible = all(_visible(record) for gpu, record in zip(gpus, records, strict=True) if not _is_cut(gpu))
        return Seen(reason=None, remedy=None, gpus=gpus, note=_note(nvml.note), processes=visible)
    finally:
        nvml.close()


def _is_cut(gpu: GpuSpec) -> bool:
    """Whether its instances answer for it."""
    return bool(gpu.mig) and gpu.parent_uuid is None


def _visible(record: DeviceRecord) -> bool:
    return record.processes is not None and all(process.bytes is not None for process in record.processes)


def _note(note: str | None) -> str | None:
    """Without what the check of processes says."""
    parts = [part for part in (note or "").split("; ") if part and not part.startswith("GPU processes:")]
    return "; ".join(parts) or None


def driver(seen: Seen) -> Finding:
    """The driver and its GPUs."""
    if seen.reason is not None:
        return warning(f"no GPU: {seen.reason}", seen.remedy)
    names = ", ".join(harmless(gpu.name or gpu.uuid) for gpu in seen.gpus)
    first = seen.gpus[0] if seen.gpus else None
    version = (first.driver if first else None) or "of unknown version"
    text = f"driver {harmless(version)}: {names}"
    return warning(f"{text}; {seen.note}", "the CPU and all other GPUs are watched") if seen.note else ok(text)


def processes(seen: Seen) -> Finding:
    """Whether device memory can be told apart by process."""
    if seen.reason is not None:
        return ok("no GPU to ask for its processes")
    if seen.processes:
        return ok("each GPU says who uses its memory")
    message = "processes on a GPU can't be seen: the CUDA context counts as other processes"
    return warning(message, "in a container: --pid=host; on WSL2 and under WDDM the driver does not say")


def fits(worker: Worker, gpus: Later[Seen], limit: float) -> Finding:
    """Whether the driver is new enough for torch's CUDA."""
    built = built_with(worker)
    if built is None:
        return ok("torch uses no CUDA")
    seen = gpus.get(limit)
    return driver_fits(built, next((gpu.cuda for gpu in seen.gpus if gpu.cuda), None))
