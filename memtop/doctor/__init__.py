"""Floor 4: `memtop doctor`. What works on this machine, what does not, and the remedy."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final

from memtop.doctor import gpu_checks, system_checks, terminal_checks, torch_checks
from memtop.doctor.bounded import Later, Question, answer_all
from memtop.doctor.report import Check, Report
from memtop.doctor.worker import Worker

__all__ = ["Check", "Report", "run"]

_QUICK: Final = 5.0
"""Seconds for a check that only reads files."""
_DRIVER: Final = 10.0
"""Seconds for a driver that may have to wake a GPU."""


def run(python: str | None = None, timeout: float = 30.0, data: str | None = None) -> Report:
    """Every check, in `timeout` seconds and a little more at most, however much hangs.

    `python` is the target's (`None`: our own), `data` a folder with real data files. Starts one child process, in that
    Python, and ends it. Never raises for what it finds.
    """
    worker = Worker(python or sys.executable, timeout)
    try:
        return Report(checks=answer_all(_questions(worker, python, timeout, data, os.environ)))
    finally:
        worker.close()


def _questions(
    worker: Worker, python: str | None, timeout: float, data: str | None, env: Mapping[str, str]
) -> list[Question]:
    """In the order of reading. What the worker answers has a second more than the worker itself."""
    slow, driver, quick = timeout + 1, min(_DRIVER, timeout), min(_QUICK, timeout)
    gpus = Later(gpu_checks.ask)
    stdout = sys.__stdout__.encoding if sys.__stdout__ else None
    return [
        Question(name="Python", ask=lambda: torch_checks.python(worker, python), limit=slow),
        Question(name="memtop", ask=system_checks.installation, limit=quick),
        Question(name="torch", ask=lambda: torch_checks.torch(worker), limit=slow),
        Question(name="probe hooks", ask=lambda: torch_checks.hooks(worker), limit=slow),
        Question(name="CUDA", ask=lambda: torch_checks.cuda(worker), limit=slow),
        Question(name="NVML, driver", ask=lambda: gpu_checks.driver(gpus.get(driver)), limit=driver),
        Question(name="driver, torch", ask=lambda: gpu_checks.fits(worker, gpus, driver), limit=slow),
        Question(name="GPU processes", ask=lambda: gpu_checks.processes(gpus.get(driver)), limit=driver),
        Question(name="allocator", ask=lambda: torch_checks.allocator(worker), limit=slow),
        Question(name="sockets", ask=lambda: system_checks.sockets(system_checks.runtime_folder(env)), limit=quick),
        Question(name="permissions", ask=system_checks.permissions, limit=quick),
        Question(name="memory limit", ask=system_checks.control_group, limit=quick),
        Question(name="/dev/shm", ask=system_checks.shared_memory, limit=quick),
        Question(name="terminal", ask=lambda: terminal_checks.terminal(env), limit=quick),
        Question(name="colours", ask=lambda: terminal_checks.colours(env), limit=quick),
        Question(name="encoding", ask=lambda: terminal_checks.encoding(stdout), limit=quick),
        Question(name="locale", ask=lambda: terminal_checks.language(env), limit=quick),
        Question(name="data folder", ask=lambda: system_checks.data_folder(data), limit=quick),
    ]
