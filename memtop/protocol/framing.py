"""Bytes of a stream to lines, with a size limit: a peer that never sends a newline can't fill our memory."""

from __future__ import annotations

from typing import Final

LIMIT: Final = 1 << 20
"""The longest line accepted, bytes."""


class LineSplitter:
    """Feed it chunks; it yields whole lines and counts those over the limit."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._skipping = False
        self.oversized = 0
        """Lines dropped because they were longer than the limit."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines completed by this chunk, without their newline."""
        self._rest += chunk
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest
        if lines and self._skipping:
            lines, self._skipping = lines[1:], False
        whole = [bytes(line) for line in lines if len(line) <= self._limit]
        self.oversized += len(lines) - len(whole)
        if len(self._rest) > self._limit:
            self.oversized += not self._skipping
            self._skipping = True
            self._rest.clear()
        return whole
