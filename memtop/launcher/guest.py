"""A process that somebody else started: looked at, never ended, its exit status nobody's business."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, Any, Final

from memtop.launcher.target import LaunchError

_LOOK: Final = 0.2
"""Seconds between two looks where the system can't tell of a process's end."""


class Guest:
    """A running process. It outlives us, whatever happens to us."""

    stdout: IO[bytes] | None = None

    def __init__(self, pid: int, link: socket.socket | None = None) -> None:
        """`link` leads to its probe, if it has one. Raises `LaunchError` where there is no such process."""
        self.link = link
        psutil = _psutil()
        try:
            self._process = psutil.Process(pid)
            if self._process.status() == psutil.STATUS_ZOMBIE:
                raise psutil.NoSuchProcess(pid)
            self.began = float(self._process.create_time())
        except (psutil.Error, ValueError, OverflowError) as error:
            raise LaunchError(f"there is no process {pid}", "memtop connect lists what memtop started") from error
        self.pid = pid
        self._watched = _watched(pid)
        self._hear, self._say = os.pipe()
        self.command = command_of(pid) or (f"process {pid}",)

    @property
    def age(self) -> float:
        """Seconds since it was started, by the wall clock."""
        return max(0.0, time.time() - self.began)

    def wait(self, timeout: float | None = None) -> int | None:
        """0 once it is gone (who started it knows how) or left, or `None` after `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        ends = [self._hear] if self._watched is None else [self._hear, self._watched]
        while self._watched is not None or self._runs():
            rest = None if until is None else max(0.0, until - time.monotonic())
            pause = rest if self._watched is not None else min(_LOOK, _LOOK if rest is None else rest)
            if select.select(ends, [], [], pause)[0]:
                return 0
            if rest is not None and rest <= 0:
                return None
        return 0

    def leave(self) -> None:
        """Wait for its end no more."""
        os.write(self._say, b".")

    def _runs(self) -> bool:
        psutil = _psutil()
        with suppress(psutil.Error):
            return bool(self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE)
        return False

    def send(self, number: int) -> None:
        """Signals that come to us are ours."""

    def end(self, others: Iterable[int] = ()) -> None:
        """It is not ours to end."""

    def sweep(self) -> None:
        """Nor is what it left behind."""


def command_of(pid: int) -> tuple[str, ...]:
    """The argument vector of a process, or its name; empty where it can't be read."""
    psutil = _psutil()
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        with suppress(psutil.AccessDenied):
            if words := process.cmdline():
                return tuple(words)
        return (process.name(),)
    return ()


def age_of(pid: int) -> float | None:
    """Seconds since a process was started; `None` where it is gone."""
    psutil = _psutil()
    with suppress(psutil.Error):
        return max(0.0, time.time() - float(psutil.Process(pid).create_time()))
    return None


def _watched(pid: int) -> int | None:
    """A file that becomes readable when the process ends; `None` where this system has none."""
    opener = getattr(os, "pidfd_open", None)
    with suppress(OSError):
        return None if opener is None else int(opener(pid))
    return None


def _psutil() -> Any:
    """psutil, where somebody else's process is looked at: every session would pay for its import."""
    import psutil

    return psutil
