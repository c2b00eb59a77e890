"""A whole log for whoever shows it: checked, its strings harmless, an error in one line where it is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from memtop.model.logbook import Book, books
from memtop.model.records import Record
from memtop.model.text import one_line
from memtop.sinks.base import SinkError
from memtop.sinks.replay import LogReader

_LONGEST = 2000
"""Characters of a string."""
_DEEPEST = 12
"""How far lists and mappings may be nested: twice what a record needs."""


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """A log that was read to its end."""

    path: str
    books: tuple[Book, ...]
    """Its runs, one at least."""
    torn: bool
    """Whether its last line was cut off."""
    malformed: int
    """Lines that are no record."""

    @property
    def note(self) -> str | None:
        """What is not whole about it, in words."""
        words = ["cut off: its last line is not whole"] if self.torn else []
        words += [f"{self.malformed:,} lines are no record"] if self.malformed else []
        return "; ".join(words) or None


def load(path: str) -> Log:
    """Read a JSONL log. Raises `SinkError` where the file can't be read or holds no record."""
    with opened(path) as file:
        reader = LogReader(file)
        try:
            runs = tuple(books(harmless_records(reader)))
        except OSError as error:
            raise _unreadable(path, error) from error
    if not runs:
        raise no_log(path)
    return Log(path=path, books=runs, torn=reader.torn, malformed=reader.malformed)


def opened(path: str) -> BinaryIO:
    """The log's file. Raises `SinkError`."""
    try:
        return Path(path).expanduser().open("rb")
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def no_log(path: str) -> SinkError:
    """Why a file without a record can't be shown."""
    if path.lower().endswith(".csv"):
        return SinkError(f"{path} is CSV, which holds memory alone", "log to a .jsonl file: memtop --log run.jsonl")
    return SinkError(f"{path} holds no record of a run", "give a log that memtop --log run.jsonl wrote")


def harmless_records(reader: LogReader) -> Iterator[Record]:
    """The reader's records, every string in them fit for a terminal: a log may come from anybody."""
    for record in reader:
        yield record if reader.plain else _clean(record)


def _clean(record: Record) -> Record:
    told: dict[str, Any] = msgspec.to_builtins(record)
    clean: Record = msgspec.convert(_harmless(told), type(record))
    return clean


def _harmless(value: Any, depth: int = _DEEPEST) -> Any:
    if isinstance(value, str):
        return one_line(value, _LONGEST)
    if isinstance(value, (dict, list)) and not depth:
        return None
    if isinstance(value, dict):
        return {one_line(str(key)): _harmless(item, depth - 1) for key, item in value.items()}
    return [_harmless(item, depth - 1) for item in value] if isinstance(value, list) else value


def _unreadable(path: str, error: Exception) -> SinkError:
    why = getattr(error, "strerror", None) or str(error)
    return SinkError(f"{path} can't be read: {why[:1].lower()}{why[1:]}", "give the path of a memtop log")
