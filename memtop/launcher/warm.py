"""A process that has torch in memory and forks scenarios: the next one makes its first step in a moment."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from memtop.launcher.target import Output, Target

_STARTER: Final = Path(__file__).parent.parent / "workers" / "starter.py"
_PROBE: Final = Path(__file__).parent.parent / "probe"
_ANSWER: Final = 2.0
"""Seconds that a fork may take."""


class Warm:
    """The starter of one Python. Falls back to nothing: `launch` answers `None` wherever it can't."""

    def __init__(self, python: str, env: Mapping[str, str]) -> None:
        """Start it. Where that fails it is never ready."""
        self.python = python
        self._ready = threading.Event()
        self._answers = threading.Condition()
        self._born: list[int] = []
        self._codes: dict[int, int] = {}
        self._gone = False
        self._process: subprocess.Popen[bytes] | None = None
        self._link, theirs = socket.socketpair()
        words = [python, "-u", str(_STARTER), str(theirs.fileno()), str(_PROBE)]
        # Never niced: its children would inherit that, and only root could take it back.
        with theirs, suppress(OSError):
            self._process = subprocess.Popen(
                words,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        threading.Thread(target=self._read, name="memtop-warm", daemon=True).start()

    @staticmethod
    def possible() -> bool:
        """Whether this system has what it takes."""
        return sys.platform == "linux" and hasattr(os, "pidfd_open")

    @property
    def ready(self) -> bool:
        """Whether a launch would be warm."""
        return self._ready.is_set() and not self._gone

    def launch(self, command: Sequence[str], env: Mapping[str, str], output: Output) -> Target | None:
        """A scenario, forked; `None` where only a fresh process will do."""
        if not self.ready or command[0] != self.python:
            return None
        read, write = os.pipe() if output == "capture" else (None, None)
        streams = [write, write] if write is not None else [2 if output == "stderr" else 1, 2]
        request = json.dumps({"command": list(command), "env": dict(env), "cwd": str(Path.cwd())}).encode() + b"\n"
        pid = self._ask(request, [one for one in streams if one is not None])
        if write is not None:
            os.close(write)
        if pid is None:
            if read is not None:
                os.close(read)
            return None
        return WarmTarget(self, pid, None if read is None else os.fdopen(read, "rb", buffering=0))

    def _ask(self, request: bytes, streams: list[int]) -> int | None:
        with self._answers:
            try:
                socket.send_fds(self._link, [request], streams)
            except OSError:
                return None
            self._answers.wait_for(lambda: self._born or self._gone, _ANSWER)
            return self._born.pop() if self._born else None

    def code(self, pid: int, timeout: float | None) -> int | None:
        """How a child ended, minus the signal's number; `None` after `timeout` seconds. -9 where nobody can tell."""
        with self._answers:
            self._answers.wait_for(lambda: pid in self._codes or self._gone, timeout)
            return self._codes.get(pid, -9 if self._gone else None)

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        with suppress(OSError, ValueError), self._link.makefile("rb") as lines:
            for line in lines:
                self._heard(json.loads(line))
        with self._answers:
            self._gone = True
            self._answers.notify_all()

    def _heard(self, answer: dict[str, Any]) -> None:
        with self._answers:
            if answer.get("ready"):
                self._ready.set()
            elif "unsafe" in answer:
                self._gone = True
            elif "code" in answer:
                self._codes[answer["pid"]] = answer["code"]
            else:
                self._born.append(answer["pid"])
            self._answers.notify_all()


class WarmTarget(Target):
    """A scenario's process that a starter forked, leader of a session and process group of its own."""

    def __init__(self, warm: Warm, pid: int, stdout: IO[bytes] | None) -> None:
        self._warm = warm
        self._swept = False
        self.pid = pid
        self.stdout = stdout

    def wait(self, timeout: float | None = None) -> int | None:
        return self._warm.code(self.pid, timeout)

    @property
    def _ended(self) -> bool:
        return self._warm.code(self.pid, 0) is not None
