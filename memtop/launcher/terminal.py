"""The other end of the terminal that a command runs on: what a person types goes in, and its size follows theirs."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import termios
import threading
from contextlib import suppress
from typing import Final

_LONGEST: Final = 4095
"""Bytes of a line that a terminal keeps for who reads it (`N_TTY_BUF_SIZE` less one)."""
_PIECE: Final = 256
"""Bytes written at once: a terminal that says it has room has room for these."""
_FRAME: Final = 3
"""Columns of the screen that are beside the output: a space at each side, and the scrollbar."""
_INTERRUPT: Final = "\x03"
_ENDED: Final = "the training has ended"
_FULL: Final = "its terminal is full: the training reads nothing"
_LONG: Final = f"a line of a terminal holds {_LONGEST:,} bytes, and this one is longer"


class Terminal:
    """A duplicate of the master. Who reads it is the keeper; a closed one of ours changes nothing for the command."""

    def __init__(self, master: int, group: int) -> None:
        """`group` is the command's process group. The terminal is nobody's controlling one, so the kernel sends no
        signal of its: those that a size and Ctrl-C make come from here."""
        self._master = os.dup(master)
        self._group = group
        self._lock = threading.Lock()

    def type(self, text: str) -> str | None:
        """Press these keys. Returns why they can't be, or `None`. Ctrl-C is INT where the terminal makes it one."""
        data = text.encode("utf-8", "replace")
        if any(len(line) > _LONGEST for line in data.split(b"\n")):
            return _LONG
        with self._lock:
            if self._master < 0:
                return _ENDED
            try:
                if text == _INTERRUPT and termios.tcgetattr(self._master)[3] & termios.ISIG:
                    self._signal(signal.SIGINT)
                    return None
                return None if self._write(data) else _FULL
            except (OSError, termios.error):
                return _ENDED

    def resize(self, columns: int, lines: int) -> None:
        """Be as large as a screen's output; who runs on it is told (WINCH), where that is a change."""
        with self._lock, suppress(OSError):
            size = inside(columns, lines)
            if self._master < 0 or size_of(self._master) == size:
                return
            set_size(self._master, *size)
            self._signal(signal.SIGWINCH)

    def close(self) -> None:
        """The command has ended. Idempotent."""
        with self._lock:
            if self._master >= 0:
                os.close(self._master)
            self._master = -1

    def _write(self, data: bytes) -> bool:
        """Whether all of it found room; never waits for a reader."""
        while data:
            if not select.select([], [self._master], [], 0)[1]:
                return False
            data = data[os.write(self._master, data[:_PIECE]) :]
        return True

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._group, number)


def inside(columns: int, lines: int) -> tuple[int, int]:
    """(columns, lines) that a screen of this size has for output: a progress bar fills a row and no more."""
    return max(1, columns - _FRAME), lines


def set_size(terminal: int, columns: int, lines: int) -> None:
    """Set a terminal's size in cells. Raises `OSError`."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def size_of(terminal: int) -> tuple[int, int]:
    """(columns, lines). Raises `OSError`."""
    lines, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, b"\0" * 8))
    return columns, lines
