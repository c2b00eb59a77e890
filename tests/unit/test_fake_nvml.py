"""The stand-in library itself: its layouts are nvml.h's, and it fails as the real one does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tests.fake_nvml.builder as builder
from tests.fake_nvml.describe import GIB, Gpu, Instance, Machine, Process
from tests.fake_nvml.fixtures import LoadedNvml

pynvml = pytest.importorskip("pynvml")
Load = Callable[..., LoadedNvml]
MACHINE = Machine(
    gpus=(
        Gpu(
            mig=1,
            processes=(Process(pid=11, memory=5 * GIB, sm=40),),
            instances=(Instance(processes=(Process(pid=12, memory=3 * GIB),)),),
        ),
    )
)


def test_before_init_nothing_answers(loaded_nvml: Load) -> None:
    loaded_nvml(MACHINE)
    with pytest.raises(pynvml.NVMLError_Uninitialized):
        pynvml.nvmlDeviceGetCount()


def test_structures_are_read_bit_by_bit(loaded_nvml: Load) -> None:
    loaded_nvml(MACHINE)
    pynvml.nvmlInit()
    gpu = pynvml.nvmlDeviceGetHandleByUUID(Gpu().uuid)
    two = pynvml.nvmlDeviceGetMemoryInfo(gpu, version=pynvml.nvmlMemory_v2)
    assert (two.total, two.used, two.reserved) == (143771 * 2**20, 10 * GIB, 600 * 2**20)
    one = pynvml.nvmlDeviceGetMemoryInfo(gpu)
    assert (one.total, one.used, one.free) == (two.total, two.used + two.reserved, two.free)
    pci = pynvml.nvmlDeviceGetPciInfo(gpu)
    assert (pci.busId, pci.bus, pci.busIdLegacy) == ("00000000:1B:00.0", 0x1B, "0000:1B:00.0")
    assert pynvml.nvmlDeviceGetTemperature(gpu, 0) == 61
    if hasattr(pynvml, "nvmlDeviceGetTemperatureV"):
        assert pynvml.nvmlDeviceGetTemperatureV(gpu, 0) == 61
    assert pynvml.nvmlDeviceGetBAR1MemoryInfo(gpu).bar1Total == 256 * GIB
    assert pynvml.nvmlDeviceGetCudaComputeCapability(gpu) == (9, 0)
    (use,) = pynvml.nvmlDeviceGetProcessUtilization(gpu, 0)
    assert (use.pid, use.smUtil) == (11, 40)
    (field,) = pynvml.nvmlDeviceGetFieldValues(gpu, [pynvml.NVML_FI_DEV_NVLINK_LINK_COUNT])
    assert field.nvmlReturn == pynvml.NVML_ERROR_NOT_SUPPORTED


def test_processes_and_instances(loaded_nvml: Load) -> None:
    loaded_nvml(MACHINE)
    pynvml.nvmlInit()
    gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
    mig = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, 0)
    rows = [(p.pid, p.usedGpuMemory, p.gpuInstanceId) for p in pynvml.nvmlDeviceGetComputeRunningProcesses(gpu)]
    assert rows == [(11, 5 * GIB, 2**32 - 1), (12, 3 * GIB, 7)]
    assert [p.pid for p in pynvml.nvmlDeviceGetComputeRunningProcesses_v2(mig)] == [12]
    attributes = pynvml.nvmlDeviceGetAttributes(mig)
    assert (attributes.multiprocessorCount, attributes.memorySizeMB) == (16, 16384)
    parent = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(mig)
    assert pynvml.nvmlDeviceGetUUID(parent) == Gpu().uuid
    with pytest.raises(pynvml.NVMLError_NotFound):
        pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, 1)
    with pytest.raises(pynvml.NVMLError_NotSupported):
        pynvml.nvmlDeviceGetAttributes(gpu)


def test_a_slow_call_takes_its_time(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(slow={"nvmlDeviceGetFanSpeed": 40}))
    pynvml.nvmlInit()
    gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
    before = time.monotonic()
    assert pynvml.nvmlDeviceGetFanSpeed(gpu) == 41
    assert time.monotonic() - before >= 0.04


def test_an_absent_function_is_no_symbol(loaded_nvml: Load) -> None:
    fake = loaded_nvml(Machine(), absent=["nvmlDeviceGetFanSpeed"])
    assert not hasattr(fake.handle, "nvmlDeviceGetFanSpeed")
    assert hasattr(fake.handle, "nvmlDeviceGetFanSpeed_v2")


def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(builder.shutil, "which", lambda name: None)
    with pytest.raises(builder.NoCompiler, match="MEMTOP_NO_CC"):
        builder.build()
