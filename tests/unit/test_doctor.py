"""`memtop doctor` as a whole: whatever Python and driver it meets, every check is answered in time."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memtop import doctor
from memtop.doctor import gpu_checks
from memtop.doctor.gpu_checks import Seen
from memtop.doctor.report import Check, Report
from memtop.doctor.worker import MARK, Worker, newest

NO_GPU = Seen(reason="no NVIDIA driver", remedy="install one", gpus=(), note=None, processes=False)

Stub = Callable[[str], str]


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about the rest: whatever GPU this machine has is not asked."""
    monkeypatch.setattr(gpu_checks, "ask", lambda: NO_GPU)


@pytest.fixture
def stub(tmp_path: Path) -> Stub:
    """Makes an executable from the lines of a shell script: it stands for the target's Python."""

    def make(script: str) -> str:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return make


def bare(before: str = "") -> str:
    """A real Python without site-packages: it has no torch."""
    return f'{before} exec "{sys.executable}" -S "$@"'


def named(report: Report, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


def test_a_python_without_torch_is_an_error_with_a_remedy(stub: Stub) -> None:
    report = doctor.run(stub(bare()))
    check = named(report, "torch")
    assert (check.status, report.exit_code) == ("error", 1)
    assert "not installed" in check.message
    assert check.remedy is not None
    assert "pip install torch" in check.remedy
    assert named(report, "Python").status == "ok"
    for name in ("probe hooks", "CUDA", "allocator"):
        assert named(report, name).status == "warning"


def test_a_torch_that_can_not_be_imported_is_named(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open \\x1b[31mshared object')")
    report = doctor.run(stub(bare(f'PYTHONPATH="{tmp_path}"')))
    check = named(report, "torch")
    assert (check.status, report.exit_code) == ("error", 1)
    assert "import torch failed: ImportError: libcudart.so.13" in check.message
    assert "\x1b" not in report.as_text(80)


def test_a_torch_that_ends_the_process_is_an_error(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import os; os.write(2, b'Illegal instruction\\n'); os._exit(132)")
    check = named(doctor.run(stub(bare(f'PYTHONPATH="{tmp_path}"'))), "torch")
    assert check.status == "error"
    assert "exit status 132" in check.message
    assert "Illegal instruction" in check.message


def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    report = doctor.run(str(tmp_path / "nowhere"))
    assert report.exit_code == 1
    assert "No such file" in named(report, "Python").message
    assert named(report, "torch").status == "error"


def test_garbage_is_an_error_that_quotes_it(stub: Stub) -> None:
    report = doctor.run(stub("echo '{\"memtop_doctor\": 2}'; echo '{oops'; echo bad luck >&2; exit 3"))
    check = named(report, "torch")
    assert (check.status, report.exit_code) == ("error", 1)
    assert "exit status 3" in check.message
    assert "bad luck" in check.message


def test_a_worker_that_hangs_is_a_warning_in_time_and_does_not_stay(stub: Stub, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    began = time.monotonic()
    report = doctor.run(stub(f'echo $$ > "{pid_file}"; exec sleep 600'), timeout=0.5)
    assert time.monotonic() - began < 10
    assert report.exit_code == 0
    for name in ("Python", "torch", "probe hooks", "CUDA", "driver, torch", "allocator"):
        check = named(report, name)
        assert check.status == "warning", name
        assert check.message.startswith("no answer within"), name
    with pytest.raises(ProcessLookupError):
        os.killpg(int(pid_file.read_text()), 0)


def test_a_cuda_that_hangs_does_not_hide_the_torch(stub: Stub) -> None:
    facts = {MARK: 1, "python": "3.12.1", "executable": "/x/python", "torch": "2.9.1", "build": "cuda 12.8"}
    facts |= {"path": "/x/torch", "cuda_build": "12.8", "hooks": {"optimizer_hooks": True, "backward": True}}
    report = doctor.run(stub(f"echo noise; echo '{json.dumps(facts)}'; exec sleep 600"), timeout=0.5)
    assert named(report, "torch").message == "2.9.1 (cuda 12.8) in /x/torch"
    assert named(report, "torch").status == "ok"
    assert named(report, "CUDA").message.startswith("no answer within")
    assert "lacks SavedTensor.data" in named(report, "probe hooks").message
    assert named(report, "driver, torch").status == "warning"


def test_endless_output_is_cut_and_ended(stub: Stub) -> None:
    worker = Worker(stub("exec yes garbage"), 0.3)
    with pytest.raises(TimeoutError):
        worker.facts("torch")
    assert len(worker.last_words) <= len("garbage")
    assert sum(map(len, worker._tails.values())) <= 2 << 16


def test_the_newest_line_of_ours_counts() -> None:
    lines = [b"{}", b'{"memtop_doctor": 1, "n": 1}', b"warning: x", b'{"memtop_doctor": 1, "n": 2}', b"{[", b'{"n": 3}']
    assert newest(b"\n".join(lines) + b'\n{"memtop_doctor": 1, "n": 4') == {MARK: 1, "n": 2}
    assert newest(b"[1]\n" * 3) is None
    assert newest(b"{" * 100_000 + b"\n") is None


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Something that is not coming, until the test has ended."""
    event = threading.Event()
    yield event
    event.set()


def test_a_driver_that_hangs_is_a_warning(stub: Stub, monkeypatch: pytest.MonkeyPatch, never: threading.Event) -> None:
    def hang() -> Seen:
        never.wait(60)
        return NO_GPU

    monkeypatch.setattr(gpu_checks, "ask", hang)
    began = time.monotonic()
    report = doctor.run(stub(bare()), timeout=1.0)
    assert time.monotonic() - began < 20
    assert named(report, "NVML, driver").message == "no answer within 1.0 s"
    assert named(report, "GPU processes").status == "warning"


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_this_python_has_all_that_the_probe_needs() -> None:
    report = doctor.run(None, 120)
    assert report.exit_code == 0
    assert named(report, "torch").status == "ok"
    assert "imported in" in named(report, "torch").message
    assert named(report, "probe hooks").status == "ok"
    assert all(not check.message.startswith(("no answer", "could not be checked")) for check in report.checks)
    assert max(map(len, report.as_text(80).splitlines())) <= 80


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_asked(stub: Stub, tmp_path: Path, width: int) -> None:
    (tmp_path / "torch.py").write_text(f"raise ImportError('a' * 300 + ' {'word ' * 60}')")
    report = doctor.run(stub(bare(f'PYTHONPATH="{tmp_path}"')), data=str(tmp_path))
    assert max(map(len, report.as_text(width).splitlines())) <= width


def check(status: str, name: str = "torch", remedy: str | None = None) -> Check:
    return Check(name=name, status=status, message=f"message of {name}", remedy=remedy, seconds=0.25)  # type: ignore[arg-type]


def test_text_has_a_line_and_a_remedy_each() -> None:
    report = Report(checks=(check("ok", "Python"), check("warning", "CUDA", "mend it")))
    assert report.as_text(80).splitlines() == [
        "ok       Python         message of Python",
        "warning  CUDA           message of CUDA",
        "                        -> mend it",
        "",
        "2 checks: 1 ok, 1 warning, 0 errors",
    ]
    assert report.exit_code == 0


def test_colour_changes_nothing_but_colour() -> None:
    report = Report(checks=(check("ok"), check("warning"), check("error")))
    coloured = report.as_text(80, True)
    assert "\x1b[1;31merror" in coloured
    for code in ("\x1b[32m", "\x1b[33m", "\x1b[1;31m", "\x1b[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == report.as_text(80)


def test_json_says_the_same() -> None:
    report = Report(checks=(check("error", remedy="install it"),))
    value = json.loads(json.dumps(report.as_json()))
    assert (value["v"], value["exit_code"]) == (1, 1)
    expected = {"name": "torch", "status": "error", "message": "message of torch", "remedy": "install it"}
    assert value["checks"] == [{**expected, "seconds": 0.25}]
