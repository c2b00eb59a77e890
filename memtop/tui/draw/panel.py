"""A frame with its answer in the first line: title at the left, what is aside at the right."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment

from memtop.tui.draw.cells import Row, fit, row_width, spread
from memtop.tui.palette import Palette


def panel(
    title: Row, aside: Row, body: Sequence[Row], width: int, height: int, palette: Palette, foot: Row | None = None
) -> list[Row]:
    """`body` in a frame of exactly `width` x `height` cells; two columns of each side are the frame's.

    `foot` stands in the frame's last line, where there is room for it.
    """
    border = palette["border"]
    line = Segment("─", border)
    head = [Segment("╭─ ", border), *title, Segment(" ", border)]
    tail = [Segment(" ", border), *aside, Segment(" ─╮", border)] if aside else [Segment("╮", border)]
    if row_width(head) + row_width(tail) > width:
        tail = [Segment("╮", border)]
        head = fit(head, width - 1)
    rows = [spread(head, tail, width, line)]
    for y in range(height - 2):
        inner = fit(list(body[y]) if y < len(body) else Row(), width - 4)
        rows.append([Segment("│ ", border), *inner, Segment(" │", border)])
    if foot and row_width(foot) + 6 <= width:
        rows.append(spread([Segment("╰─ ", border), *foot, Segment(" ", border)], [Segment("╯", border)], width, line))
    else:
        rows.append([Segment("╰" + "─" * (width - 2) + "╯", border)])
    return rows[:height]
