"""What does not change while we run: facts of the host and of each GPU.

`None` means not reported; zero means measured as zero. Sizes are bytes, clocks MHz, power W.
"""

from __future__ import annotations

import msgspec


class NumaNode(msgspec.Struct, frozen=True, kw_only=True):
    """One NUMA node. Source: `/sys/devices/system/node`."""

    node: int
    cpus: str
    """The CPUs of the node as the kernel lists them, `0-7,16-23`."""
    memory: int | None
    """Bytes of RAM attached to the node."""


class HostSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The host: CPU, RAM, limits. Sources: `/proc/cpuinfo`, `/sys`, psutil, archspec."""

    hostname: str
    system: str
    """Kernel name and release, `Linux 6.18.44`."""
    cpu_model: str | None
    cpu_vendor: str | None
    microarchitecture: str | None
    """Generation by archspec, `zen3`, `sapphirerapids`."""
    sockets: int | None
    cores: int | None
    """Physical cores."""
    threads: int | None
    """Logical CPUs of the host."""
    usable_threads: int | None
    """Logical CPUs this process may run on (affinity, cgroup quota rounded up)."""
    frequency_max_mhz: float | None
    caches: dict[str, int]
    """Bytes by level over the whole host, `{"L1d": ..., "L2": ..., "L3": ...}`."""
    features: tuple[str, ...]
    """Instruction sets that matter for training, as the kernel names them (avx2, avx512f, avx512_bf16, amx_bf16)."""
    ram: int
    """Bytes of RAM."""
    swap: int | None
    cgroup_limit: int | None
    """Bytes this process's cgroup may use; `None` where no limit holds."""
    numa: tuple[NumaNode, ...]


class GpuSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU or MIG instance. Source: NVML."""

    index: int
    """NVML's index. Not torch's ordinal: that is in `visible_as`."""
    uuid: str
    """`GPU-...` or `MIG-...`: how a device is addressed."""
    name: str | None
    visible_as: str | None
    """`cuda:N` as the target sees it, after CUDA_VISIBLE_DEVICES; `None` where hidden from it."""
    architecture: str | None
    compute_capability: str | None
    sms: int | None
    """Streaming multiprocessors."""
    cuda_cores: int | None
    memory: int | None
    """Bytes of device memory (NVML v2 total)."""
    bus_width: int | None
    """Memory bus, bits."""
    bandwidth: int | None
    """Theoretical memory bandwidth, bytes per second: 2 x max memory clock x bus width / 8."""
    pcie_generation: int | None
    """The link's generation now; idle GPUs step down."""
    pcie_generation_max: int | None
    pcie_width: int | None
    pcie_width_max: int | None
    driver: str | None
    cuda: str | None
    """The newest CUDA the driver supports, `13.0`."""
    power_limit_w: float | None
    clock_sm_max_mhz: int | None
    clock_memory_max_mhz: int | None
    ecc: bool | None
    mig: bool | None
    """Whether MIG mode is on (of a parent GPU) or this is a MIG instance."""
    parent_uuid: str | None
    """The physical GPU of a MIG instance."""
