"""Whole lines into a file or a pipe, so that a log cut off anywhere is readable up to its last whole line."""

from __future__ import annotations

import errno
import os
import select
import stat
import threading
from collections import deque
from typing import Final, Protocol

QUEUE_BYTES: Final = 16 << 20
"""How much waits for a pipe's slow reader before records are dropped."""
CLOSE_SECONDS: Final = 1.0
"""How long `close` waits for a pipe's reader to take what is queued."""

READER_GONE: Final = "its reader is gone"
"""The error of a pipe whose other end was closed."""

_REASONS: Final = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "disk quota exceeded",
    errno.EFBIG: "the file size limit is reached",
    errno.EPIPE: READER_GONE,
    errno.EIO: "input/output error",
}


def reason(error: OSError) -> str:
    """An operating system error in a few plain words."""
    return _REASONS.get(error.errno or 0) or (error.strerror or str(error)).lower()


class LineOut(Protocol):
    """Takes whole lines; never raises after it is made."""

    failed: bool
    """Nothing is written any more."""
    error: str | None
    """What went wrong, in words; may stand without `failed`: records were lost, the log goes on."""

    def write(self, data: bytes, *, spare: bool = False) -> bool:
        """Whether the lines were taken. `spare`: take them even where others are dropped."""

    def close(self) -> None:
        """Idempotent."""


class LineFile:
    """A regular file. A write that fails half-way is taken back to the last whole line. Owns `fd`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self.failed = False
        self.error: str | None = None

    def write(self, data: bytes, *, spare: bool = False) -> bool:
        """See `LineOut`. Regular files take a line in one `write` unless the disk is full."""
        with self._lock:
            if self.failed or self._fd < 0:
                return False
            return self._append(data)

    def _append(self, data: bytes) -> bool:
        size = None
        try:
            before = os.fstat(self._fd)
            if before.st_nlink == 0:
                raise OSError(errno.ENOENT, "the file was deleted")
            size = before.st_size
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            self.failed, self.error = True, reason(error)
            self._take_back(size)
        return not self.failed

    def _take_back(self, size: int | None) -> None:
        try:
            if size is not None and os.fstat(self._fd).st_size > size:
                os.ftruncate(self._fd, size)
                os.lseek(self._fd, size, os.SEEK_SET)
        except OSError:
            self.error = f"{self.error}; its last line may be torn"

    def close(self) -> None:
        """See `LineOut`."""
        with self._lock:
            if self._fd >= 0:
                fd, self._fd = self._fd, -1
                try:
                    os.close(fd)
                except OSError as error:  # NFS reports a full disk here
                    self.failed, self.error = True, reason(error)


class LinePipe:
    """A pipe, a socket or a terminal: its own thread writes, so that a slow reader holds up nobody. Owns `fd`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._lost = 0
        self._closing = False
        self._changed = threading.Condition()
        self.failed = False
        self.error: str | None = None
        self._thread = threading.Thread(target=self._run, name="memtop-log", daemon=True)
        self._thread.start()

    def write(self, data: bytes, *, spare: bool = False) -> bool:
        """See `LineOut`."""
        with self._changed:
            if self.failed or self._closing:
                return False
            if self._queued + len(data) > QUEUE_BYTES and not spare:
                self._lost += 1
                self.error = f"{self._lost:,} records not written: the reader is too slow"
                return False
            self._queue.append(data)
            self._queued += len(data)
            self._changed.notify()
            return True

    def _run(self) -> None:
        while (data := self._next()) is not None:
            try:
                _write_all(self._fd, data)
            except OSError as error:
                with self._changed:
                    self.failed, self.error = True, reason(error)
                    self._queue.clear()
                break
        os.close(self._fd)

    def _next(self) -> bytes | None:
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            if not self._queue:
                return None
            data = self._queue.popleft()
            self._queued -= len(data)
            return data

    def close(self) -> None:
        """See `LineOut`. What the reader has not taken after `CLOSE_SECONDS` is lost, and said so."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            with self._changed:
                self.failed, self.error = True, f"{len(self._queue) + 1:,} last lines not written: nobody reads"


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:  # another process made our stdout non-blocking
            select.select([], [fd], [])


def line_out(fd: int) -> LineOut:
    """The writer that fits what `fd` is; owns it from now on."""
    return LineFile(fd) if stat.S_ISREG(os.fstat(fd).st_mode) else LinePipe(fd)
