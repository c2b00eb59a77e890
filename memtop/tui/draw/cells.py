"""Rows of styled text whose width in terminal cells is exact, wide characters included."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

Row = list[Segment]

_EIGHTHS: Final = "▏▎▍▌▋▊▉"
_WIDE: Final = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef]")
_PIECES: Final = (
    r"(\s*)((?:[（「“《]*(?:[\u2e80-\u2fff\u3041-\u9fff\uac00-\ud7af]|[^\s（「“《\u2e80-\u9fff\uac00-\ud7af，。：；、！？）」”》]+)"
    r"|[（「“《]+)[，。：；、！？）」”》]*|[，。：；、！？）」”》]+)"
)
"""Spaces, then what no line may end within: a wide letter or a word, with the punctuation that belongs to it. Compiled
where the first wide text is wrapped: that takes longer than to import the rest of this file."""
_ASCII: Final = str.maketrans(
    {
        **dict.fromkeys("─╌┄", "-"),
        **dict.fromkeys("━╸", "="),
        **dict.fromkeys("│┃┤", "|"),
        **dict.fromkeys("╭╮╰╯├┬┴┼└┌┐┘", "+"),
        **dict.fromkeys("█▇▆■●", "#"),
        **dict.fromkeys("▅▄▃", "="),
        **dict.fromkeys("▂▁", "_"),
        **dict.fromkeys("·□○•", "."),
        "—": "-",
        "…": "~",
        "×": "x",
        "°": "o",
        "µ": "u",
        "Σ": "S",
        "→": ">",
        "←": "<",
        "▸": ">",
        "▶": ">",
        "▾": "v",
        "▼": "v",
        "▲": "^",
        "◆": "*",
        "≠": "!",
        "↑": "^",
        "↓": "v",
        "✔": "+",
        "⏸": "=",
        "✖": "x",
        "−": "-",
        "≈": "~",
        "≤": "<",
    }
)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells; what is missing is marked with an ellipsis."""
    if cell_len(text) <= width:
        return text
    return "" if width <= 0 else set_cell_size(text, width - 1) + "…"


def left(text: str, width: int) -> str:
    """`text` at the left of exactly `width` cells."""
    text = cut(text, width)
    return text + " " * (width - cell_len(text))


def right(text: str, width: int) -> str:
    """`text` at the right of exactly `width` cells."""
    text = cut(text, width)
    return " " * (width - cell_len(text)) + text


def row_width(row: Iterable[Segment]) -> int:
    """Cells a row takes."""
    return sum(cell_len(segment.text) for segment in row)


def fit(row: Row, width: int, style: Style | None = None) -> Row:
    """The row in exactly `width` cells: filled up, or cut with an ellipsis."""
    total = row_width(row)
    if total == width:
        return row
    if total < width:
        return [*row, Segment(" " * (width - total), style)]
    fitted, room = Row(), width
    for segment in row:
        size = cell_len(segment.text)
        if size >= room:
            shown = segment.text if size == room and room == width else set_cell_size(segment.text, room - 1) + "…"
            return [*fitted, Segment(shown, segment.style)] if room else fitted
        fitted.append(segment)
        room -= size
    return fitted


def spread(start: Row, end: Row, width: int, fill: Segment | None = None) -> Row:
    """`start` at the left and `end` at the right of exactly `width` cells; where both can't stand, `end` goes."""
    size_end = row_width(end)
    room = width - row_width(start) - size_end
    if room < 0 and size_end:
        return spread(start, [], width, fill)
    middle = Segment((fill.text if fill else " ") * max(room, 0), fill.style if fill else None)
    return fit([*start, middle, *end], width)


def join(parts: Sequence[Row], width: int, separator: Segment) -> Row:
    """As many of `parts`, whole and from the left, as `width` cells hold. The first is cut if it must be."""
    joined, used = Row(), 0
    for part in parts:
        if not part:
            continue
        size = row_width(part) + (cell_len(separator.text) if joined else 0)
        if joined and used + size > width:
            break
        joined += [separator, *part] if joined else part
        used += size
    return fit(joined, width) if used > width else joined


def flow(parts: Sequence[Row], width: int, most: int, separator: Segment) -> list[Row]:
    """`parts`, whole, one after another in at most `most` rows of `width` cells; those that find no room are left."""
    rows: list[Row] = [Row()]
    for part in parts:
        used = row_width(rows[-1])
        size = row_width(part) + (cell_len(separator.text) if used else 0)
        if used and used + size > width:
            if len(rows) == most:
                break
            rows.append(Row())
            used = 0
        rows[-1] += [separator, *part] if used else part
    return [fit(row, width) if row_width(row) > width else row for row in rows]


def put(row: Row, column: int, text: str, style: Style | None) -> Row:
    """The row with `text` over what stood from `column` on. For rows of narrow characters only."""
    found, place, end = Row(), 0, column + len(text)
    for segment in row:
        start, place = place, place + len(segment.text)
        if place <= column or start >= end:
            found.append(segment)
            continue
        if start < column:
            found.append(Segment(segment.text[: column - start], segment.style))
        if start <= column:
            found.append(Segment(text, style))
        if place > end:
            found.append(Segment(segment.text[end - start :], segment.style))
    return found


def wrap(text: str, width: int) -> list[str]:
    """`text` broken at spaces into lines of at most `width` cells; longer words are broken anywhere.

    Between wide characters, which are written without spaces, a line may end anywhere but before closing punctuation.
    """
    if _WIDE.search(text):
        return _wrap_wide(text, width)
    lines: list[str] = []
    line = ""
    for word in text.split():
        while cell_len(word) > width > 1:
            lines += [line] if line else []
            line, head = "", set_cell_size(word, width).rstrip()
            lines.append(head)
            word = word[len(head) :]
        if line and cell_len(line) + 1 + cell_len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines


def _wrap_wide(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for space, piece in re.findall(_PIECES, text):
        gap = " " if space and line else ""
        if line and cell_len(line) + len(gap) + cell_len(piece) > width:
            lines.append(line)
            line, gap = "", ""
        while cell_len(piece) > width > 1:
            head = set_cell_size(piece, width).rstrip()
            lines.append(head)
            piece = piece[len(head) :]
        line += gap + piece
    return [*lines, line] if line else lines


def beside(columns: Sequence[tuple[int, Sequence[Row]]], height: int, gap: int = 0) -> list[Row]:
    """Blocks of rows side by side: (width, rows) each, filled up to `height` rows."""
    rows = []
    for y in range(height):
        row = Row()
        for index, (width, block) in enumerate(columns):
            if index and gap:
                row.append(Segment(" " * gap))
            row += fit(list(block[y]) if y < len(block) else Row(), width)
        rows.append(row)
    return rows


def to_ascii(rows: Iterable[Row]) -> list[Row]:
    """The rows with nothing outside ASCII, cell for cell."""
    return [[_ascii_segment(segment) for segment in row] for row in rows]


def _ascii_segment(segment: Segment) -> Segment:
    """A cell that two categories share goes to the larger of them."""
    place = _EIGHTHS.find(segment.text) if len(segment.text) == 1 else -1
    if place < 0:
        return Segment(_ascii(segment.text), segment.style)
    style = segment.style
    if style is None or style.color is None or place < 3:
        return Segment(" ", style)
    return Segment(" ", Style(color=style.color, bgcolor=style.color))


def _ascii(text: str) -> str:
    if text.isascii():
        return text
    text = text.translate(_ASCII)
    return text if text.isascii() else "".join(c if c.isascii() else "?" * cell_len(c) for c in text)
