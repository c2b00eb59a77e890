"""A CUDA record's road through a whole session: counters from inside the target, the fake driver from outside."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memtop.launcher import manifests
from memtop.model import categories
from memtop.model.records import DeviceRecord, MemoryRecord, Record, RunRecord
from memtop.session import Options, Session
from tests.fake_nvml.describe import Gpu, Machine, Process
from tests.process.cuda_target import COUNTERS, KNOWN, MIB

TARGET = Path(__file__).with_name("cuda_target.py")
UUID = "GPU-5a5a5a5a-0000-1111-2222-333333333333"
OTHER = "GPU-6b6b6b6b-0000-1111-2222-333333333333"
LIMIT = 20
"""Seconds after which what should have come has not."""


class Collected:
    """The records of a session, and a way to wait for one."""

    def __init__(self, session: Session) -> None:
        self.records: list[Record] = []
        self._news = threading.Condition()
        session.on_record(self._add)

    def _add(self, record: Record) -> None:
        with self._news:
            self.records.append(record)
            self._news.notify_all()

    def first(self, wanted: Callable[[Record], bool]) -> Any:
        with self._news:
            assert self._news.wait_for(lambda: any(wanted(one) for one in self.records), LIMIT)
            return next(one for one in self.records if wanted(one))


@pytest.fixture
def run(loaded_nvml: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """`run(machine_of_pid)`: a session on the pretended training; the machine knows the training's process."""
    sessions: list[Session] = []

    def start(machine: Callable[[int], Machine]) -> Collected:
        nvml = loaded_nvml(machine(0))
        pid_file = tmp_path / "pid"
        command = [sys.executable, str(TARGET), UUID[4:], str(pid_file)]
        monkeypatch.setattr(manifests, "command", lambda *_: command)
        session = Session(Options(settings={"device": "cuda:0"}, interval=0.1))
        sessions.append(session)
        collected = Collected(session)
        session.start()
        collected.first(lambda one: isinstance(one, MemoryRecord))
        nvml.describe(machine(int(pid_file.read_text())))
        return collected

    yield start
    for session in sessions:
        session.close()


def _machine(pid: int, memory: int | str = 600 * MIB) -> Machine:
    ours = (Process(pid=pid, memory=memory),) if pid else ()
    shown = Gpu(uuid=UUID, memory_used=5000 * MIB, processes=(Process(pid=1, memory=4000 * MIB), *ours))
    return Machine(gpus=(Gpu(uuid=OTHER), shown))


def test_the_parts_of_a_gpu_sum_to_what_the_driver_says(run: Any) -> None:
    collected = run(_machine)
    record = collected.first(lambda one: isinstance(one, MemoryRecord) and one.bytes["context"] is not None)
    sizes = record.bytes
    assert tuple(sizes) == categories.CUDA
    assert record.device_total == 143771 * MIB == sum(size for size in sizes.values() if size is not None)
    assert record.allocated == sum(sizes[name] or 0 for name in categories.TENSORS) + sizes["rounding"]
    assert sizes["other_tensors"] == COUNTERS["requested"] - sum(KNOWN.values())
    assert (sizes["rounding"], sizes["pending_free"], sizes["cached"]) == (6 * MIB, 4 * MIB, 28 * MIB)
    assert sizes["context"] == 600 * MIB - 128 * MIB
    assert sizes["temporaries"] is None
    assert any("temporaries" in note for note in record.notes)


def test_a_device_is_named_as_the_target_sees_it_by_its_uuid(run: Any) -> None:
    collected = run(_machine)
    seen = collected.first(lambda one: isinstance(one, DeviceRecord) and one.uuid == UUID and one.device == "cuda:0")
    hidden = collected.first(lambda one: isinstance(one, DeviceRecord) and one.uuid == OTHER and one.t > seen.t)
    assert hidden.device == f"gpu:{OTHER}"
    assert {gpu.uuid for gpu in collected.first(lambda one: isinstance(one, RunRecord)).gpus} == {UUID, OTHER}


def test_a_driver_that_hides_the_process_leaves_the_context_unknown(run: Any) -> None:
    collected = run(lambda pid: _machine(pid, memory="n/a"))
    record = collected.first(lambda one: isinstance(one, MemoryRecord) and one.device_total is not None)
    assert record.bytes["context"] is None
    assert record.device_total == sum(size for size in record.bytes.values() if size is not None)
    assert any("context" in note and "other_processes" in note for note in record.notes)
