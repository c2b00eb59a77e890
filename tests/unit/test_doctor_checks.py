"""The doctor's single checks: what each says of good and bad machines."""

from __future__ import annotations

import gzip
import os
import pty
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from memtop.doctor import gpu_checks, system_checks, terminal_checks
from memtop.doctor.bounded import Question, answer_all
from memtop.doctor.gpu_checks import Seen
from memtop.doctor.report import Finding, ok
from memtop.doctor.torch_checks import driver_fits
from tests.fake_nvml.describe import Gpu, Instance, Machine, Process
from tests.fake_nvml.fixtures import LoadedNvml
from tests.unit.host_root import GIB, MEMINFO, MOUNT_V2, write
from tests.unit.test_specs_text import GPU

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a matter of Linux")


def test_a_check_that_fails_is_a_warning_and_the_others_stand() -> None:
    def fail() -> Finding:
        raise RuntimeError("\x1b[31mboom")

    checks = answer_all([Question(name="a", ask=fail, limit=9), Question(name="b", ask=lambda: ok("fine"), limit=9)])
    assert [(c.name, c.status, c.message) for c in checks] == [
        ("a", "warning", "could not be checked: boom"),
        ("b", "ok", "fine"),
    ]


@pytest.mark.parametrize(
    ("built", "supported", "status"),
    [("12.8", "13.0", "ok"), ("12.8", "12.4", "ok"), ("13.0", "12.8", "warning"), ("13.0", None, "warning")],
)
def test_the_driver_must_know_the_major_version_of_torchs_cuda(built: str, supported: str | None, status: str) -> None:
    finding = driver_fits(built, supported)
    assert finding.status == status
    assert built in finding.message


def test_gpus_are_named_with_what_nvml_can_not_tell() -> None:
    seen = Seen(reason=None, remedy=None, gpus=(GPU,), note=None, processes=True)
    assert gpu_checks.driver(seen) == ok("driver 580.95: NVIDIA H200")
    assert gpu_checks.processes(seen).status == "ok"
    limited = msgspec.structs.replace(seen, note="GPU 1: the GPU is lost", processes=False)
    assert "the GPU is lost" in gpu_checks.driver(limited).message
    assert gpu_checks.driver(limited).status == gpu_checks.processes(limited).status == "warning"


def test_no_driver_is_a_calm_warning_with_its_remedy() -> None:
    seen = Seen(reason="driver mismatch", remedy="reboot", gpus=(), note=None, processes=False)
    finding = gpu_checks.driver(seen)
    assert (finding.status, finding.message, finding.remedy) == ("warning", "no GPU: driver mismatch", "reboot")
    assert gpu_checks.processes(seen).status == "ok"


def test_sockets_work_in_an_ordinary_folder_and_leave_nothing() -> None:
    with tempfile.TemporaryDirectory() as folder:  # a path shorter than pytest's
        assert system_checks.sockets(Path(folder)) == ok(f"a Unix socket works in {folder}")
        assert not list(Path(folder).iterdir())


def test_a_socket_path_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 90)
    folder.mkdir()
    finding = system_checks.sockets(folder)
    assert finding.status == "error"
    assert "TMPDIR" in (finding.remedy or "")


def test_a_folder_that_is_not_there_is_an_error() -> None:
    assert system_checks.sockets(Path("/nowhere")).status == "error"


