"""A log back into records. Unknown kinds and keys are passed over, a torn end is no error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from memtop.model.records import KINDS, Record

LIMIT: Final = 16 << 20
"""The longest line read, bytes; a longer one is counted as malformed."""


class _Head(msgspec.Struct):
    kind: str


_head: Final = msgspec.json.Decoder(_Head)
_decoders: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(record) for kind, record in KINDS.items()
}


class LogReader:
    """Iterate over it for the records; the counts are of the lines read so far."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.malformed = 0
        """Whole lines that are no record."""
        self.unknown = 0
        """Lines of a kind that this version does not know."""
        self.torn = False
        """Whether the last line was cut off: the run was killed or its disk was full."""
        self.plain = False
        """Whether the newest line is printable ASCII without an escape, so that no string in it can do any harm."""

    def __iter__(self) -> Iterator[Record]:
        while line := self._file.readline(LIMIT):
            whole = line.endswith(b"\n")
            if not whole and len(line) == LIMIT:
                self._skip_line()
            elif (record := self._record(line, whole)) is not None:
                yield record

    def _record(self, line: bytes, whole: bool) -> Record | None:
        if not line.strip():
            return None
        try:
            decoder = _decoders.get(_head.decode(line).kind)
            if decoder is not None:
                record: Record = decoder.decode(line)
                self.plain = line.isascii() and b"\\" not in line and b"\x7f" not in line
                return record
            self.unknown += 1
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.malformed += whole
            self.torn = not whole
        return None

    def _skip_line(self) -> None:
        self.malformed += 1
        while (more := self._file.readline(LIMIT)) and not more.endswith(b"\n"):
            pass


def read(path: str | Path) -> Iterator[Record]:
    """The records of a JSONL log, in order. Raises `OSError` where the file can't be read."""
    with Path(path).open("rb") as file:
        yield from LogReader(file)
