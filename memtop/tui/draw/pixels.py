"""A small picture in cells: two pixels a cell by half-blocks, or a character a cell where there is no colour. Pure."""

from __future__ import annotations

from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from memtop.tui.draw.cells import Row

_RAMP = " .:-=+*#%@"
"""From black to white on a dark terminal."""

Pixel = tuple[int, int, int]


def fitted(width: int, height: int, cells: int, rows: int) -> tuple[int, int]:
    """The size in pixels at which a picture stands in `cells` × `rows`: enlarged by a whole number, or made smaller."""
    if width < 1 or height < 1 or cells < 1 or rows < 1:
        return 0, 0
    room = min(cells / width, 2 * rows / height)
    if room >= 1:
        return width * int(room), height * int(room)
    return max(1, int(width * room)), max(1, int(height * room))


def half_blocks(
    pixels: bytes, width: int, height: int, channels: int, cells: int, rows: int, *, letters: bool, dark: bool
) -> list[Row]:
    """Rows of exactly the fitted width. `pixels`: rows from the top, `channels` bytes (1 or 3) together.

    `letters`: no colours, ASCII alone; `dark` says whether that terminal's ground is. A cell is as wide as half its
    height, so that a pixel of half a cell is square.
    """
    across, down = fitted(width, height, cells, rows)

    def at(x: int, y: int) -> Pixel | None:
        if y >= down:
            return None
        start = ((y * height // down) * width + x * width // across) * channels
        return (pixels[start], pixels[start + 1], pixels[start + 2]) if channels == 3 else (pixels[start],) * 3

    if letters:
        return [[Segment("".join(_letter(at(x, y), at(x, y + 1), dark) for x in range(across)))]
                for y in range(0, down, 2)]  # fmt: skip
    return [_joined([(at(x, y), at(x, y + 1)) for x in range(across)]) for y in range(0, down, 2)]


def _joined(cells: list[tuple[Pixel | None, Pixel | None]]) -> Row:
    """One segment for neighbours alike."""
    row, start = Row(), 0
    for place in range(1, len(cells) + 1):
        if place == len(cells) or cells[place] != cells[start]:
            row.append(Segment("▀" * (place - start), _style(*cells[start])))
            start = place
    return row


def _style(above: Pixel | None, below: Pixel | None) -> Style:
    ground = None if below is None else Color.from_rgb(*below)
    return Style.from_color(None if above is None else Color.from_rgb(*above), ground)


def _letter(above: Pixel | None, below: Pixel | None, dark: bool) -> str:
    """A character for the mean brightness of two pixels."""
    known = [0.299 * one[0] + 0.587 * one[1] + 0.114 * one[2] for one in (above, below) if one is not None]
    level = round(sum(known) / len(known) / 255 * (len(_RAMP) - 1))
    return _RAMP[level if dark else len(_RAMP) - 1 - level]