def test_the_runtime_folder_is_used_where_it_can_be_written(tmp_path: Path) -> None:
    assert system_checks.runtime_folder({"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path
    assert system_checks.runtime_folder({"XDG_RUNTIME_DIR": "/nowhere"}) != Path("/nowhere")


def test_all_that_memtop_needs_is_installed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "psutil" in system_checks.installation().message
    monkeypatch.setattr(system_checks, "_NEEDED", {"no_such_module": "no-such-package"})
    finding = system_checks.installation()
    assert (finding.status, finding.remedy) == ("error", "pip install no-such-package")


@linux
def test_permissions(tmp_path: Path) -> None:
    assert "smaps_rollup" in system_checks.permissions(tmp_path).message
    write(tmp_path, {"proc/self/smaps_rollup": "Pss: 1 kB\n"})
    assert "hides other users' processes" in system_checks.permissions(tmp_path).message
    (tmp_path / "proc/1").mkdir()
    (tmp_path / "proc/self/ns").mkdir()
    (tmp_path / "proc/self/ns/pid").symlink_to("pid:[4026532999]")
    assert "container" in system_checks.permissions(tmp_path).message
    (tmp_path / "proc/self/ns/pid").unlink()
    (tmp_path / "proc/self/ns/pid").symlink_to("pid:[4026531836]")
    assert system_checks.permissions(tmp_path).status == "ok"


@pytest.mark.parametrize(
    ("limit", "used", "status", "words"),
    [("max", 0, "ok", "no memory limit"), (8 * GIB, GIB, "ok", "8.00 GiB"), (8 * GIB, 8 * GIB, "warning", "0 B free")],
)
def test_the_memory_limit(tmp_path: Path, limit: int | str, used: int, status: str, words: str) -> None:
    write(tmp_path, {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/\n"})
    write(tmp_path, {"proc/self/mountinfo": MOUNT_V2.format(shown="/", point="/cg")})
    write(tmp_path, {"cg/memory.max": limit, "cg/memory.current": used})
    finding = system_checks.control_group(tmp_path)
    assert finding.status == status
    assert words in finding.message


@linux
@pytest.mark.parametrize(
    ("total", "free", "status"),
    [(64 << 20, 64 << 20, "warning"), (16 * GIB, GIB // 2, "warning"), (16 * GIB, 12 * GIB, "ok")],
)
def test_shared_memory(monkeypatch: pytest.MonkeyPatch, total: int, free: int, status: str) -> None:
    stat = SimpleNamespace(f_blocks=total // 4096, f_bavail=free // 4096, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: stat)
    finding = system_checks.shared_memory()
    assert finding.status == status
    assert (finding.remedy is None) == (status == "ok")


@linux
def test_no_shared_memory_at_all() -> None:
    assert system_checks.shared_memory("/nowhere/shm").status == "warning"


def test_data_folder(tmp_path: Path) -> None:
    assert system_checks.data_folder(None).status == "ok"
    assert system_checks.data_folder(str(tmp_path / "nowhere")).status == "warning"
    assert system_checks.data_folder(str(tmp_path)).status == "warning"
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"x"))
    assert "MNIST 1 of 2 files" in system_checks.data_folder(str(tmp_path)).message
    assert system_checks.data_folder(str(tmp_path)).status == "warning"
    (raw / "train-labels-idx1-ubyte").write_bytes(b"x")
    assert system_checks.data_folder(str(tmp_path)).status == "ok"


def test_data_folder_with_cifar_files_or_their_archive(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-bin").mkdir()
    for number in range(1, 6):
        (tmp_path / "cifar-10-batches-bin" / f"data_batch_{number}.bin").touch()
    assert "CIFAR-10 5 of 5 files" in system_checks.data_folder(str(tmp_path)).message
    other = tmp_path / "other"
    other.mkdir()
    (other / "cifar-10-binary.tar.gz").touch()
    assert system_checks.data_folder(str(other)).status == "ok"


@pytest.mark.parametrize(
    ("size", "kind", "status"),
    [
        (None, "xterm", "warning"),
        ((120, 40), "xterm-256color", "ok"),
        ((80, 24), "screen", "ok"),
        ((79, 24), "xterm", "warning"),
        ((20, 5), "xterm", "warning"),
        ((120, 40), "dumb", "warning"),
        ((120, 40), "", "warning"),
    ],
)
def test_terminal(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int] | None, kind: str, status: str) -> None:
    monkeypatch.setattr(terminal_checks, "_size", lambda: size)
    finding = terminal_checks.terminal({"TERM": kind})
    assert finding.status == status
    assert (finding.remedy is None) == (status == "ok")


@pytest.fixture
def terminal_of_us(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A pseudo-terminal of 100x30 as our stdout."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    with os.fdopen(theirs, "w") as stream:
        monkeypatch.setattr(sys, "__stdout__", stream)
        yield
    os.close(ours)


@pytest.mark.usefixtures("terminal_of_us")
def test_the_size_of_a_real_terminal() -> None:
    assert terminal_checks.terminal({"TERM": "xterm"}) == ok("100x30, TERM=xterm")


@pytest.mark.parametrize(
    ("env", "status", "words"),
    [
        ({"COLORTERM": "truecolor", "TERM": "xterm"}, "ok", "16 million"),
        ({"TERM": "tmux-256color"}, "ok", "256"),
        ({"NO_COLOR": "1", "COLORTERM": "truecolor"}, "ok", "NO_COLOR"),
        ({"TERM": "xterm"}, "ok", "16 (TERM=xterm)"),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, "warning", "none"),
        ({}, "warning", "none"),
    ],
)
def test_colours(env: dict[str, str], status: str, words: str) -> None:
    finding = terminal_checks.colours(env)
    assert finding.status == status
    assert words in finding.message


@pytest.mark.parametrize(
    ("name", "status"), [("utf-8", "ok"), ("UTF8", "ok"), ("ANSI_X3.4-1968", "warning"), ("latin-1", "warning")]
)
def test_encoding(name: str, status: str) -> None:
    assert terminal_checks.encoding(name).status == status


def test_encoding_that_nobody_knows() -> None:
    assert terminal_checks.encoding("x-klingon").status == terminal_checks.encoding(None).status == "warning"


@pytest.mark.parametrize(
    ("env", "in_force", "status"),
    [
        ({"LANG": "de_DE.UTF-8"}, "de_DE.UTF-8", "ok"),
        ({"LANG": "de_DE.UTF-8"}, "C", "warning"),
        ({"LC_ALL": "C.UTF-8", "LANG": "xx"}, "C", "ok"),
        ({}, "C", "ok"),
    ],
)
def test_locale(env: dict[str, str], in_force: str, status: str) -> None:
    assert terminal_checks.language(env, in_force).status == status


@linux
@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (Machine(init="lib_rm_version_mismatch"), "different versions"),
        (Machine(init="driver_not_loaded"), "not loaded"),
        (Machine(gpus=(Gpu(), Gpu(uuid="GPU-1", pci_bus_id="0:2", state="gpu_is_lost"))), "lost"),
        (Machine(gpus=()), "no GPU"),
    ],
)
def test_a_drivers_fault_is_named(loaded_nvml: Callable[..., LoadedNvml], machine: Machine, words: str) -> None:
    loaded_nvml(machine)
    finding = gpu_checks.driver(gpu_checks.ask())
    assert finding.status == "warning"
    assert words in finding.message


@linux
def test_a_driver_that_hides_processes_is_named(loaded_nvml: Callable[..., LoadedNvml]) -> None:
    kinds = ("Compute", "Graphics", "MPSCompute")
    functions = [f"nvmlDeviceGet{kind}RunningProcesses_v{version}" for kind in kinds for version in (2, 3)]
    loaded_nvml(Machine(fail=dict.fromkeys(functions, "no_permission")))
    seen = gpu_checks.ask()
    assert gpu_checks.driver(seen).message.startswith("driver 580.65.06: NVIDIA H200")
    assert gpu_checks.processes(seen).status == "warning"


@linux
def test_a_driver_that_does_not_say_how_much_a_process_holds_is_named(loaded_nvml: Callable[..., LoadedNvml]) -> None:
    loaded_nvml(Machine(gpus=(Gpu(processes=(Process(pid=1, memory="n/a"),)),)))
    assert gpu_checks.processes(gpu_checks.ask()).status == "warning"


@linux
def test_a_gpu_cut_into_instances_is_asked_through_them(loaded_nvml: Callable[..., LoadedNvml]) -> None:
    loaded_nvml(Machine(gpus=(Gpu(mig=1, instances=(Instance(processes=(Process(pid=1),)),)),)))
    seen = gpu_checks.ask()
    assert [gpu.uuid[:4] for gpu in seen.gpus] == ["GPU-", "MIG-"]
    assert gpu_checks.processes(seen).status == "ok"
