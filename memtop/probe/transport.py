"""Records out, commands in, on a thread and a socket of our own.

The training thread only appends to a bounded queue: it never waits, never encodes, never touches the socket. When the
monitor is slow the oldest samples are dropped and counted; model, event, peak and end records are spared.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import os
import select
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from . import wire

_QUEUE = 1000
"""Samples kept for a monitor that does not read."""
_TICK = 0.25
"""Seconds between two looks at the queue: waking the thread from the training thread would cost the training."""
_PATIENCE = 0.3
"""Seconds that an ending program waits, at most, for its last records to leave."""


class Transport:
    """One connection to the monitor. `owned`: this program is a scenario and ends with its monitor."""

    def __init__(self, path: str, *, owned: bool) -> None:
        self._path = path
        self._owned = owned
        self._socket: socket.socket | None = None
        self._inode = 0
        self._samples: deque[wire.Record] = deque(maxlen=_QUEUE)
        self._vital: deque[wire.Record] = deque()
        self._commands: deque[dict[str, Any]] = deque()
        self._pending = b""
        self._writing = threading.Lock()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self.dropped = 0
        self.spent_ns = 0
        """Processor time that encoding and sending have cost this process, nanoseconds."""
        self.last_words: Callable[[], None] | None = None
        """Called once when the program ends, before the last records leave."""
        self.tick: Callable[[], None] | None = None
        """Called by our own thread at each look at the queue."""

    @property
    def alive(self) -> bool:
        """Whether the monitor is there."""
        return self._socket is not None

    def connect(self) -> bool:
        """Connect and start the thread. False where nobody listens; an owned program ends there."""
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(0.5)
        try:
            link.connect(self._path)
        except (ConnectionRefusedError, FileNotFoundError):
            link.close()
            self._end_if_owned()
            return False
        except OSError:
            link.close()
            return False
        link.setblocking(False)
        self._socket, self._inode = link, os.fstat(link.fileno()).st_ino
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self._finish)
        self._thread = threading.Thread(target=self._loop, name="memtop", daemon=True)
        self._thread.start()
        return True

    def send(self, record: wire.Record) -> None:
        """Queue a record. Never blocks; drops the oldest sample when the queue is full."""
        if self._socket is None:
            return
        if record["kind"] in wire.VITAL or record.get("moment") == "peak":
            self._vital.append(record)
            return
        self.dropped += len(self._samples) == _QUEUE
        self._samples.append(record)

    def flush(self) -> None:
        """Send what waits, from the calling thread, as far as the socket takes it now. Never waits."""
        link = self._socket
        if link is None or not self._writing.acquire(blocking=False):
            return
        try:
            if self._is_ours(link):
                self._pending = self._write(link, self._pending or self._encoded())
        except (OSError, ValueError):
            pass  # Our thread meets the same, and knows what to do.
        finally:
            self._writing.release()

    def command(self) -> dict[str, Any] | None:
        """The next command of the monitor, or `None`."""
        return self._commands.popleft() if self._commands else None

    def _forget(self) -> None:
        """In a forked child: the connection is the parent's."""
        self.last_words = None
        self._let_go()

    def _let_go(self) -> None:
        """Give the connection up. Its number, if the program closed it, may be a file of the program's by now."""
        link, self._socket = self._socket, None
        if link is not None:
            if not self._is_ours(link):
                link.detach()
            link.close()

    def _is_ours(self, link: socket.socket) -> bool:
        try:
            return os.fstat(link.fileno()).st_ino == self._inode
        except OSError:
            return False

    def _loop(self) -> None:
        incoming = b""
        while (link := self._socket) is not None:
            try:
                listening = [] if self._stopping else [link]
                readable, _, _ = select.select(listening, [link] if self._pending else [], [], _TICK)
                if not self._is_ours(link):
                    raise OSError(errno.EBADF, "the program closed it")
                if readable and not self._stopping:
                    incoming = self._read(link, incoming)
                if self.tick is not None:
                    self.tick()
                with self._writing:
                    self._pending = self._write(link, self._pending or self._encoded())
            except ConnectionError:
                # The end of the stream; a reset or a broken pipe where the monitor was killed over unread records.
                self._let_go()
                self._end_if_owned()
            except (OSError, ValueError):
                self._let_go()
            if self._stopping and not self._pending and not self._samples and not self._vital:
                return

    def _encoded(self) -> bytes:
        """What waits in the queues, as JSON lines in the order of their times."""
        if not self._vital and not self._samples:
            return b""
        started = time.thread_time_ns()
        batch = [queue.popleft() for queue in (self._vital, self._samples) for _ in range(len(queue))]
        batch.sort(key=lambda record: record["t_ns"])
        lines = b"".join(json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in batch)
        self.spent_ns += time.thread_time_ns() - started
        return lines

    def _write(self, link: socket.socket, data: bytes) -> bytes:
        """Send what the socket takes now; the rest comes back."""
        if not data:
            return data
        try:
            return data[link.send(data) :]
        except BlockingIOError:
            return data

    def _read(self, link: socket.socket, before: bytes) -> bytes:
        """Commands of the monitor. Raises `ConnectionError` at the end of the stream: the monitor's end."""
        try:
            chunk = link.recv(65536)
        except BlockingIOError:
            return before
        if not chunk:
            raise ConnectionResetError("the monitor is gone")
        *lines, rest = (before + chunk).split(b"\n")
        for line in lines:
            command = json.loads(line)
            if isinstance(command, dict):
                self._commands.append(command)
        return rest[-65536:]

    def _end_if_owned(self) -> None:
        """The monitor is gone: a scenario goes with it."""
        if self._owned and os.getpgrp() == os.getsid(0):
            # The launcher gave the scenario a session of its own, so this reaches its workers and nobody else.
            os.killpg(os.getpgrp(), signal.SIGKILL)

    def _finish(self) -> None:
        """At exit: hand over what is left, with little patience."""
        if self._socket is None or self._pid != os.getpid():
            return
        if self.last_words is not None:
            self.last_words()
        self._stopping = True
        with contextlib.suppress(OSError):
            # Wakes our thread, which may be waiting for the monitor's next word: no more of those are heard.
            self._socket.shutdown(socket.SHUT_RD)
        if self._thread is not None:
            self._thread.join(_PATIENCE)
