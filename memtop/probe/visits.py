"""For `memtop.start()`: this program listens, and a monitor comes when it likes, leaves, and comes again.

The socket lies where `memtop connect` looks (`launcher/meeting.py` says the same of the folder). Only processes of the
same user are let in. While nobody is there our thread sleeps in `accept`, and a step pays for its hooks alone.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import stat
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from . import wire
from .transport import Transport

_WORD = b"watch\n"
"""What a monitor says first; a list that only wants to know whether somebody is there says nothing."""
_PATIENCE = 1.0
"""Seconds that it has to say so."""
_DARWIN_PEER = (0, 1, 76)
"""macOS: SOL_LOCAL, LOCAL_PEERCRED, and the size of what it answers."""


class Visits(Transport):
    """A transport whose monitors come and go."""

    def __init__(self) -> None:
        super().__init__("", owned=False)
        self._listener: socket.socket | None = None
        self.facts: dict[str, object] | None = None
        """What a hello says of torch; `None` before its import."""
        self.came = False
        """A monitor has come, and the training thread has not met it."""
        self.welcome: Callable[[], None] | None = None
        """Called on our own thread when a monitor has come."""

    def listen(self) -> None:
        """Make the socket and start the thread. Raises `OSError` where there is no place for it."""
        self._listener, self._path = _listen()
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self._leave)
        atexit.register(self._finish)
        self._thread = threading.Thread(target=self._receive, name="memtop", daemon=True)
        self._thread.start()

    def connect(self) -> bool:
        """Monitors come by themselves."""
        return True

    def _receive(self) -> None:
        while (listener := self._listener) is not None and not self._stopping:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            if _greeted(link):
                self._let_in(link)
                self._loop()
            else:
                link.close()

    def _let_in(self, link: socket.socket) -> None:
        link.setblocking(False)
        for queue in (self._samples, self._vital, self._commands):
            queue.clear()
        self._inode = os.fstat(link.fileno()).st_ino
        self.came = True
        self._socket = link
        self.send(wire.hello(self.facts))
        if self.welcome is not None:
            self.welcome()

    def _forget(self) -> None:
        """In a forked child: the socket is the parent's."""
        super()._forget()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _leave(self) -> None:
        if self._pid == os.getpid() and self._listener is not None:
            with contextlib.suppress(OSError):
                Path(self._path).unlink()


def begin() -> None:
    """Let this program be found, and start the probe once torch is there. Raises where that can't be."""
    from . import preload

    visits = Visits()
    visits.listen()
    preload.wait_for_torch(visits)


def _greeted(link: socket.socket) -> bool:
    """Whether a monitor of this user wants to watch."""
    link.settimeout(_PATIENCE)
    try:
        if not _is_same_user(link) or link.recv(len(_WORD)) != _WORD:
            return False
        link.sendall(b"\n")
    except OSError:
        return False
    return True


def _is_same_user(link: socket.socket) -> bool:
    try:
        if sys.platform == "linux":
            _, uid, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        else:
            _, uid = struct.unpack_from("=II", link.getsockopt(*_DARWIN_PEER))
    except (OSError, struct.error):
        return False
    return uid in (os.getuid(), 0)


def folder() -> Path:
    """Where sockets of this user lie."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and os.access(runtime, os.W_OK | os.X_OK):
        return Path(runtime, "memtop")
    return Path(f"/tmp/memtop-{os.getuid()}")


def _listen() -> tuple[socket.socket, str]:
    """A socket of mode 0600 in a folder that is this user's alone."""
    there = folder()
    with contextlib.suppress(FileExistsError):
        there.mkdir(mode=0o700)
    found = there.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{there} is not yours alone")
    path = there / f"start-{os.getpid()}.sock"
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))  # The folder is closed to everybody else until the mode is right.
    path.chmod(0o600)
    listener.listen(4)
    return listener, str(path)
