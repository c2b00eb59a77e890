"""What the target prints, kept for the screen: harmless lines, a bounded number of them, whatever it throws at us."""

from __future__ import annotations

from collections import deque
from typing import Final

from memtop.model.text import harmless

_LINES: Final = 5000
_LONGEST: Final = 16384
"""Bytes after which a line without an end is taken for one: megabytes without a newline must not pile up."""


def _last_state(line: bytes) -> bytes:
    """A progress bar's line as it stands now: what a carriage return will overwrite is kept until it is overwritten."""
    head = line.rstrip(b"\r")
    return line[head.rfind(b"\r") + 1 :]


class Output:
    """The newest lines of a target's stdout and stderr."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._rest = b""
        self.count = 0
        """Lines printed so far, those no longer kept included."""

    def feed(self, chunk: bytes) -> None:
        """More bytes, cut anywhere."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._rest = _last_state(self._rest)
        if len(self._rest) > _LONGEST:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._keep(line)

    def finish(self) -> None:
        """The stream has ended: what is left is a line."""
        if self._rest:
            self._keep(self._rest)
            self._rest = b""

    def _keep(self, line: bytes) -> None:
        self._lines.append(harmless(_last_state(line.rstrip(b"\r"))[:_LONGEST].decode("utf-8", "replace")))
        self.count += 1

    def tail(self, count: int) -> tuple[str, ...]:
        """The last `count` lines; a progress bar's unfinished line counts."""
        rest = [harmless(self._rest.decode("utf-8", "replace"))] if self._rest.strip() else []
        kept = list(self._lines)[-count:] if count else []
        return tuple((kept + rest)[-count:])

    def since(self, line: int) -> tuple[int, list[str]]:
        """(lines so far, those from number `line` on that are still kept)."""
        wanted = min(max(0, self.count - line), len(self._lines))
        return self.count, list(self._lines)[len(self._lines) - wanted :]
