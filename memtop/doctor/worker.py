"""Asks the target's Python about its torch, in a process of its own that is killed when its time is up."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, Any, Final

SCRIPT: Final = Path(__file__).resolve().parent.parent / "workers" / "doctor.py"
MARK: Final = "memtop_doctor"
"""The key that tells the script's lines from whatever else a Python prints."""

_KEEP: Final = 1 << 16
"""Bytes of each stream kept, the last ones: a Python that prints without end must not fill our memory."""

Facts = dict[str, Any]


class Worker:
    """The script in a Python, followed by a thread of its own. Waiting for it never lasts longer than asked."""

    def __init__(self, python: str, timeout: float, script: Path = SCRIPT) -> None:
        """Starts at once; `timeout` in seconds, then everything in its process group is killed."""
        self._command = [python, str(script)]
        self._deadline = time.monotonic() + timeout
        self._changed = threading.Condition()
        self._facts: Facts = {}
        self._tails: dict[str, bytes] = {"out": b"", "err": b""}
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = self._hung = False
        self.failure: str | None = None
        """Why the script could not be started."""
        threading.Thread(target=self._follow, name="memtop-doctor-worker", daemon=True).start()

    def facts(self, key: str) -> Facts:
        """What is known once `key` is answered, or all there is at the end. Raises `TimeoutError` if it hung."""
        with self._changed:
            rest = max(0.0, self._deadline - time.monotonic())
            self._changed.wait_for(lambda: key in self._facts or self._ended, rest + 1)
            if key not in self._facts and (self._hung or not self._ended):
                raise TimeoutError
            return dict(self._facts)

    @property
    def last_words(self) -> str:
        """The last line of its stderr, or of its stdout."""
        for tail in (self._tails["err"], self._tails["out"]):
            lines = tail.decode("utf-8", "replace").strip().splitlines()
            if lines:
                return lines[-1]
        return ""

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; `None` where it did not start or still runs."""
        return None if self._process is None else self._process.returncode

    def close(self) -> None:
        """Kill what is left of it. Idempotent."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)

    def _follow(self) -> None:
        try:
            self._process = self._start()
            self._read(self._process)
        except OSError as error:
            self.failure = f"{self._command[0]}: {error.strerror or error}"
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _start(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, bufsize=0, start_new_session=True
        )

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """Until both pipes close or time is up; then nothing of it is left."""
        with selectors.DefaultSelector() as selector:
            for name, stream in (("out", process.stdout), ("err", process.stderr)):
                assert stream is not None
                selector.register(stream, selectors.EVENT_READ, name)
            while selector.get_map() and (rest := self._deadline - time.monotonic()) > 0:
                for key, _ in selector.select(rest):
                    if not self._take(key.data, key.fileobj):  # type: ignore[arg-type]
                        selector.unregister(key.fileobj)
        try:
            process.wait(max(0.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._hung = True
            self.close()
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    def _take(self, name: str, stream: IO[bytes]) -> bool:
        """One chunk; False at the end of the stream."""
        chunk = stream.read(_KEEP)
        self._tails[name] = (self._tails[name] + chunk)[-_KEEP:]
        if name == "out" and (facts := newest(self._tails["out"])) is not None:
            with self._changed:
                self._facts = facts
                self._changed.notify_all()
        return bool(chunk)


def newest(output: bytes) -> Facts | None:
    """The last whole line of `output` that is the script's own; anything may stand around it."""
    for line in reversed(output.split(b"\n")[:-1]):
        if not line.startswith(b"{"):
            continue
        with contextlib.suppress(ValueError, RecursionError):
            facts = json.loads(line)
            if isinstance(facts, dict) and facts.get(MARK) == 1:
                return facts
    return None
