"""Where the processes of one person meet: Unix sockets in a folder of their own, each end sure of the other's owner.

`run-PID.sock` is a supervisor's, `start-PID.sock` that of a program which called `memtop.start()`. Nothing else is
kept there: what a socket leads to is asked of the process behind it, so that nothing can be out of date.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import msgspec

from memtop.launcher.target import LaunchError

Kind = Literal["run", "start"]

_NAME: Final = re.compile(r"(run|start)-(\d{1,10})\.sock")
_DARWIN_PEER: Final = (0, 1, 76)
"""macOS: SOL_LOCAL, LOCAL_PEERCRED, and the size of what it answers."""


class Place(msgspec.Struct, frozen=True):
    """A socket in the folder."""

    kind: Kind
    pid: int
    """Of who listens there."""
    path: Path


def folder() -> Path:
    """`$XDG_RUNTIME_DIR/memtop`, else `/tmp/memtop-UID`; it need not be there."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and os.access(runtime, os.W_OK | os.X_OK):
        return Path(runtime, "memtop")
    return Path(f"/tmp/memtop-{os.getuid()}")


def listen(kind: Kind) -> tuple[socket.socket, Path]:
    """Listen as this process. Raises `LaunchError` where the folder can't be made or is not ours alone."""
    place = _private() / f"{kind}-{os.getpid()}.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            place.unlink()  # A process of this number, long gone: its number is ours.
        before = os.umask(0o177)
        try:
            listener.bind(str(place))
        finally:
            os.umask(before)
        listener.listen(16)
    except OSError as error:
        listener.close()
        raise LaunchError(f"no Unix socket can be made at {place}: {error.strerror or error}") from error
    return listener, place


def _private() -> Path:
    """The folder, made where it is not there, with nobody's foot in it but ours."""
    there = folder()
    try:
        with suppress(FileExistsError):
            there.mkdir(mode=0o700)
        if not _is_ours(there):
            raise LaunchError(f"{there} is not yours alone (mode 0700)", "take it away, or set XDG_RUNTIME_DIR")
    except OSError as error:
        raise LaunchError(f"{there} can't be used: {error.strerror}", "set XDG_RUNTIME_DIR") from error
    return there


def _is_ours(there: Path) -> bool:
    """No link, ours, and closed to everybody else."""
    found = there.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def places() -> list[Place]:
    """The sockets that lie in the folder, by pid; some may be left over. Empty where the folder is not ours alone."""
    there = folder()
    try:
        if not _is_ours(there):
            return []
        named = [(_NAME.fullmatch(path.name), path) for path in there.iterdir()]
    except OSError:
        return []
    found = [Place(name[1], int(name[2]), path) for name, path in named if name]  # type: ignore[arg-type]
    return sorted(found, key=lambda one: (one.pid, one.kind))


def call(place: Place, timeout: float) -> socket.socket | None:
    """A connection to who listens there; `None` where nobody does, or somebody else's process. Takes leftovers away."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(timeout)
    try:
        link.connect(str(place.path))
        if is_same_user(link):
            return link
    except ConnectionRefusedError:
        with suppress(OSError):
            place.path.unlink()
    except OSError:
        pass
    link.close()
    return None


def is_same_user(link: socket.socket) -> bool:
    """Whether the process at the other end is this user's (root's is, too). The kernel says who it is."""
    try:
        if sys.platform == "linux":
            _, uid, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        else:
            _, uid = struct.unpack_from("=II", link.getsockopt(*_DARWIN_PEER))
    except (OSError, struct.error):
        return False
    return uid in (os.getuid(), 0)
