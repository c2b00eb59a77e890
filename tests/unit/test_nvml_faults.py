"""Every way in which NVML fails: a null figure, a reason said once, and never an exception."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memtop.collectors.nvml import Nvml, Unavailable
from memtop.collectors.nvml_errors import _FAULTS
from memtop.model.records import DeviceRecord
from tests.fake_nvml.describe import GIB, Gpu, Instance, Machine, Process
from tests.fake_nvml.fixtures import LoadedNvml

Load = Callable[..., LoadedNvml]
SECOND = Gpu(uuid="GPU-11111111-0000-0000-0000-000000000000", pci_bus_id="00000000:43:00.0")

FIGURES = [
    "utilization",
    "memory_utilization",
    "memory_total",
    "memory_used",
    "memory_free",
    "memory_reserved",
    "temperature",
    "power",
    "power_limit",
    "clock_sm_mhz",
    "clock_memory_mhz",
    "fan",
    "throttle",
    "processes",
]


def opened() -> Nvml:
    nvml = Nvml.open()
    assert isinstance(nvml, Nvml), nvml
    return nvml


def figures(record: DeviceRecord) -> list[object]:
    return [getattr(record, name) for name in FIGURES]


def unknown(record: DeviceRecord) -> list[str]:
    return [name for name in FIGURES if getattr(record, name) is None]


@pytest.mark.parametrize(
    ("error", "reason", "remedy"),
    [
        ("lib_rm_version_mismatch", "different versions", "reboot"),
        ("driver_not_loaded", "kernel module is not loaded", "modprobe nvidia"),
        ("no_permission", "no permission", "/dev/nvidia*"),
        ("gpu_is_lost", "fallen off the bus", "dmesg"),
        ("irq_issue", "interrupt problem", "reboot"),
        ("timeout", "did not answer in time", None),
        ("operating_system", "operating system blocks it", None),
        ("unknown", "NVML error 999", None),
    ],
)
def test_a_driver_that_does_not_start(loaded_nvml: Load, error: str, reason: str, remedy: str | None) -> None:
    loaded_nvml(Machine(init=error))
    answer = Nvml.open()
    assert isinstance(answer, Unavailable)
    assert reason in answer.reason
    assert answer.remedy is remedy is None or remedy in answer.remedy
    assert "\n" not in answer.reason + (answer.remedy or "")


def test_no_driver_library(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    def missing(name: str) -> ctypes.CDLL:
        raise OSError(f"{name}: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", missing)
    answer = Nvml.open()
    assert isinstance(answer, Unavailable)
    assert answer.reason == "no NVIDIA driver: libnvidia-ml.so.1 was not found"
    assert "--gpus all" in (answer.remedy or "")


def test_a_driver_without_gpus(loaded_nvml: Load) -> None:
    fake = loaded_nvml(Machine(gpus=()))
    answer = Nvml.open()
    assert isinstance(answer, Unavailable)
    assert answer.reason == "the NVIDIA driver is loaded and knows no GPU"
    assert fake.calls("nvmlShutdown") == 1


def test_a_driver_that_can_not_count(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(fail={"nvmlDeviceGetCount_v2": "no_permission"}))
    assert Nvml.open() == Unavailable(reason="number of GPUs: no permission", remedy=None)


def test_a_gpu_that_can_not_be_opened_leaves_the_others(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(Gpu(state="gpu_is_lost"), SECOND)))
    nvml = opened()
    assert [spec.uuid for spec in nvml.specs()] == [SECOND.uuid]
    assert nvml.note is not None
    assert nvml.note.startswith("GPU 0: the GPU is lost: it has fallen off the bus")
    nvml.sample(0.0)
    assert nvml.note.startswith("GPU 0: the GPU is lost")


def test_no_gpu_can_be_opened(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(Gpu(state="no_permission"),)))
    assert Nvml.open() == Unavailable(reason="GPU 0: handle: no permission", remedy=None)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("gpu_is_lost", "the GPU is lost: it has fallen off the bus"),
        ("reset_required", "the GPU must be reset before it can be used again"),
        ("uninitialized", "the driver's library is not initialized"),
    ],
)
def test_a_gpu_lost_on_the_way(loaded_nvml: Load, state: str, reason: str) -> None:
    fake = loaded_nvml(Machine(gpus=(Gpu(), SECOND)))
    nvml = opened()
    nvml.sample(0.0)
    fake.describe(Machine(gpus=(Gpu(state=state, processes=(Process(pid=5),)), SECOND)))
    lost, fine = nvml.sample(1.0)
    assert (unknown(lost), unknown(fine)) == (FIGURES, [])
    assert (len(lost.notes), fine.notes) == (1, [])
    assert lost.notes[0].startswith(reason)
    assert nvml.note == f"GPU 0: {reason}"
    assert [record.notes for record in nvml.sample(2.0)] == [[], []]


def test_a_lost_gpu_is_asked_one_thing_a_sample_and_may_come_back(loaded_nvml: Load) -> None:
    fake = loaded_nvml(Machine(gpus=(Gpu(),)))
    nvml = opened()
    fake.describe(Machine(gpus=(Gpu(state="gpu_is_lost"),)))
    before = fake.calls("nvmlDeviceGetMemoryInfo_v2"), fake.calls("nvmlDeviceGetPowerUsage")
    nvml.sample(0.0)
    nvml.sample(1.0)
    assert (fake.calls("nvmlDeviceGetMemoryInfo_v2"), fake.calls("nvmlDeviceGetPowerUsage")) == (
        before[0] + 2,
        before[1],
    )
    fake.describe(Machine(gpus=(Gpu(),)))
    (record,) = nvml.sample(2.0)
    assert (unknown(record), nvml.note) == ([], None)


def test_a_reason_is_said_once_and_shared(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(Gpu(fan="not_supported", power=None), SECOND)))
    nvml = opened()
    first, second = nvml.sample(0.0)
    assert first.notes == ["power, fan: not supported by this GPU"]
    assert (unknown(first), second.notes) == (["power", "fan"], [])
    assert [record.notes for record in nvml.sample(1.0)] == [[], []]
    assert nvml.note is None


def test_what_is_not_supported_is_not_asked_again(loaded_nvml: Load) -> None:
    fake = loaded_nvml(Machine(gpus=(Gpu(fan="not_supported", power="timeout"), SECOND)))
    nvml = opened()
    for t in range(5):
        nvml.sample(float(t))
    assert fake.calls("nvmlDeviceGetFanSpeed") == 1 + 5
    assert fake.calls("nvmlDeviceGetPowerUsage") == 5 + 5


def test_not_supported_for_one_clock_is_not_for_the_other(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(Gpu(clock_sm="not_supported"),)))
    nvml = opened()
    for t in range(2):
        (record,) = nvml.sample(float(t))
        assert (record.clock_sm_mhz, record.clock_memory_mhz) == (None, 3201.0)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("no_permission", "no permission"),
        ("timeout", "the driver did not answer in time"),
        ("not_supported", "not supported by this GPU"),
        ("function_not_found", "the driver is too old for it"),
        ("invalid_argument", "the driver refused the question"),
        ("no_data", "NVML error 21"),
        ("unknown", "NVML error 999"),
    ],
)
def test_each_error_has_a_calm_line(loaded_nvml: Load, error: str, reason: str) -> None:
    loaded_nvml(Machine(fail={"nvmlDeviceGetUtilizationRates": error}))
    (record,) = opened().sample(0.0)
    assert (record.utilization, record.memory_utilization, len(record.notes)) == (None, None, 1)
    assert record.notes[0].startswith(f"utilization: {reason}")
    assert unknown(record) == ["utilization", "memory_utilization"]


def test_a_passing_error_leaves_no_trace(loaded_nvml: Load) -> None:
    fake = loaded_nvml(Machine(fail={"nvmlDeviceGetPowerUsage": "timeout"}))
    nvml = opened()
    assert nvml.sample(0.0)[0].power is None
    fake.describe(Machine())
    assert nvml.sample(1.0)[0].power == 512.25


def test_an_old_driver_counts_its_reserve_in_what_is_used(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(), absent=["nvmlDeviceGetMemoryInfo_v2"])
    nvml = opened()
    (record,) = nvml.sample(0.0)
    assert (record.memory_used, record.memory_reserved) == (10 * GIB + 600 * 2**20, None)
    assert record.notes == ["memory reserved by the driver: not told apart: it is counted in what is used"]
    assert nvml.sample(1.0)[0].notes == []


def test_a_passing_error_does_not_change_what_used_means(loaded_nvml: Load) -> None:
    fake = loaded_nvml(Machine())
    nvml = opened()
    fake.describe(Machine(fail={"nvmlDeviceGetMemoryInfo_v2": "timeout"}))
    (record,) = nvml.sample(0.0)
    assert (record.memory_used, record.notes) == (None, ["memory: the driver did not answer in time"])
    fake.describe(Machine())
    assert nvml.sample(1.0)[0].memory_used == 10 * GIB


def test_no_memory_information_at_all(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(Gpu(memory_total="not_supported", memory_free="not_supported"),)))
    nvml = opened()
    (record,) = nvml.sample(0.0)
    assert unknown(record) == ["memory_total", "memory_used", "memory_free", "memory_reserved"]
    assert record.notes == ["memory: not supported by this GPU"]
    assert nvml.specs()[0].memory is None


def test_a_sentinel_is_never_a_size(loaded_nvml: Load) -> None:
    gpu = Gpu(memory_used="n/a", memory_free="n/a", power="n/a", fan="n/a", processes=(Process(pid=1, memory="n/a"),))
    loaded_nvml(Machine(gpus=(gpu,)))
    (record,) = opened().sample(0.0)
    assert (record.memory_total, record.memory_reserved) == (143771 * 2**20, 600 * 2**20)
    assert unknown(record) == ["memory_used", "memory_free", "power", "fan"]
    assert [(p.pid, p.bytes) for p in record.processes or ()] == [(1, None)]
    assert record.notes == ["memory used and free, power, fan, memory per process: the driver does not say"]


def test_utilization_above_a_hundred_is_not_believed(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(Gpu(utilization="n/a", memory_utilization=100),)))
    (record,) = opened().sample(0.0)
    assert (record.utilization, record.memory_utilization) == (None, 100.0)


@pytest.mark.parametrize("function", ["nvmlDeviceGetName", "nvmlSystemGetDriverVersion"])
def test_a_driver_that_speaks_no_utf8(loaded_nvml: Load, function: str) -> None:
    fake = loaded_nvml()
    text = Machine(gpus=(Gpu(name="bad\udcff"),), driver="1\udcfe").text()
    fake.fake.description.write_bytes(text.encode("utf-8", "surrogateescape"))
    nvml = opened()
    (spec,) = nvml.specs()
    assert (spec.name, spec.driver, spec.memory) == (None, None, 143771 * 2**20)
    assert "name: the driver's answer can't be read" in nvml.sample(0.0)[0].notes


def test_strings_of_the_driver_are_harmless(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(Gpu(name="\x1b[31mred\x07\u202egpu"),), driver="\x1b]0;title\x07580"))
    (spec,) = opened().specs()
    assert (spec.name, spec.driver) == ("redgpu", "580")


ABSENT = ["nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetUtilizationRates"]


def test_functions_absent_from_the_library(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(), absent=ABSENT)
    (record,) = opened().sample(0.0)
    assert record.notes == ["memory, utilization: the driver is too old for it"]
    assert (record.memory_total, record.utilization, record.power) == (None, None, 512.25)


def test_the_reason_that_tells_most_is_told(loaded_nvml: Load) -> None:
    old, new = "nvmlDeviceGetCurrentClocksThrottleReasons", "nvmlDeviceGetCurrentClocksEventReasons"
    loaded_nvml(Machine(fail={old: "no_permission"}), absent=[new])
    assert opened().sample(0.0)[0].notes == ["throttle reasons: no permission"]


def test_an_empty_library(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(), absent=["nvmlInitWithFlags"])
    assert Nvml.open() == Unavailable(reason="the driver is too old for it", remedy="update the NVIDIA driver")


def test_a_slow_call_is_waited_for(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(slow={"nvmlDeviceGetFanSpeed": 30, "nvmlDeviceGetComputeRunningProcesses_v3": 30}))
    before = time.monotonic()
    (record,) = opened().sample(0.0)
    assert (unknown(record), record.notes) == ([], [])
    assert time.monotonic() - before >= 0.06


ASKED = [
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetFanSpeed",
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
    "nvmlDeviceGetName",
    "nvmlDeviceGetNumGpuCores",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetMigDeviceHandleByIndex",
    "nvmlDeviceGetAttributes_v2",
    "nvmlSystemGetProcessName",
]
ERRORS = ["not_supported", "no_permission", "gpu_is_lost", "reset_required", "timeout", "unknown", "insufficient_size"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fail=st.dictionaries(st.sampled_from(ASKED), st.sampled_from(ERRORS), max_size=6))
def test_no_mixture_of_faults_raises_or_touches_the_other_gpu(loaded_nvml: Load, fail: dict[str, str]) -> None:
    processes = (Process(pid=1, name="\x1b[2Jx"), Process(pid=2, memory="n/a"))
    broken = Gpu(mig=1, fail=fail, processes=processes, instances=(Instance(fail=fail),))
    loaded_nvml(Machine(gpus=(broken, SECOND)))
    nvml = opened()
    nvml.specs()
    for t in (0.0, 1.0):
        records = {record.uuid: record for record in nvml.sample(t, ours=[1])}
        assert unknown(records[SECOND.uuid]) == []
        assert broken.uuid in records
        for record in records.values():
            total = [record.memory_used, record.memory_free, record.memory_reserved]
            assert None in total or record.memory_total == sum(x for x in total if x is not None)
            assert t == 0.0 or record.notes == []
    nvml.close()


def test_every_fault_is_one_line() -> None:
    for fault in _FAULTS.values():
        for text in msgspec.structs.astuple(fault)[:2]:
            assert text is None or (text and "\n" not in text and len(text) < 100)
