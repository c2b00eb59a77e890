"""One screen as text, for `memtop --once` and for pipes. No app: nothing of Textual is imported."""

from __future__ import annotations

import os
import sys

from rich.color import ColorSystem
from rich.segment import Segment

from memtop.model.snapshot import Snapshot
from memtop.tui.draw.board import board, natural_height
from memtop.tui.draw.cells import Row
from memtop.tui.palettes import MONO, PALETTES
from memtop.tui.view import View


def render(snapshot: Snapshot, width: int, height: int | None = None, colour: bool = False) -> str:
    """The main screen as lines of text without its keys, with ANSI colours where `colour` is true.

    `height` None takes as many lines as there is something to say. Without UTF-8 on stdout all of it is ASCII.
    """
    ascii_only = "utf" not in (getattr(sys.stdout, "encoding", None) or "").lower()
    view = View(palette=PALETTES["ansi"] if colour else MONO, ascii_only=ascii_only, plain=True)
    width = max(20, width)
    rows = board(snapshot, width, height or natural_height(snapshot, width, view), view)
    lines = [_line(row, colour) for row in rows]
    while lines and not lines[-1].strip():
        lines.pop()
    return "\n".join(lines)


def _line(row: Row, colour: bool) -> str:
    if not colour:
        return "".join(segment.text for segment in row).rstrip()
    return "".join(_ansi(segment) for segment in row)


def _ansi(segment: Segment) -> str:
    style = segment.style
    return style.render(segment.text, color_system=_system()) if style is not None else segment.text


def _system() -> ColorSystem:
    return ColorSystem.TRUECOLOR if os.environ.get("COLORTERM") in ("truecolor", "24bit") else ColorSystem.STANDARD
