"""What a GPU is. Source: NVML; cores and SMs by NVIDIA's tables where NVML tells only one of them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from memtop.collectors.nvml_devices import Gpu
from memtop.collectors.nvml_errors import Calls
from memtop.collectors.nvml_memory import read_memory
from memtop.model.specs import GpuSpec
from memtop.model.text import harmless

ARCHITECTURES: Final = {
    2: "Kepler",
    3: "Maxwell",
    4: "Pascal",
    5: "Volta",
    6: "Turing",
    7: "Ampere",
    8: "Ada Lovelace",
    9: "Hopper",
    10: "Blackwell",
    13: "Rubin",
}
"""By `nvmlDeviceArchitecture_t`."""

CORES_PER_SM: Final = {
    **dict.fromkeys(("3.0", "3.2", "3.5", "3.7"), 192),
    **dict.fromkeys(("5.0", "5.2", "5.3", "6.1", "6.2"), 128),
    **dict.fromkeys(("6.0", "7.0", "7.2", "7.5", "8.0"), 64),
    **dict.fromkeys(("8.6", "8.7", "8.9", "9.0", "10.0", "10.3", "11.0", "12.0", "12.1"), 128),
}
"""FP32 cores of one SM by compute capability: CUDA programming guide, "Compute Capabilities"."""

_SM, _MEMORY = 1, 2
"""`nvmlClockType_t`."""


class _Asker(msgspec.Struct, frozen=True):
    calls: Calls
    gpu: Gpu

    def own(self, what: str | None, names: str | tuple[str, ...], *arguments: Any) -> Any:
        """Of the device itself: of a MIG instance, what its own handle says."""
        return self.calls.ask(self.gpu.uuid, what, names, self.gpu.handle, *arguments)

    def body(self, what: str | None, names: str | tuple[str, ...], *arguments: Any) -> Any:
        """Of the physical GPU."""
        return self.calls.ask(self.gpu.body.uuid, what, names, self.gpu.body.handle, *arguments)

    def text(self, what: str, name: str) -> str | None:
        """A line of the driver's, made harmless."""
        answer = self.own(what, name)
        return harmless(answer, 100) or None if isinstance(answer, str) else None


def read_spec(calls: Calls, gpu: Gpu, visible_as: str | None) -> GpuSpec:
    """The facts of one GPU or MIG instance; what can't be known is `None`."""
    ask = _Asker(calls, gpu)
    capability = _capability(ask)
    cores, sms = _cores(ask, capability)
    architecture = ask.body("architecture", "nvmlDeviceGetArchitecture")
    bus_width = None if gpu.chip else ask.own("bus width", "nvmlDeviceGetMemoryBusWidth")
    clock_memory = ask.body("highest memory clock", "nvmlDeviceGetMaxClockInfo", _MEMORY)
    ecc = ask.body("ECC", "nvmlDeviceGetEccMode")
    power = ask.body("power limit", ("nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetPowerManagementLimit"))
    return GpuSpec(
        index=gpu.index,
        uuid=gpu.uuid,
        name=ask.text("name", "nvmlDeviceGetName"),
        visible_as=visible_as,
        architecture=ARCHITECTURES.get(architecture),
        compute_capability=capability,
        sms=sms,
        cuda_cores=cores,
        memory=_memory_total(calls, gpu),
        bus_width=bus_width,
        # Both edges of the clock carry data, and NVML tells the clock of the pins.
        bandwidth=2 * clock_memory * 1_000_000 * bus_width // 8 if clock_memory and bus_width else None,
        pcie_generation=ask.body("PCIe generation", "nvmlDeviceGetCurrPcieLinkGeneration"),
        pcie_generation_max=ask.body("highest PCIe generation", "nvmlDeviceGetMaxPcieLinkGeneration"),
        pcie_width=ask.body("PCIe width", "nvmlDeviceGetCurrPcieLinkWidth"),
        pcie_width_max=ask.body("highest PCIe width", "nvmlDeviceGetMaxPcieLinkWidth"),
        driver=_driver(calls),
        cuda=_cuda(calls),
        power_limit_w=power / 1000 if power is not None else None,
        clock_sm_max_mhz=ask.body("highest SM clock", "nvmlDeviceGetMaxClockInfo", _SM),
        clock_memory_max_mhz=clock_memory,
        ecc=bool(ecc[0]) if ecc else None,
        mig=gpu.mig,
        parent_uuid=gpu.chip.uuid if gpu.chip else None,
    )


def _capability(ask: _Asker) -> str | None:
    answer = ask.body("compute capability", "nvmlDeviceGetCudaComputeCapability")
    return f"{answer[0]}.{answer[1]}" if answer else None


def _cores(ask: _Asker, capability: str | None) -> tuple[int | None, int | None]:
    """(CUDA cores, SMs): NVML counts cores of a whole GPU and SMs of a MIG instance, the table gives the other."""
    each = CORES_PER_SM.get(capability or "")
    if ask.gpu.chip:
        attributes = ask.own("SMs", "nvmlDeviceGetAttributes")
        sms: int | None = attributes.multiprocessorCount if attributes else None
        return (sms * each if sms and each else None), sms
    cores = ask.own("CUDA cores", "nvmlDeviceGetNumGpuCores")
    return cores, (cores // each if cores and each and cores % each == 0 else None)


def _memory_total(calls: Calls, gpu: Gpu) -> int | None:
    memory = read_memory(calls, gpu)
    return memory.total if memory else None


def _driver(calls: Calls) -> str | None:
    answer = calls.ask("", "driver version", "nvmlSystemGetDriverVersion")
    return harmless(answer, 60) or None if isinstance(answer, str) else None


def _cuda(calls: Calls) -> str | None:
    answer = calls.ask("", "CUDA version", ("nvmlSystemGetCudaDriverVersion_v2", "nvmlSystemGetCudaDriverVersion"))
    return f"{answer // 1000}.{answer % 1000 // 10}" if answer else None
