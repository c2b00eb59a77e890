"""What the screen costs: CPU, memory, bytes to the terminal, and the first paint against a bare Textual app.

`python tests/bench/bench_ui.py [--scenario mlp-cifar] [--seconds 20] [--runs 10] [--size 120x40]`. Everything runs in
a pseudo-terminal of that size, drained all the time. CPU is `utime + stime` of the monitor's own process (its target
is another process and does not count). First paints are interleaved, one of each in turn, and medians are compared;
bytecode is written first, as it is on a person's machine. On a busy machine the CPU that each spent until its first
paint says more than the clock.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import sys
import termios
import time
from pathlib import Path

_HELLO = """
from textual.app import App
from textual.widgets import Static
class Hello(App):
    def compose(self):
        yield Static("Hello, World")
Hello().run()
"""
_TICK = os.sysconf("SC_CLK_TCK")
_LIMIT = 60.0


class Terminal:
    """A command in a pseudo-terminal."""

    def __init__(self, command: list[str], size: tuple[int, int]) -> None:
        self.began = time.monotonic()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
            env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
            env.pop("PYTHONDONTWRITEBYTECODE", None)
            os.execvpe(command[0], command, env)

    def read(self, seconds: float) -> bytes:
        """What arrives within `seconds`, perhaps nothing."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return b""
        try:
            return os.read(self._fd, 1 << 16)
        except OSError:
            return b""

    def drain(self, seconds: float) -> int:
        """Bytes that arrive in `seconds`."""
        until, count = time.monotonic() + seconds, 0
        while (left := until - time.monotonic()) > 0:
            count += len(self.read(left))
        return count

    def first(self, words: bytes) -> float:
        """Seconds from the start until `words` stood in the output."""
        seen = b""
        while words not in seen:
            if time.monotonic() - self.began > _LIMIT:
                raise TimeoutError(f"{words!r} never came")
            seen += self.read(1.0)
        return time.monotonic() - self.began

    def cpu(self) -> float:
        """Seconds of CPU of this process alone."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def resident(self) -> int:
        """Resident bytes of this process alone."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        """End it and wait, draining, so that it can restore its terminal."""
        os.kill(self.pid, signal.SIGTERM)
        until = time.monotonic() + 5
        while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            self.read(0.05)
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
        os.close(self._fd)


def _steady(command: list[str], size: tuple[int, int], settle: float, seconds: float) -> tuple[float, int, float]:
    """(percent of a core, resident bytes, bytes a second) once it has settled."""
    terminal = Terminal(command, size)
    try:
        terminal.drain(settle)
        cpu, began = terminal.cpu(), time.monotonic()
        count = terminal.drain(seconds)
        took = time.monotonic() - began
        return 100 * (terminal.cpu() - cpu) / took, terminal.resident(), count / took
    finally:
        terminal.close()


def _first(command: list[str], size: tuple[int, int], words: bytes) -> tuple[float, float]:
    """(seconds, seconds of CPU of this process) until `words` stood on the screen."""
    terminal = Terminal(command, size)
    try:
        return terminal.first(words), terminal.cpu()
    finally:
        terminal.close()


def main() -> None:
    """Print a small table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenario", default="mlp-cifar")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--settle", type=float, default=12.0)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--size", default="120x40")
    given = parser.parse_args()
    width, _, height = given.size.partition("x")
    size = int(width), int(height)
    memtop = [sys.executable, "-m", "memtop", "--device", "cpu", "--scenario", given.scenario]
    hello = [sys.executable, "-c", _HELLO]
    pairs = [(_first(hello, size, b"Hello, World"), _first(memtop, size, b"GiB")) for _ in range(given.runs + 1)][1:]
    cpu, resident, rate = _steady(memtop, size, given.settle, given.seconds)
    print(f"{given.scenario} at {given.size}, medians of {given.runs} interleaved pairs, {given.seconds:g} s steady")
    for place, what in enumerate(("first paint", "CPU until then")):
        bare, ours = (statistics.median(pair[side][place] for pair in pairs) for side in (0, 1))
        ratio = statistics.median(b[place] / a[place] for a, b in pairs)
        print(f"{what:15} bare Textual {bare * 1e3:5.0f} ms, with figures {ours * 1e3:5.0f} ms   pairs {ratio:.2f}")
    print(f"CPU of the monitor         {cpu:7.2f} % of a core")
    print(f"resident                   {resident / 1e6:7.1f} MB")
    print(f"to the terminal            {rate / 1e3:7.1f} kB/s")


if __name__ == "__main__":
    main()
