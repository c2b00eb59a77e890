"""What the target prints, kept for the screen: harmless lines, a bounded number of them, whatever it throws at us."""

from __future__ import annotations

import codecs
from collections import deque
from typing import Final

from memtop.model.teletype import LONGEST, Teletype, taken, whole

_LINES: Final = 5000


class Output:
    """The newest lines of a target's stdout and stderr. Their colours are kept: SGR sequences, and no other."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._paper = Teletype(self._keep, self._take_back)
        self._pending = ""
        self._told = 0
        self.count = 0
        """Lines printed so far, those no longer kept included."""

    def feed(self, chunk: bytes) -> None:
        """More bytes, cut anywhere."""
        text = (self._pending + self._decoder.decode(chunk)).replace("\r\n", "\n")
        text, self._pending = whole(text)
        if "\x1b" in text or "\r" in text or "\b" in text:
            self._paper.feed(text)
            return
        *lines, rest = text.split("\n")
        for line in lines:
            if self._paper.plain and len(line) < LONGEST // 4:  # A tab makes four of one.
                self._keep(taken(line))  # Most of what is ever printed: no cell of it need be looked at.
            else:
                self._paper.feed(line + "\n")
        self._paper.feed(rest)

    def finish(self) -> None:
        """The stream has ended: what is left are lines."""
        self._paper.feed(self._pending.replace("\x1b", ""))
        self._pending = ""
        self._paper.finish()

    def tail(self, count: int) -> tuple[str, ...]:
        """The last `count` lines; those count that a progress bar has not left yet."""
        kept = list(self._lines)[-count:] if count else []
        return tuple((kept + self._paper.rows())[-count:])

    @property
    def open(self) -> int:
        """How many lines at the end of a tail may still change: `since` does not tell them yet."""
        return len(self._paper.rows())

    def since(self, line: int) -> tuple[int, list[str]]:
        """(lines so far, those from number `line` on that are still kept)."""
        wanted = min(max(0, self.count - line), len(self._lines))
        self._told = self.count
        return self.count, list(self._lines)[len(self._lines) - wanted :]

    def _keep(self, line: str) -> None:
        self._lines.append(line)
        self.count += 1

    def _take_back(self) -> str | None:
        """The last line, to be printed over. One that somebody was told of stays where it is."""
        if not self._lines:
            return None
        if self.count <= self._told:
            return self._lines[-1]
        self.count -= 1
        return self._lines.pop()
