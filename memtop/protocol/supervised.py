"""Between a supervisor and a screen: questions and answers, each one frame of JSON behind its length.

One question at a time on a connection, and each is answered. News are asked for, never pushed: a screen that is slow
or stopped holds up nobody but itself.
"""

from __future__ import annotations

import socket
import struct
from typing import Any, Final, Literal, TypeVar

import msgspec

from memtop.model.snapshot import Snapshot, Tracked

_HEAD: Final = struct.Struct(">I")
_LARGEST: Final = 1 << 28
"""Bytes of one frame that are still believed."""

Verb = Literal[
    "about",
    "news",
    "start",
    "pause",
    "resume",
    "deep_look",
    "show_rank",
    "start_log",
    "stop_logs",
    "stop",
    "type",
    "resize",
]


class Ask(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A question or a wish."""

    verb: Verb
    path: str = ""
    """Of `start_log`, absolute."""
    rank: int | None = None
    """Of `show_rank`; `None`: whichever rank's peak is highest."""
    text: str = ""
    """Of `type`: keys for the command's terminal."""
    size: tuple[int, int] = (0, 0)
    """Of `resize`: columns and lines of the asker's screen."""
    seen: int = 0
    """Of `news`: the change last told of. An answer comes with the next one, or after a while without."""
    lines: int = 0
    """Of `news`: lines of output that the asker has."""
    marks: int = 0
    """Of `news`: marks that the asker has."""
    deep: tuple[float | int | str | bool, ...] = ()
    """Of `news`: which deep look the asker has; an answer leaves out one that is the same."""
    batch: tuple[float | int, ...] = ()
    """Of `news`: which batch the asker has, likewise."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a list says of a run."""

    pid: int | None
    """The command's; `None`: not started."""
    command: list[str]
    seconds: float
    """Since it was started."""
    phase: str
    steps: int | None
    logs: list[str]
    """Absolute paths of the logs that are being written."""
    folder: str
    """Where the command was started."""


class News(msgspec.Struct, frozen=True, kw_only=True):
    """The newest of everything."""

    seen: int
    snapshot: Snapshot
    """Without `tracked`, and without `deep` where `deep` of the question names the same."""
    deep: tuple[float | int | str | bool, ...]
    """Which deep look is the newest; empty for none."""
    batch: tuple[float | int, ...] = ()
    """Which batch is the newest; empty for none. It is left out of `snapshot` where the asker has it."""
    lines: tuple[int, list[str]]
    """Lines of output so far, and those that the asker had not."""
    marks: tuple[int, list[Tracked]]
    """Marks so far, and those that the asker had not."""
    pid: int | None
    status: int | None
    """The command's exit status, once it has ended."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to a wish."""

    error: str | None = None
    """Why it can't be, in one line; `None`: it is done."""
    remedy: str | None = None


_Frame = TypeVar("_Frame")
_encoder = msgspec.json.Encoder()


def send(link: socket.socket, frame: Any) -> None:
    """Send one frame. Raises `OSError`."""
    data = _encoder.encode(frame)
    link.sendall(_HEAD.pack(len(data)) + data)


def receive(link: socket.socket, kind: msgspec.json.Decoder[_Frame]) -> _Frame:
    """Wait for one frame. Raises `OSError` (the end of the stream is one), also for what is no frame of this kind."""
    (size,) = _HEAD.unpack(_exactly(link, _HEAD.size))
    if size > _LARGEST:
        raise OSError("a frame of absurd size")
    try:
        return kind.decode(_exactly(link, size))
    except msgspec.MsgspecError as error:
        raise OSError(f"not understood: {error}") from error


def _exactly(link: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = link.recv(min(size - len(data), 1 << 20))
        if not chunk:
            raise ConnectionResetError("the other end is gone")
        data += chunk
    return bytes(data)
