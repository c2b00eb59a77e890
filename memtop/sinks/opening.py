"""From what a person wrote after `--log` to an open sink.

A new run begins a new file. What a file of that name held before is not destroyed: it is kept beside as `run.1.jsonl`,
`run.2.jsonl`, ... in the order the runs were made, and the sink's state says so.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
import sys
from pathlib import Path
from typing import Final

from memtop.sinks.base import Sink, SinkError
from memtop.sinks.csv import CsvSink
from memtop.sinks.jsonl import JsonlSink
from memtop.sinks.lines import line_out, reason

_SUFFIXES: Final = (".jsonl", ".csv")


def check_path(path: str) -> str:
    """`.jsonl` or `.csv`: the format a log path asks for. Raises `SinkError` where it asks for none of them."""
    suffix = ".jsonl" if path == "-" else Path(path).suffix.lower()
    if suffix not in _SUFFIXES:
        raise SinkError(
            f"can't tell the format of the log {path!r}", "end its name in .jsonl or .csv, or write - (stdout)"
        )
    return suffix


def open_sink(path: str, *, append: bool = False) -> Sink:
    """The sink for `path`: `.jsonl` or `.csv` by suffix, `-` is JSONL on stdout. Raises `SinkError`.

    `append` goes on after the last whole line of what is there: for the same session only.
    """
    suffix = check_path(path)
    if path == "-":
        return JsonlSink(path, line_out(_stdout()))
    try:
        fd, note = _open(Path(path).expanduser(), append=append)
    except OSError as error:
        raise _explained(path, error) from None
    if suffix == ".jsonl":
        return JsonlSink(path, line_out(fd), note)
    return CsvSink(path, line_out(fd), note, header=_is_empty(fd))


def _stdout() -> int:
    # Where stdout was closed at our start, number 1 may by now be any file of ours.
    if sys.__stdout__ is None:
        raise SinkError("can't log to stdout: it is closed", "give a path: --log run.jsonl")
    return os.dup(1)


def _open(path: Path, *, append: bool) -> tuple[int, str | None]:
    target = path.resolve()
    note = None if append else _keep_previous(target)
    # O_NONBLOCK: opening a named pipe that nobody reads fails instead of waiting for ever.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
    fd = os.open(target, flags, 0o666)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.ftruncate(fd, _last_whole_line(target) if append else 0)
        else:
            os.set_blocking(fd, True)
    except OSError:
        os.close(fd)
        raise
    return fd, note


def _keep_previous(path: Path) -> str | None:
    """Move a file that holds something out of the way; what was done, in words."""
    try:
        found = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode) or not found.st_size:
        return None
    number = 1
    while not _moved(path, aside := path.with_name(f"{path.stem}.{number}{path.suffix}")):
        number += 1
    return f"the {path.name} that was there is now {aside.name}"


def _moved(path: Path, aside: Path) -> bool:
    # A link never replaces: two runs that start at once can't overwrite each other's log.
    try:
        os.link(path, aside)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        if aside.exists():  # a file system without hard links
            return False
        path.rename(aside)
        return True
    path.unlink()
    return True


def _last_whole_line(path: Path) -> int:
    """Offset behind the last newline, bytes; 0 where there is none."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            if (at := file.read(end - start).rfind(b"\n")) >= 0:
                return start + at + 1
            end = start
    return 0


def _is_empty(fd: int) -> bool:
    return os.fstat(fd).st_size == 0


def _explained(path: str, error: OSError) -> SinkError:
    folder = str(Path(path).parent)
    message, remedy = reason(error), "choose another path"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        message, remedy = f"there is no folder {folder!r}", f"make it first: mkdir -p {shlex.quote(folder)}"
    elif error.errno == errno.EISDIR:
        message, remedy = (
            "it is a folder",
            f"name a file in it: {shlex.quote(str(Path(path) / ('run' + Path(path).suffix)))}",
        )
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        message, remedy = "no permission to write there", "choose another path, or change the folder's permissions"
    elif error.errno == errno.ENXIO:
        message, remedy = "nobody reads that pipe", "start its reader first"
    return SinkError(f"can't log to {path!r}: {message}", remedy)
