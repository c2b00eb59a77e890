"""Who holds a GPU's memory: merged by pid, named harmlessly, and honest inside a container."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from memtop.collectors import nvml_processes
from memtop.collectors.nvml import Nvml
from memtop.collectors.nvml_processes import HIDDEN, in_pid_namespace, short_name
from memtop.model.records import DeviceRecord
from tests.fake_nvml.describe import GIB, Gpu, Machine, Process
from tests.fake_nvml.fixtures import LoadedNvml

Load = Callable[..., LoadedNvml]
NOWHERE = 2**22 + 17
"""Above the kernel's highest pid."""


@pytest.fixture(params=[False])
def nvml_opened(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Nvml]:
    """Opens a collector outside any pid namespace; parametrized with True, inside one."""

    def make() -> Nvml:
        monkeypatch.setattr(nvml_processes, "in_pid_namespace", lambda: request.param)
        nvml = Nvml.open()
        assert isinstance(nvml, Nvml)
        return nvml

    return make


inside = pytest.mark.parametrize("nvml_opened", [True], indirect=True)


def machine(*processes: Process) -> Machine:
    return Machine(gpus=(Gpu(processes=processes),))


def listed(record: DeviceRecord) -> list[tuple[int, str | None, int | None, bool]]:
    assert record.processes is not None
    return [(p.pid, p.name, p.bytes, p.ours) for p in record.processes]


def test_processes_with_names_and_bytes(loaded_nvml: Load, nvml_opened: Callable[[], Nvml]) -> None:
    loaded_nvml(machine(Process(pid=30, memory=2 * GIB, name="/opt/venv/bin/python train.py"), Process(pid=7)))
    (record,) = nvml_opened().sample(0.0, ours={30})
    assert listed(record) == [(7, "python", GIB, False), (30, "python train.py", 2 * GIB, True)]


def test_a_process_of_several_kinds_is_one(loaded_nvml: Load, nvml_opened: Callable[[], Nvml]) -> None:
    both = Process(pid=7, memory=3 * GIB, kind="compute graphics mps")
    loaded_nvml(machine(both, Process(pid=8, kind="graphics", name="Xorg"), Process(pid=9, kind="mps")))
    (record,) = nvml_opened().sample(0.0)
    assert listed(record) == [(7, "python", 3 * GIB, False), (8, "Xorg", GIB, False), (9, "python", GIB, False)]


def test_pids_come_and_go(loaded_nvml: Load, nvml_opened: Callable[[], Nvml]) -> None:
    fake = loaded_nvml(machine(Process(pid=7, name="first")))
    nvml = nvml_opened()
    assert listed(nvml.sample(0.0)[0]) == [(7, "first", GIB, False)]
    fake.describe(machine(*(Process(pid=pid, memory=pid) for pid in range(100, 140))))
    assert [row[2] for row in listed(nvml.sample(1.0)[0])] == list(range(100, 140))
    fake.describe(machine(Process(pid=7, name="second")))
    assert listed(nvml.sample(2.0)[0]) == [(7, "second", GIB, False)]
    fake.describe(machine())
    assert nvml.sample(3.0)[0].processes == []


def test_a_name_is_asked_once(loaded_nvml: Load, nvml_opened: Callable[[], Nvml]) -> None:
    fake = loaded_nvml(machine(Process(pid=7)))
    nvml = nvml_opened()
    for t in range(4):
        nvml.sample(float(t))
    assert fake.calls("nvmlSystemGetProcessName") == 1


@pytest.mark.parametrize("version", [2, 3])
def test_either_version_of_the_list(loaded_nvml: Load, nvml_opened: Callable[[], Nvml], version: int) -> None:
    other = 5 - version
    loaded_nvml(machine(Process(pid=7)), absent=[f"nvmlDeviceGetComputeRunningProcesses_v{other}"])
    (record,) = nvml_opened().sample(0.0)
    assert (listed(record), record.notes) == ([(7, "python", GIB, False)], [])


def test_processes_that_can_not_be_listed(loaded_nvml: Load, nvml_opened: Callable[[], Nvml]) -> None:
    kinds = ("Compute", "Graphics", "MPSCompute")
    fail = {f"nvmlDeviceGet{kind}RunningProcesses_v{v}": "no_permission" for kind in kinds for v in (2, 3)}
    loaded_nvml(Machine(gpus=(Gpu(fail=fail, processes=(Process(pid=7),)),)))
    (record,) = nvml_opened().sample(0.0)
    assert (record.processes, record.notes) == (None, ["processes: no permission"])


