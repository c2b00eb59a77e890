"""The last line: the keys that work here, or a word to the person."""

from __future__ import annotations

from functools import lru_cache

from rich.segment import Segment
from rich.style import Style

from memtop.tui.draw.cells import Row, cut, fit, join, row_width, spread
from memtop.tui.palette import Palette
from memtop.tui.view import Key, View

_GAP = Segment("  ")


def footer(width: int, view: View) -> Row:
    """As many keys as fit, whole; a key that can't work now is dim. A notice comes first where there is one."""
    last = join([_key(key, view.palette) for key in view.keys if key.last], max(0, width - 2), _GAP)
    if last and width > row_width(last) + 8:
        last = [*last, Segment(" ")]
        room = width - row_width(last) - 3
    else:
        last, room = [], width - 2
    if view.notice:
        start = [Segment(cut(view.notice, room), view.palette["accent"])]
    else:
        start = join([_key(key, view.palette) for key in view.keys if not key.last], room, _GAP)
    return fit(spread([Segment(" "), *start], last, width), width)


def _key(key: Key, palette: Palette) -> Row:
    name, words = ("key", "key_text") if key.enabled else ("key_off", "key_off")
    click = key.action if key.enabled else ""
    return [Segment(key.key, _style(palette[name], click)), Segment(f" {key.label}", _style(palette[words], click))]


@lru_cache(maxsize=256)
def _style(style: Style, action: str) -> Style:
    return style + Style(meta={"@click": action}) if action else style
