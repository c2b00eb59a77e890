"""What the tests of failures share: memtop on a script of theirs, on a pipe or on a terminal, and who is left."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from time import monotonic
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
LIMIT = 60.0
"""Seconds after which what should have happened never will."""
GONE = 2.0
"""Seconds that our processes have to go away."""
MANIFEST = 'title = "a script of a test"\nlesson = "none"\nsynthetic = "none"\n'


def scenario(folder: Path, script: str) -> Path:
    """A scenario called `own` with this script; the folder to give to `memtop`."""
    own, common = folder / "scenarios" / "own", folder / "scenarios" / "common"
    own.mkdir(parents=True)
    common.mkdir()
    shutil.copy(ROOT / "scenarios" / "common" / "settings.toml", common)
    (own / "scenario.toml").write_text(MANIFEST)
    (own / "train.py").write_text(dedent(script))
    return own.parent


def eventually(condition: Callable[[], object], limit: float = LIMIT) -> bool:
    """Whether `condition` comes true within `limit` seconds."""
    end, pause = monotonic() + limit, threading.Event()
    while not condition():
        if monotonic() > end:
            return False
        pause.wait(0.01)
    return True


@dataclass
class Place:
    """A folder for temporary files with a path short enough for a socket, and what memtop runs in it."""

    temp: Path
    env: dict[str, str]
    started: list[psutil.Process] = field(default_factory=list)

    def memtop(self, *arguments: str, root: Path | None = None, **more: Any) -> subprocess.Popen[bytes]:
        """Start memtop on the scenarios in `root` (its own without one)."""
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        env = self.env | more.pop("env", {})
        process = subprocess.Popen(command(root, arguments), env=env, cwd=ROOT, **(streams | more))
        self.started.append(psutil.Process(process.pid))
        return process

    def folders(self) -> list[Path]:
        """Socket folders that lie there."""
        return list(self.temp.glob("memtop-*"))

    def targets(self) -> list[psutil.Process]:
        """The processes of targets started here: their environment leads to a socket in our folder."""
        return [process for process in psutil.process_iter() if str(self.temp) in _socket(process)]

    def target(self) -> psutil.Process:
        """The first target, once it is there."""
        assert eventually(self.targets)
        return self.targets()[0]

    def nobody_left(self, limit: float = GONE) -> bool:
        """Whether every target goes away in time."""
        return eventually(lambda: not self.targets(), limit)


def command(root: Path | None, arguments: tuple[str, ...]) -> list[str]:
    if root is None:
        return [sys.executable, "-m", "memtop", *arguments]
    return [sys.executable, "-m", "tests.process.custom_memtop", str(root), "--scenario", "own", *arguments]


def _socket(process: psutil.Process) -> str:
    with suppress(psutil.Error, IndexError):  # psutil reads an empty file of a process that is just ending
        if process.status() != psutil.STATUS_ZOMBIE:
            return process.environ().get("MEMTOP_SOCKET", "")
    return ""


@dataclass
class Terminal:
    """memtop on a pseudo-terminal that is its controlling one; a thread takes what it draws."""

    process: subprocess.Popen[bytes]
    master: int
    seen: bytearray = field(default_factory=bytearray)

    def begin(self) -> None:
        """Take what comes from now on."""
        threading.Thread(target=self._take, args=(self.master,), daemon=True).start()

    def _take(self, master: int) -> None:
        # Never blocked in `read` for long: that would keep the terminal open past `vanish`.
        with suppress(OSError, ValueError):
            while self.master == master:
                if select.select([master], [], [], 0.05)[0]:
                    self.seen += os.read(master, 65536)

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.master, keys)

    def vanish(self) -> None:
        """The window is closed: the kernel sends HUP."""
        number, self.master = self.master, -1
        os.close(number)


@contextmanager
def terminal(
    place: Place, *arguments: str, root: Path | None = None, size: tuple[int, int] = (120, 40), **env: str
) -> Iterator[Terminal]:
    """memtop with a screen of `size` (columns, lines)."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    process = place.memtop(
        *arguments,
        root=root,
        env={"TERM": "xterm-256color"} | env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    screen = Terminal(process, master)
    screen.begin()
    try:
        yield screen
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(LIMIT)
        if screen.master >= 0:
            os.close(screen.master)
