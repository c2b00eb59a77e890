"""Signals on their way to a person's command that shares our terminal and process group.

What the terminal sends (Ctrl-C, Ctrl-Z, a new size, a hang-up) reaches the whole group: the command has it already,
and having it twice would be another thing than without us. What somebody sends to us alone is passed on. Linux tells
the two apart by the signal's origin. A signal that somebody sends to the whole group can't be told from one for us
alone, and reaches the command twice.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

RELAYED: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGTSTP,
)
_ALONE: Final = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Where a signal's origin can't be asked: those that no terminal sends."""

_inherited = signal.pthread_sigmask(signal.SIG_BLOCK, ())
"""The signals that were blocked when memtop was started: what the command must find, too."""


class Inherited:
    """While entered, this thread blocks what it blocked when memtop was started: a child gets its mask from here."""

    def __enter__(self) -> None:
        self._before = signal.pthread_sigmask(signal.SIG_SETMASK, _inherited)

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)


class Relay:
    """While entered, nothing but KILL ends us before the command. Main thread, before any other thread is started."""

    def __init__(self) -> None:
        self._numbers = {number for number in RELAYED if signal.getsignal(number) is not signal.SIG_IGN}
        self._waiting: list[int] = []
        self._handlers: dict[int, Any] = {}
        self._mask: set[Any] = set()

    def __enter__(self) -> Relay:
        # The handlers matter where the signals can't be blocked: while the command is being started.
        for number in self._numbers - {signal.SIGTSTP}:
            self._handlers[number] = signal.signal(number, self._remember)
        if sys.platform == "linux":
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*self._numbers, signal.SIGCHLD})
        return self

    def __exit__(self, *_: object) -> None:
        if sys.platform == "linux":
            while signal.sigtimedwait(self._numbers, 0) is not None:
                pass  # Too late for everybody: the command has ended.
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _: FrameType | None) -> None:
        if number in _ALONE:
            self._waiting.append(number)

    def turn(self, timeout: float, pid: int, send: Callable[[int], None]) -> None:
        """Pass on what comes within `timeout` seconds; a child's end cuts it short. `pid` is the command's."""
        while self._waiting:
            send(self._waiting.pop(0))
        if sys.platform != "linux":
            time.sleep(timeout)
            return
        came = signal.sigtimedwait({*self._numbers, signal.SIGCHLD}, timeout)
        if came is None or came.si_signo == signal.SIGCHLD:
            return
        # Positive: the kernel's, for the terminal. And what the command sends to its whole group it has sent itself.
        alone = came.si_code <= 0 and came.si_pid != pid
        if alone:
            send(came.si_signo)
        if came.si_signo == signal.SIGTSTP:
            os.kill(os.getpid(), signal.SIGSTOP)
            if alone:
                send(signal.SIGCONT)
