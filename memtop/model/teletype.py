"""What a program prints, as a terminal would show it: carriage returns, progress bars one below another, colours.

Rows stay open while the program may still come back to them. Colours (SGR) are kept, each row closed by a reset; every
other escape sequence and control character is obeyed or dropped, none is passed on. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from memtop.model.text import CONTROL

LONGEST: Final = 2000
"""Characters after which a row without an end is taken for one: megabytes without a newline must not pile up."""
_HIGHEST: Final = 50
"""Rows that stay open above the last one, at most: bars one below another."""
_STYLES: Final = 96
"""Characters of SGR sequences in force at once; what is longer is its newest one."""
_RESET: Final = "\x1b[0m"
_TOKENS: Final = re.compile(
    r"(?P<escape>\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?))"
    r"|(?P<move>[\n\r\b])|(?P<words>[^\x1b\n\r\b]+)"
)
_CUT: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b\n]*|[ -/]*)")
"""An escape sequence whose end may still come."""
_WAITING: Final = 4096
"""Characters of such a one that are waited with."""
_CSI: Final = re.compile(r"\x1b\[([0-9;:]*)([@-~])")
_SGR: Final = re.compile(r"\x1b\[[0-9;:]*m")

Cell = tuple[str, str]
"""The SGR sequences in force, and one character."""


class Teletype:
    """The open rows. `closed` is told of each that is left for good; `reopen` hands the last of those back."""

    def __init__(self, closed: Callable[[str], None], reopen: Callable[[], str | None]) -> None:
        self._closed, self._reopen = closed, reopen
        self._rows: list[list[Cell]] = [[]]
        self._row = self._column = self._reach = 0
        self._style = ""

    @property
    def plain(self) -> bool:
        """Whether nothing is open: a whole line can be taken as it stands."""
        return not self._style and not self._reach and self._rows == [[]]

    def feed(self, text: str) -> None:
        """More of it; an escape sequence must not be cut."""
        for token in _TOKENS.finditer(text):
            kind, found = token.lastgroup, token.group()
            if kind == "words":
                self._write(CONTROL.sub("", found.expandtabs(4)))
            elif kind == "escape":
                self._obey(found)
            elif found == "\n":
                self._newline()
            elif found == "\r":
                self._column = 0
            elif found == "\b":
                self._column = max(0, self._column - 1)

    def rows(self) -> list[str]:
        """The open rows, without empty ones at their end."""
        rows = [_drawn(row) for row in self._rows]
        while rows and not _SGR.sub("", rows[-1]).strip():
            rows.pop()
        return rows

    def finish(self) -> None:
        """Nothing more will come: what is open is closed."""
        for row in self.rows():
            self._closed(row)
        self._rows, self._row, self._column, self._style = [[]], 0, 0, ""

    def _write(self, text: str) -> None:
        while text:
            room = LONGEST - self._column
            part, text = text[:room], text[room:]
            row = self._rows[self._row]
            row += [("", " ")] * (self._column - len(row))
            row[self._column : self._column + len(part)] = [(self._style, one) for one in part]
            self._column += len(part)
            if text:
                self._newline()

    def _newline(self) -> None:
        self._down(1)
        self._column = 0

    def _down(self, count: int) -> None:
        for _ in range(count):
            self._row += 1
            if self._row == len(self._rows):
                self._rows.append([])
        while self._row > self._reach:
            self._closed(_drawn(self._rows.pop(0)))
            self._row -= 1

    def _up(self, count: int) -> None:
        for _ in range(min(count, _HIGHEST)):
            if self._row == 0:
                above = self._reopen() if len(self._rows) <= _HIGHEST else None
                if above is None:
                    break
                self._rows.insert(0, _cells(above))
            else:
                self._row -= 1
        self._reach = max(self._reach, len(self._rows) - 1 - self._row)

    def _obey(self, escape: str) -> None:
        csi = _CSI.fullmatch(escape)
        if csi is None:
            return
        given, what = csi.groups()
        if what == "m":
            self._dye(given)
            return
        number = int(given[:4]) if given.isdecimal() else 0
        row = self._rows[self._row]
        if what == "A":
            self._up(number or 1)
        elif what in "BE":
            self._down(min(number or 1, _HIGHEST))
        elif what == "F":
            self._up(number or 1)
        elif what == "C":
            self._column = min(LONGEST - 1, self._column + (number or 1))
        elif what == "D":
            self._column = max(0, self._column - (number or 1))
        elif what == "G":
            self._column = min(LONGEST - 1, max(0, number - 1))
        elif what == "K":
            _erase(row, self._column, number)
        elif what == "J" and number == 0:
            _erase(row, self._column, 0)
            del self._rows[self._row + 1 :]
        if what in "EF":
            self._column = 0

    def _dye(self, given: str) -> None:
        if given.split(";")[0] in ("", "0", "00"):
            self._style, given = "", given.partition(";")[2]
        if given:
            style = f"{self._style}\x1b[{given}m"
            self._style = style if len(style) <= _STYLES else f"\x1b[{given[:_STYLES]}m"


def whole(text: str) -> tuple[str, str]:
    """`text` up to an escape sequence that is cut at its end, and that sequence."""
    start = text.rfind("\x1b")
    if start < 0 or len(text) - start > _WAITING or not _CUT.fullmatch(text, start):
        return text, ""
    return text[:start], text[start:]


def taken(line: str) -> str:
    """A whole line without escape sequences, as `feed` would take it."""
    return CONTROL.sub("", line.expandtabs(4)).rstrip(" ")


def _erase(row: list[Cell], column: int, how: int) -> None:
    if how == 0:
        del row[column:]
    else:
        end = min(column + 1, len(row)) if how == 1 else len(row)
        row[:end] = [("", " ")] * end


def _cells(line: str) -> list[Cell]:
    """A row that was closed, open again."""
    found: list[Cell] = []
    style = ""
    for part in re.split(f"({_SGR.pattern})", line):
        if _SGR.fullmatch(part):
            style = "" if part == _RESET else style + part
        else:
            found += [(style, one) for one in part]
    return found


def _drawn(row: list[Cell]) -> str:
    """A row as text: SGR sequences where they change, and a reset behind the last."""
    end = len(row)
    while end and row[end - 1] == ("", " "):
        end -= 1
    parts, style = [], ""
    for new, one in row[:end]:
        if new != style:
            parts.append((_RESET if style else "") + new)
            style = new
        parts.append(one)
    return "".join(parts) + (_RESET if style else "")
