"""Takes what a person's training prints, for as long as it prints, whoever is left to read it. Run by path.

Usage: keeper.py MASTER PIPE, the numbers of a pseudo-terminal's master and of a pipe to the monitor. The training
writes to the terminal's other end. Were the master ours, our end would be an error at its next `print`; this process
shares nothing with the monitor that could end it, and goes when the last writer has gone.
"""

from __future__ import annotations

import os
import select
import signal
import sys

_KEPT = 1 << 22
"""Bytes that wait for a slow monitor, at most: the oldest go first, and the training never waits."""
_PATIENCE = 1.0
"""Seconds that the monitor has to take the last bytes."""


def keep(master: int, pipe: int) -> None:
    """Read `master` to its end and hand over to `pipe` what it takes."""
    os.set_blocking(pipe, False)
    waiting, heard = b"", True
    while True:
        readable, writable, _ = select.select([master], [pipe] if waiting and heard else [], [])
        if readable:
            chunk = _read(master)
            if not chunk:
                break
            waiting = (waiting + chunk)[-_KEPT:]
        if writable:
            waiting, heard = _write(pipe, waiting)
        waiting = waiting if heard else b""
    while waiting and heard and select.select([], [pipe], [], _PATIENCE)[1]:
        waiting, heard = _write(pipe, waiting)


def _read(master: int) -> bytes:
    try:
        return os.read(master, 1 << 16)
    except OSError:  # EIO: nobody holds the other end any more
        return b""


def _write(pipe: int, data: bytes) -> tuple[bytes, bool]:
    """What is left of `data`, and whether anybody reads."""
    try:
        return data[os.write(pipe, data) :], True
    except BlockingIOError:
        return data, True
    except OSError:
        return b"", False


if __name__ == "__main__":
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    keep(int(sys.argv[1]), int(sys.argv[2]))
