"""Starts a target, gives it its environment and its socket's address, and ends it."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

Output = Literal["capture", "inherit", "stderr"]

_BOOTSTRAP: Final = Path(__file__).parent.parent / "probe" / "bootstrap"
_TERM_SECONDS: Final = 0.8
"""Seconds between TERM and KILL."""
_NO_TORCH: Final = 33
_PREFIX, _SOCKET = "memtop-", "probe.sock"
_STARTING: Final = 60.0
"""Seconds after which a socket that refuses is no longer one that is just being made."""
_SOCKET_ROOM: Final = 100
"""Longest path of a Unix socket that every system takes, bytes."""


class LaunchError(Exception):
    """A target can't be started: what is wrong, and what to do."""

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class Address:
    """A listening Unix socket in a folder of its own, mode 0700. Raises `LaunchError` where none can be made."""

    def __init__(self) -> None:
        self._folder = _private_folder()
        self.path = str(self._folder / _SOCKET)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.listener.bind(self.path)
            self.listener.listen(64)
        except OSError as error:
            self.close()
            raise LaunchError(f"no Unix socket can be made at {self.path}: {error.strerror}", "set TMPDIR") from error
        self.listener.setblocking(False)

    def close(self) -> None:
        """Take the socket and its folder away."""
        self.listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _private_folder() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    for base in (runtime, None, "/tmp"):
        if base != "" and (base is None or os.access(base, os.W_OK | os.X_OK)):
            with suppress(OSError):
                _tidy(Path(base or tempfile.gettempdir()))
                folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
                if len(os.fsencode(folder / _SOCKET)) <= _SOCKET_ROOM:
                    return folder
                folder.rmdir()
    raise LaunchError("no folder for temporary files can be written", "set TMPDIR to one that can")


def _tidy(base: Path) -> None:
    """Take away what a killed memtop of ours left in `base`: folders with a socket that nobody listens on."""
    for left in base.glob(f"{_PREFIX}*/{_SOCKET}"):
        with suppress(OSError):
            found = left.lstat()
            old = time.time() - found.st_mtime > _STARTING
            if old and found.st_uid == os.getuid() and stat.S_ISSOCK(found.st_mode) and _is_deserted(left):
                left.unlink()
                left.parent.rmdir()


def _is_deserted(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.setblocking(False)
        return caller.connect_ex(str(path)) == errno.ECONNREFUSED


def python_with_torch(python: str | None) -> str:
    """The Python that runs a scenario. Raises `LaunchError` where it is not there or has no torch."""
    chosen = python or sys.executable
    if not _has_torch(chosen, python is None):
        raise LaunchError(
            f"torch is not installed for {chosen}",
            "pip install 'torch-memtop[torch]', or name a Python that has it with --python",
        )
    return chosen


def _has_torch(chosen: str, is_ours: bool) -> bool:
    if is_ours:
        return importlib.util.find_spec("torch") is not None
    ask = f"import importlib.util, sys; sys.exit({_NO_TORCH} if importlib.util.find_spec('torch') is None else 0)"
    try:
        done = subprocess.run([chosen, "-c", ask], stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(f"{chosen} can't be run: {error}", "name a Python with --python") from error
    if done.returncode not in (0, _NO_TORCH):
        raise LaunchError(f"{chosen} is no Python that works", "name a Python with --python")
    return done.returncode == 0


def environment(
    base: Mapping[str, str], address: str, overhead: float, *, owned: bool = True, steps: int | None = None
) -> dict[str, str]:
    """The target's environment; `owned`: the target ends with us. `steps`: after so many we shall end it.

    Never leaves a trailing colon in PYTHONPATH: it would mean the current folder.
    """
    before = base.get("PYTHONPATH")
    kept = {name: value for name, value in base.items() if name not in ("MEMTOP_OWNED", "MEMTOP_STEPS")}
    return {
        **kept,
        "PYTHONPATH": f"{_BOOTSTRAP}{os.pathsep}{before}" if before else str(_BOOTSTRAP),
        "MEMTOP_SOCKET": address,
        "MEMTOP_OVERHEAD": repr(overhead),
        **({"MEMTOP_OWNED": "1"} if owned else {}),
        **({} if steps is None else {"MEMTOP_STEPS": str(steps)}),
    }


class Target:
    """A scenario's process, leader of a session and process group of its own."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], output: Output) -> None:
        """Start it. Raises `LaunchError` where the command can't be run."""
        sink = {"capture": subprocess.PIPE, "inherit": None, "stderr": 2}[output]
        try:
            self._process = subprocess.Popen(
                command,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT if output == "capture" else None,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise LaunchError(f"{command[0]} can't be run: {error.strerror}", "check --python") from error
        self._swept = False
        self.pid = self._process.pid
        self.stdout = self._process.stdout

    def wait(self, timeout: float | None = None) -> int | None:
        """The return code (minus a signal's number), or `None` after `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> int:
        """TERM, then KILL, to the whole group. Waits for the root, about a second at most."""
        self._signal(signal.SIGTERM)
        code = self.wait(_TERM_SECONDS)
        self.sweep()
        code = self.wait() if code is None else code
        return -signal.SIGKILL if code is None else code

    def sweep(self) -> None:
        """Nothing of the group is left behind, workers that outlived their root included."""
        self._signal(signal.SIGKILL)
        self._swept = self._ended

    @property
    def _ended(self) -> bool:
        """Whether the root has been waited for."""
        return self._process.returncode is not None

    def _signal(self, number: int) -> None:
        # A group lives as long as one member: signalling by number is safe until the last has gone. After that the
        # number may become somebody else's.
        if self._swept:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
