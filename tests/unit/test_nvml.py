"""The NVML collector against described machines: specs, samples, addressing, MIG."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import pynvml
import pytest

from memtop.collectors import nvml as collector
from memtop.collectors.nvml import Nvml, Unavailable
from memtop.collectors.nvml_samples import throttle_words
from memtop.model.records import DeviceRecord
from tests.fake_nvml.builder import FakeNvml
from tests.fake_nvml.describe import GIB, Gpu, Instance, Machine, Process
from tests.fake_nvml.fixtures import LoadedNvml

Load = Callable[..., LoadedNvml]

H200 = Gpu()
A100 = Gpu(
    name="NVIDIA A100-SXM4-80GB",
    uuid="GPU-11111111-0000-0000-0000-000000000000",
    memory_total=80 * GIB,
    memory_used=3 * GIB,
    architecture=7,
    compute_capability="8.0",
    cuda_cores=6912,
    bus_width=5120,
    max_clock_memory=1593,
    pci_bus_id="00000000:43:00.0",
    mig=0,
)


def opened() -> Nvml:
    nvml = Nvml.open()
    assert isinstance(nvml, Nvml), nvml
    return nvml


def by_uuid(records: tuple[DeviceRecord, ...]) -> dict[str | None, DeviceRecord]:
    return {record.uuid: record for record in records}


def test_the_spec_holds_what_the_driver_tells(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(H200,)))
    (spec,) = opened().specs({H200.uuid: "cuda:0"})
    assert (spec.index, spec.uuid, spec.name, spec.visible_as) == (0, H200.uuid, "NVIDIA H200", "cuda:0")
    assert (spec.architecture, spec.compute_capability) == ("Hopper", "9.0")
    assert (spec.cuda_cores, spec.sms) == (16896, 132)
    assert (spec.memory, spec.bus_width) == (143771 * 2**20, 6144)
    assert spec.bandwidth == 2 * 3201 * 10**6 * 6144 // 8 == 4_916_736_000_000
    assert (spec.pcie_generation, spec.pcie_generation_max, spec.pcie_width, spec.pcie_width_max) == (4, 5, 16, 16)
    assert (spec.driver, spec.cuda) == ("580.65.06", "13.0")
    assert (spec.power_limit_w, spec.clock_sm_max_mhz, spec.clock_memory_max_mhz) == (700.0, 1980, 3201)
    assert (spec.ecc, spec.mig, spec.parent_uuid) == (True, None, None)


def test_a_second_gpu_has_its_own_facts(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(H200, A100), cuda=12040))
    first, second = opened().specs()
    assert (first.index, second.index) == (0, 1)
    assert (second.architecture, second.sms, second.cuda_cores, second.cuda) == ("Ampere", 108, 6912, "12.4")
    assert (second.memory, second.mig, second.visible_as) == (80 * GIB, False, None)
    assert second.bandwidth == 2 * 1593 * 10**6 * 5120 // 8


def test_facts_nobody_tells_are_not_invented(loaded_nvml: Load) -> None:
    odd = Gpu(architecture=77, compute_capability="77.0", ecc=None, bus_width="not_supported", cuda_cores=100)
    loaded_nvml(Machine(gpus=(odd,)))
    (spec,) = opened().specs()
    assert (spec.architecture, spec.sms, spec.ecc, spec.bus_width, spec.bandwidth) == (None, None, None, None, None)
    assert (spec.compute_capability, spec.cuda_cores) == ("77.0", 100)


def test_cores_that_fill_no_whole_number_of_sms_tell_no_sms(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(Gpu(cuda_cores=16900),)))
    (spec,) = opened().specs()
    assert (spec.cuda_cores, spec.sms) == (16900, None)


def test_the_sample_holds_what_the_driver_tells(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(H200,)))
    (record,) = opened().sample(1.5)
    assert (record.t, record.device, record.uuid) == (1.5, f"gpu:{H200.uuid}", H200.uuid)
    assert (record.utilization, record.memory_utilization) == (62.0, 33.0)
    assert (record.memory_total, record.memory_used, record.memory_reserved) == (143771 * 2**20, 10 * GIB, 600 * 2**20)
    assert record.memory_total == 143771 * 2**20 == 10 * GIB + 600 * 2**20 + (record.memory_free or 0)
    assert (record.temperature, record.power, record.power_limit, record.fan) == (61.0, 512.25, 700.0, 41.0)
    assert (record.clock_sm_mhz, record.clock_memory_mhz) == (1755.0, 3201.0)
    assert (record.throttle, record.processes, record.notes) == ([], [], [])


def test_figures_follow_the_device(loaded_nvml: Load) -> None:
    fake = loaded_nvml(Machine(gpus=(H200,)))
    nvml = opened()
    nvml.sample(0.0)
    fake.describe(Machine(gpus=(Gpu(memory_used=20 * GIB, utilization=99, power=1, throttle=0x44),)))
    (record,) = nvml.sample(1.0)
    assert (record.memory_used, record.utilization, record.power) == (20 * GIB, 99.0, 0.001)
    assert record.throttle == ["power cap", "thermal (hardware)"]


def test_devices_are_told_apart_by_uuid_not_by_index(loaded_nvml: Load) -> None:
    fake = loaded_nvml(Machine(gpus=(H200, A100)))
    nvml = opened()
    swapped = {A100.uuid: "cuda:0", H200.uuid: "cuda:1"}
    records = {record.device: record for record in nvml.sample(0.0, visible=swapped)}
    assert (records["cuda:0"].memory_total, records["cuda:1"].memory_total) == (80 * GIB, 143771 * 2**20)
    assert {spec.visible_as: spec.name for spec in nvml.specs(swapped)} == {"cuda:0": A100.name, "cuda:1": H200.name}
    hidden = [record.device for record in nvml.sample(0.0, visible={A100.uuid: "cuda:0"})]
    assert hidden == [f"gpu:{H200.uuid}", "cuda:0"]
    assert fake.calls("nvmlDeviceGetHandleByIndex_v2") == 2


def test_torch_names_uuids_without_their_prefix(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(H200, A100)))
    records = opened().sample(0.0, visible={A100.uuid.removeprefix("GPU-"): "cuda:0"})
    assert by_uuid(records)[A100.uuid].device == "cuda:0"


MIG = Gpu(
    mig=1,
    utilization="not_supported",
    memory_utilization="not_supported",
    instances=(
        Instance(processes=(Process(pid=71, memory=GIB),)),
        Instance(uuid="MIG-22222222-0000-0000-0000-000000000000", memory_total=33 * GIB, gpu_instance=3, sms=32),
    ),
)


def test_a_gpu_in_mig_mode_is_followed_by_its_instances(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(MIG, A100)))
    specs = opened().specs({MIG.instances[1].uuid: "cuda:0"})
    assert [spec.index for spec in specs] == [0, 0, 0, 1]
    assert [spec.uuid for spec in specs] == [MIG.uuid, MIG.instances[0].uuid, MIG.instances[1].uuid, A100.uuid]
    assert [spec.mig for spec in specs] == [True, True, True, False]
    assert [spec.parent_uuid for spec in specs] == [None, MIG.uuid, MIG.uuid, None]
    assert [spec.memory for spec in specs] == [143771 * 2**20, 16 * GIB, 33 * GIB, 80 * GIB]
    assert [(spec.sms, spec.cuda_cores) for spec in specs[:3]] == [(132, 16896), (16, 2048), (32, 4096)]
    assert [spec.visible_as for spec in specs] == [None, None, "cuda:0", None]
    assert (specs[1].architecture, specs[1].bus_width, specs[1].bandwidth) == ("Hopper", None, None)


def test_an_instance_tells_its_own_memory_and_processes(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(MIG,)))
    nvml = opened()
    nvml.specs()
    parent, first, second = nvml.sample(0.0, ours=[71])
    assert (first.memory_total, first.memory_used, first.memory_free) == (16 * GIB, 2 * GIB, 14 * GIB)
    assert [(p.pid, p.bytes, p.ours) for p in first.processes or ()] == [(71, GIB, True)]
    assert second.processes == []
    assert [p.pid for p in parent.processes or ()] == [71]
    assert (first.utilization, first.temperature, first.power) == (None, 61.0, 512.25)
    assert first.notes == [
        "temperature, power, clocks: those of the whole GPU",
        "utilization: not told for a MIG instance",
    ]
    assert parent.notes == ["utilization: not supported by this GPU"]


def test_an_empty_mig_gpu_has_no_instances(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(Gpu(mig=1),)))
    (record,) = opened().sample(0.0)
    assert (record.uuid, record.notes) == (H200.uuid, [])


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0x0, []),
        (0x1, []),
        (0x4, ["power cap"]),
        (0x61, ["thermal (software)", "thermal (hardware)"]),
        (0x88, ["hardware slowdown", "power brake"]),
        (0x1004, ["power cap", "reason 0x1000"]),
    ],
)
def test_throttle_reasons_as_words(bits: int, words: list[str]) -> None:
    assert throttle_words(bits) == words


def test_the_old_name_of_the_throttle_reasons(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(Gpu(throttle=0x80),)), absent=["nvmlDeviceGetCurrentClocksEventReasons"])
    (record,) = opened().sample(0.0)
    assert (record.throttle, record.notes) == (["power brake"], [])


@pytest.mark.skipif(not hasattr(pynvml, "nvmlDeviceGetTemperatureV"), reason="this pynvml knows one thermometer")
def test_a_driver_that_dropped_the_old_thermometer(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(), absent=["nvmlDeviceGetTemperature"])
    (record,) = opened().sample(0.0)
    assert (record.temperature, record.notes) == (61.0, [])


def test_closing_ends_it_for_good(loaded_nvml: Load) -> None:
    fake = loaded_nvml()
    nvml = opened()
    nvml.close()
    nvml.close()
    assert (nvml.specs(), nvml.sample(0.0)) == ((), ())
    assert fake.calls("nvmlShutdown") == 1


def test_closing_does_not_wait_for_a_hung_driver(loaded_nvml: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "_CLOSING_SECONDS", 0.02)
    fake = loaded_nvml(Machine(gpus=(Gpu(slow={"nvmlDeviceGetPowerUsage": 1000}),)))
    nvml = opened()
    records: list[DeviceRecord] = []
    thread = threading.Thread(target=lambda: records.extend(nvml.sample(0.0)))
    thread.start()
    while not fake.calls("nvmlDeviceGetPowerUsage"):
        assert thread.is_alive()
    nvml.close()
    assert thread.is_alive()
    assert fake.calls("nvmlShutdown") == 0
    thread.join(timeout=10)
    assert [record.power for record in records] == [512.25]


def test_the_guess_before_torch_has_spoken(loaded_nvml: Load) -> None:
    loaded_nvml(Machine(gpus=(H200, A100)))
    nvml = opened()
    assert nvml.guess_visible({}) == {}
    assert nvml.guess_visible({"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"}) == {A100.uuid: "cuda:0"}
    loaded_nvml(Machine(gpus=(H200, Gpu(uuid=A100.uuid))))
    assert opened().guess_visible({}) == {H200.uuid: "cuda:0", A100.uuid: "cuda:1"}


def test_a_child_finds_the_library_by_name(fake_nvml: Callable[..., FakeNvml]) -> None:
    code = "from memtop.collectors.nvml import Nvml; print([s.uuid for s in Nvml.open().specs()])"
    fake = fake_nvml(Machine(gpus=(H200, A100)))
    out = subprocess.run([sys.executable, "-c", code], env=fake.env(), capture_output=True, text=True, timeout=30)
    assert (out.stdout, out.stderr) == (f"{[H200.uuid, A100.uuid]}\n", "")


def test_importing_the_collector_does_not_import_pynvml() -> None:
    code = "import sys, memtop.collectors.nvml; print('pynvml' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert out.stdout == "False\n", out.stderr


def test_without_pynvml_there_is_a_line_and_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Nvml.open() == Unavailable(reason="pynvml can't be imported", remedy="pip install nvidia-ml-py")
