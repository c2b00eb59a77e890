"""On every road out: the session is closed, the terminal is as it was, the status is right."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest

ROOT = Path(__file__).parents[2]
ALT_SCREEN_OFF, CURSOR_ON, PASTE_OFF = b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?2004l"
LIMIT = 20.0


@dataclass
class Terminal:
    """A memtop on a pseudo-terminal."""

    process: subprocess.Popen[bytes]
    master: int
    slave: int
    calls: Path
    seen: bytes = b""

    def read_until(self, mark: bytes) -> None:
        """Read until `mark` was written."""
        end = monotonic() + LIMIT
        while mark not in self.seen:
            assert monotonic() < end, self.seen[-2000:]
            if select.select([self.master], [], [], 0.2)[0]:
                self.seen += os.read(self.master, 65536)

    def finish(self) -> int:
        """Read to the end; the exit status."""
        end = monotonic() + LIMIT
        while self.process.poll() is None or select.select([self.master], [], [], 0)[0]:
            assert monotonic() < end, self.seen[-2000:]
            if select.select([self.master], [], [], 0.05)[0]:
                with suppress(OSError):
                    self.seen += os.read(self.master, 65536)
        return self.process.returncode


@contextmanager
def terminal(tmp_path: Path, *how: str, stderr: Path | None = None) -> Iterator[Terminal]:
    """memtop in its own session, with a terminal of 120 x 40 that outlives it."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    calls = tmp_path / "calls"
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "COLUMNS": "", "LINES": ""}
    environment = {name: value for name, value in environment.items() if value and name != "NO_COLOR"}
    command = [sys.executable, "-m", "tests.tui.screen_process", str(calls), *how]
    with open(stderr or os.devnull, "wb") as aside:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=slave, stdout=slave, stderr=aside if stderr else slave
        )
    try:
        yield Terminal(process, master, slave, calls)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for number in (master, slave):
            with suppress(OSError):
                os.close(number)


def waiting(master: int) -> int:
    """Bytes written to the terminal that nobody has read."""
    return struct.unpack("i", fcntl.ioctl(master, termios.FIONREAD, b"    "))[0]


def restored(seen: bytes, before: list[object], slave: int) -> bool:
    """Whether the terminal is as it was."""
    return all(code in seen for code in (ALT_SCREEN_OFF, CURSOR_ON, PASTE_OFF)) and termios.tcgetattr(slave) == before


def test_q_leaves_a_summary_in_the_scrollback(tmp_path: Path) -> None:
    with terminal(tmp_path) as screen:
        before = termios.tcgetattr(screen.slave)
        screen.read_until(b"parameters")
        os.write(screen.master, b"q")
        assert screen.finish() == 0
        assert restored(screen.seen, before, screen.slave)
        assert screen.calls.read_text() == "closed"
        after = screen.seen[screen.seen.rindex(ALT_SCREEN_OFF) :]
        assert b"mlp-cifar" in after
        assert b"batch 64" in after


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_closes_the_session_and_restores_the_terminal(tmp_path: Path, number: signal.Signals) -> None:
    with terminal(tmp_path) as screen:
        before = termios.tcgetattr(screen.slave)
        screen.read_until(b"parameters")
        screen.process.send_signal(number)
        assert screen.finish() == 128 + number
        assert restored(screen.seen, before, screen.slave)
        assert screen.calls.read_text() == "closed"
        assert b"Traceback" not in screen.seen
        assert fcntl.fcntl(screen.slave, fcntl.F_GETFL) & os.O_NONBLOCK == 0


def test_a_terminal_that_goes_away_ends_it_within_two_seconds(tmp_path: Path) -> None:
    with terminal(tmp_path) as screen:
        screen.read_until(b"parameters")
        os.close(screen.master)
        os.close(screen.slave)
        screen.process.send_signal(signal.SIGHUP)
        began = monotonic()
        assert screen.process.wait(LIMIT) == 128 + signal.SIGHUP
        assert monotonic() - began < 2
        assert screen.calls.read_text() == "closed"


def test_a_terminal_that_is_not_read_does_not_hold_it_up(tmp_path: Path) -> None:
    """Nobody empties the terminal: its buffer fills, and the thread that writes to it is stuck."""
    with terminal(tmp_path) as screen:
        screen.read_until(b"parameters")
        os.write(screen.master, b"u" * 100)
        end = monotonic() + LIMIT
        while waiting(screen.master) < 4000:
            assert monotonic() < end
            assert screen.process.poll() is None
        screen.process.send_signal(signal.SIGTERM)
        assert screen.process.wait(LIMIT) == 128 + signal.SIGTERM
        assert screen.calls.read_text() == "closed"


def test_an_error_in_drawing_closes_the_session_and_says_so(tmp_path: Path) -> None:
    with terminal(tmp_path, "broken") as screen:
        before = termios.tcgetattr(screen.slave)
        assert screen.finish() == 1
        assert termios.tcgetattr(screen.slave) == before
        assert screen.calls.read_text() == "closed"
        assert b"ZeroDivisionError" in screen.seen


def test_a_target_that_never_started_is_shown_and_is_status_two(tmp_path: Path) -> None:
    with terminal(tmp_path, "refused") as screen:
        screen.read_until(b"torch is not installed")
        os.write(screen.master, b"q")
        assert screen.finish() == 2
        after = screen.seen[screen.seen.rindex(ALT_SCREEN_OFF) :]
        assert b"torch is not installed" in after
        assert b"pip install torch" in after


def test_a_target_that_failed_is_not_memtops_failure(tmp_path: Path) -> None:
    with terminal(tmp_path, "failed") as screen:
        screen.read_until(b"exit status 1")
        os.write(screen.master, b"q")
        assert screen.finish() == 0


def test_the_screen_goes_to_stdout_where_stderr_is_a_file(tmp_path: Path) -> None:
    with terminal(tmp_path, stderr=tmp_path / "err") as screen:
        screen.read_until(b"parameters")
        os.write(screen.master, b"q")
        assert screen.finish() == 0
        assert (tmp_path / "err").read_bytes() == b""
