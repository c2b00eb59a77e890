"""What a fake machine holds: values that write the description file which `nvml.c` reads.

A figure may be an NVML error's name (`"not_supported"`, `"no_permission"`), `"n/a"` for NVML's "value not
available", or `None` to leave the key out (which the library answers with not supported).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

GIB = 2**30
Figure = int | str | None


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process on a GPU or on a MIG instance."""

    pid: int
    memory: Figure = GIB
    name: str | None = "/usr/bin/python"
    kind: str = "compute"
    """One or several of `compute`, `graphics`, `mps`."""
    sm: Figure = None
    """Per cent of the SMs, for per-process utilization."""


@dataclass(frozen=True, kw_only=True)
class _Device:
    name: str
    uuid: str
    memory_total: Figure
    memory_used: Figure
    memory_reserved: Figure
    memory_free: Figure = None
    """Left out: total minus used minus reserved."""
    state: str | None = None
    """An error that every call on this device answers: `gpu_is_lost`, `reset_required`."""
    processes: tuple[Process, ...] = ()
    fail: Mapping[str, str] = field(default_factory=dict)
    """Error by C function name, on this device alone."""
    slow: Mapping[str, int] = field(default_factory=dict)
    """Milliseconds by C function name, on this device alone."""

    def free(self) -> Figure:
        """Free memory: as told, or what is left of the total."""
        if self.memory_free is not None:
            return self.memory_free
        if not isinstance(self.memory_total, int):
            return self.memory_total
        return self.memory_total - sum(x for x in (self.memory_used, self.memory_reserved) if isinstance(x, int))


@dataclass(frozen=True, kw_only=True)
class Instance(_Device):
    """A MIG instance: a `1g.18gb` slice of an H200 unless told otherwise."""

    name: str = "NVIDIA H200 MIG 1g.18gb"
    uuid: str = "MIG-11111111-0000-0000-0000-000000000000"
    memory_total: Figure = 16 * GIB
    memory_used: Figure = 2 * GIB
    memory_reserved: Figure = 0
    gpu_instance: int = 7
    compute_instance: int = 0
    sms: Figure = 16
    bar1_total: Figure = 32 * GIB
    bar1_used: Figure = 2**20
    compute_capability: str | None = "9.0"


@dataclass(frozen=True, kw_only=True)
class Gpu(_Device):
    """A physical GPU: an H200 unless told otherwise. Power in mW, clocks in MHz, as NVML tells them."""

    name: str = "NVIDIA H200"
    uuid: str = "GPU-00000000-0000-0000-0000-000000000000"
    memory_total: Figure = 143771 * 2**20
    memory_used: Figure = 10 * GIB
    memory_reserved: Figure = 600 * 2**20
    architecture: Figure = 9
    compute_capability: str | None = "9.0"
    cuda_cores: Figure = 16896
    bus_width: Figure = 6144
    pci_bus_id: str = "00000000:1B:00.0"
    pci_device_id: Figure = 0x233510DE
    bus_type: Figure = 2
    pcie_generation: Figure = 4
    pcie_generation_max: Figure = 5
    pcie_width: Figure = 16
    pcie_width_max: Figure = 16
    pcie_tx: Figure = 12000
    pcie_rx: Figure = 34000
    power: Figure = 512_250
    power_limit: Figure = 700_000
    clock_graphics: Figure = 1755
    clock_sm: Figure = 1755
    clock_memory: Figure = 3201
    clock_video: Figure = 1365
    max_clock_graphics: Figure = 1980
    max_clock_sm: Figure = 1980
    max_clock_memory: Figure = 3201
    max_clock_video: Figure = 1545
    temperature: Figure = 61
    temperature_shutdown: Figure = 92
    temperature_slowdown: Figure = 89
    fan: Figure = 41
    fans: Figure = 1
    utilization: Figure = 62
    memory_utilization: Figure = 33
    encoder: Figure = 3
    decoder: Figure = 4
    performance_state: Figure = 0
    persistence: Figure = 1
    compute_mode: Figure = 0
    display_mode: Figure = 0
    display_active: Figure = 0
    ecc: Figure = 1
    ecc_errors: Figure = 0
    throttle: Figure = 0
    bar1_total: Figure = 256 * GIB
    bar1_used: Figure = 2**20
    mig: Figure = None
    """1 where MIG mode is on, 0 where it is off, left out where the GPU knows no MIG."""
    serial: str | None = "1650000000001"
    instances: tuple[Instance, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The whole description."""

    gpus: tuple[Gpu, ...] = (Gpu(),)
    driver: str = "580.65.06"
    nvml: str = "13.580.65.06"
    cuda: Figure = 13000
    init: str | None = None
    """The error of `nvmlInit`: `lib_rm_version_mismatch`, `driver_not_loaded`, `no_permission`."""
    fail: Mapping[str, str] = field(default_factory=dict)
    """Error by C function name, on every device."""
    slow: Mapping[str, int] = field(default_factory=dict)
    """Milliseconds by C function name, on every device."""

    def text(self) -> str:
        """The description file."""
        lines = _pairs(self)
        for index, gpu in enumerate(self.gpus):
            lines += [f"[gpu {index}]", *_device(gpu)]
            for number, instance in enumerate(gpu.instances):
                lines += [f"[mig {number}]", *_device(instance)]
        return "\n".join(lines) + "\n"


def _device(device: Gpu | Instance) -> list[str]:
    lines = [*_pairs(device), f"memory_free = {device.free()}"]
    for process in device.processes:
        lines += ["[process]", *_pairs(process)]
    return lines


def _pairs(value: Machine | Gpu | Instance | Process) -> list[str]:
    known = {f.name: getattr(value, f.name) for f in fields(value)}
    lines = [f"{k} = {v}" for k, v in known.items() if isinstance(v, (int, str)) and k != "memory_free"]
    for key in ("fail", "slow"):
        lines += [f"{key}.{function} = {what}" for function, what in known.get(key, {}).items()]
    return lines