def test_a_gpu_without_graphics_is_no_news(loaded_nvml: Load, nvml_opened: Callable[[], Nvml]) -> None:
    fail = {f"nvmlDeviceGetGraphicsRunningProcesses_v{version}": "not_supported" for version in (2, 3)}
    loaded_nvml(Machine(gpus=(Gpu(fail=fail, processes=(Process(pid=7),)),)))
    (record,) = nvml_opened().sample(0.0)
    assert (listed(record), record.notes) == ([(7, "python", GIB, False)], [])


@pytest.mark.parametrize("memory", ["n/a", 0])
def test_memory_that_is_not_told_is_unknown_not_zero(
    loaded_nvml: Load, nvml_opened: Callable[[], Nvml], memory: int | str
) -> None:
    loaded_nvml(machine(Process(pid=7, memory=memory), Process(pid=8, memory=GIB)))
    nvml = nvml_opened()
    (record,) = nvml.sample(0.0)
    assert [row[2] for row in listed(record)] == [None, GIB]
    assert record.notes == ["memory per process: the driver does not say"]
    assert nvml.sample(1.0)[0].notes == []


def test_a_name_nobody_tells_comes_from_proc(loaded_nvml: Load, nvml_opened: Callable[[], Nvml]) -> None:
    loaded_nvml(machine(Process(pid=os.getpid(), name=None), Process(pid=NOWHERE, name=None)))
    (record,) = nvml_opened().sample(0.0)
    comm = Path("/proc/self/comm").read_text().strip()
    assert [(row[0], row[1]) for row in listed(record)] == [(os.getpid(), comm), (NOWHERE, None)]


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("/usr/bin/python3", "python3"),
        ("/usr/bin/python3 -m train", "python3 -m train"),
        ("python", "python"),
        ("\x1b[31m/bin/evil\x1b[0m\x07", "evil"),
        ("[red]x[/red]", "red]"),
        ("/", "/"),
        ("", None),
        ("\x1b[2J", None),
    ],
)
def test_short_names(told: str, shown: str | None) -> None:
    assert short_name(told) == shown


@inside
def test_a_container_that_shows_nothing(loaded_nvml: Load, nvml_opened: Callable[[], Nvml]) -> None:
    loaded_nvml(machine())
    nvml = nvml_opened()
    (record,) = nvml.sample(0.0, ours=[os.getpid()])
    assert (record.processes, record.notes) == (None, [f"processes: {HIDDEN}"])
    assert nvml.note == f"GPU processes: {HIDDEN}"
    assert nvml.sample(1.0)[0].notes == []
    assert nvml.note == f"GPU processes: {HIDDEN}"


@inside
def test_a_container_that_shows_the_hosts_pids(loaded_nvml: Load, nvml_opened: Callable[[], Nvml]) -> None:
    ours = os.getpid()
    loaded_nvml(machine(Process(pid=ours, memory=GIB), Process(pid=NOWHERE, memory=2 * GIB)))
    (record,) = nvml_opened().sample(0.0, ours=[ours])
    # The host's pid that equals ours is another process.
    assert listed(record) == [(ours, None, GIB, False), (NOWHERE, None, 2 * GIB, False)]
    assert record.notes == [f"processes: {HIDDEN}"]


@inside
def test_a_container_whose_driver_knows_its_pids(loaded_nvml: Load, nvml_opened: Callable[[], Nvml]) -> None:
    fake = loaded_nvml(machine(Process(pid=os.getpid(), memory=0)))
    nvml = nvml_opened()
    (record,) = nvml.sample(0.0, ours=[os.getpid()])
    assert listed(record) == [(os.getpid(), "python", None, True)]
    assert record.notes == ["memory per process: the driver does not say"]
    fake.describe(machine())
    assert nvml.sample(1.0)[0].processes == []
    assert nvml.note is None


@inside
def test_what_was_hidden_may_show(loaded_nvml: Load, nvml_opened: Callable[[], Nvml]) -> None:
    fake = loaded_nvml(machine())
    nvml = nvml_opened()
    nvml.sample(0.0)
    fake.describe(machine(Process(pid=os.getpid())))
    assert listed(nvml.sample(1.0)[0]) == [(os.getpid(), "python", GIB, False)]
    assert nvml.note is None


def test_the_hosts_pid_namespace_has_a_fixed_number(tmp_path: Path) -> None:
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[4026531836]")
    assert not in_pid_namespace(tmp_path)
    (tmp_path / "self/ns/pid").unlink()
    (tmp_path / "self/ns/pid").symlink_to("pid:[4026532201]")
    assert in_pid_namespace(tmp_path)
    assert not in_pid_namespace(tmp_path / "absent")
