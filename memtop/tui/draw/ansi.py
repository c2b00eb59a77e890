"""Lines in the colours that a program gave them: SGR sequences become styles, everything else is dropped."""

from __future__ import annotations

import re
from typing import Final

from rich.ansi import AnsiDecoder
from rich.segment import Segment
from rich.style import Style

from memtop.model.text import harmless
from memtop.tui.draw.cells import Row, cut, fit

_SGR: Final = re.compile(r"(\x1b\[[0-9;]*m)")
_CALM: Final = Style(blink=False, blink2=False, conceal=False)
"""Nothing blinks, and nothing hides."""


def coloured(line: str, width: int, base: Style, plain: bool = False) -> Row:
    """A line in at most `width` cells, over the style `base`; without its colours where `plain`."""
    if plain or "\x1b" not in line:
        return [Segment(cut(harmless(line), width), base)]
    parts = _SGR.split(line)
    kept = [part if place % 2 else harmless(part) for place, part in enumerate(parts)]
    text = AnsiDecoder().decode_line("".join(kept))
    row, end = Row(), 0
    for span in sorted(text.spans, key=lambda span: span.start):
        style = span.style if isinstance(span.style, Style) else Style.parse(span.style)
        row += [Segment(text.plain[end : span.start], base)] if span.start > end else []
        row.append(Segment(text.plain[span.start : span.end], base + style + _CALM))
        end = span.end
    row.append(Segment(text.plain[end:], base))
    row = [segment for segment in row if segment.text]
    return fit(row, width) if sum(segment.cell_length for segment in row) > width else row
