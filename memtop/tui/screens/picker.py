"""Lists to choose from: scenarios, values, settings. Typing narrows the list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

from memtop.model.i18n import _
from memtop.model.text import harmless
from memtop.tui.draw.cells import Row, cut, fit, left, wrap
from memtop.tui.palette import Palette
from memtop.tui.palettes import PALETTES
from memtop.tui.scenarios import Offer
from memtop.tui.screens.dialog import Dialog
from memtop.tui.widgets.lines import Lines


class Entry(msgspec.Struct, frozen=True):
    """One line of a list."""

    key: str
    title: str
    aside: str = ""
    text: str = ""
    """Shown below while the entry is marked."""


def matches(entry: Entry, wanted: str) -> bool:
    """Whether the letters of `wanted` stand in the entry's key or title in that order."""
    letters = iter(f"{entry.key} {entry.title}".lower())
    return all(letter in letters for letter in wanted.lower() if not letter.isspace())


def entry_rows(entries: Sequence[Entry], marked: int, width: int, palette: Palette) -> list[Row]:
    """The list, with the text of the marked entry under it."""
    rows: list[Row] = []
    name_width = min(max((cell_len(entry.key) for entry in entries), default=0), width // 2) + 2
    for index, entry in enumerate(entries):
        here = index == marked
        mark = Segment("▸ " if here else "  ", palette["accent"])
        name = Segment(left(cut(entry.key, name_width - 1), name_width), palette["strong" if here else "text"])
        aside = palette["accent"]
        room = max(0, width - 3 - name_width - cell_len(entry.aside))
        title = left(entry.title, room)
        rows.append(fit([mark, name, Segment(title, palette["dim"]), Segment(f" {entry.aside}", aside)], width))
        if here and entry.text:
            rows += [
                fit([Segment("    "), Segment(line, palette["text"])], width) for line in wrap(entry.text, width - 6)
            ]
            rows.append(fit(Row(), width))
    return rows or [fit([Segment(_("  nothing of that name"), palette["faint"])], width)]


class Picker(Dialog[str]):
    """Choose one entry by arrows, by typing, by mouse."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,ctrl+n", "move(1)", "down", id="picker.down", tooltip="The next one", priority=True),
        Binding("up,ctrl+p", "move(-1)", "up", id="picker.up", tooltip="The one before", priority=True),
        Binding("enter", "take", "choose", id="picker.take", tooltip="Take the marked one", priority=True),
    ]

    def __init__(self, title: str, entries: Sequence[Entry], marked: str | None) -> None:
        super().__init__()
        self._title = title
        self._entries = list(entries)
        keys = [entry.key for entry in entries]
        self._marked = keys.index(marked) if marked in keys else 0
        self._shown = self._entries

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as frame:
            frame.border_title = self._title
            frame.border_subtitle = _("type to narrow · enter chooses · esc leaves")
            yield Input(placeholder=_("type to narrow"))
            yield Lines()

    def on_mount(self) -> None:
        """The list takes its size from what it holds."""
        self.call_after_refresh(self._draw)

    def on_resize(self, event: events.Resize) -> None:
        """Wrap anew."""
        self.call_after_refresh(self._draw)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow the list."""
        marked = self._shown[self._marked] if self._marked < len(self._shown) else None
        self._shown = [entry for entry in self._entries if matches(entry, event.value)]
        self._marked = self._shown.index(marked) if marked in self._shown else 0
        self._draw()

    def action_move(self, by: int) -> None:
        """Mark another one."""
        if self._shown:
            self._marked = (self._marked + by) % len(self._shown)
            self._draw()

    def action_take(self) -> None:
        """Answer with the marked one."""
        if self._shown:
            self.dismiss(self._shown[self._marked].key)

    def _draw(self) -> None:
        lines = self.query_one(Lines)
        width = lines.room or 60
        palette = getattr(self.app, "view").palette if hasattr(self.app, "view") else PALETTES["dark"]  # noqa: B009
        rows = entry_rows(self._shown, self._marked, width, palette)
        lines.styles.height = len(rows)
        lines.show(rows)
        lines.scroll_to(y=max(0, self._marked - 2), animate=False)


class ScenarioPicker(Picker):
    """The scenarios with their lessons."""

    def __init__(self, offers: Sequence[Offer], current: str) -> None:
        entries = [
            Entry(
                harmless(o.name),
                _(harmless(o.title)),
                _("runs now") if o.name == current else "",
                _(harmless(o.lesson)),
            )
            for o in offers
        ]
        super().__init__(_("Scenarios"), entries, current)
