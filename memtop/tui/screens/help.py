"""The help, made from the bindings that hold where it was asked for: it can't go stale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import Vertical

from memtop.model.i18n import _
from memtop.tui.draw.help import Line, help_rows
from memtop.tui.keys import GROUPS
from memtop.tui.screens.dialog import Dialog
from memtop.tui.widgets.lines import Lines


def lines_of(bindings: Mapping[str, ActiveBinding]) -> list[Line]:
    """Each binding once, with all its keys, under its heading."""
    keys: dict[Binding, list[str]] = {}
    enabled: dict[Binding, bool] = {}
    for key, active in bindings.items():
        binding = next((known for known in keys if known.id and known.id == active.binding.id), active.binding)
        keys.setdefault(binding, []).append(_shown(key))
        enabled[binding] = active.enabled
    return [
        Line(
            group=GROUPS.get((binding.id or "").split(".")[0], "Here"),
            keys=" ".join(keys[binding]),
            words=binding.tooltip or binding.description or binding.action,
            enabled=enabled[binding],
        )
        for binding in keys
        if binding.id
    ]


_NAMES = {
    "right_square_bracket": "]",
    "left_square_bracket": "[",
    "minus": "-",
    "plus": "+",
    "equals_sign": "=",
    "comma": ",",
    "less_than_sign": "<",
    "left_parenthesis": "(",
    "right_parenthesis": ")",
    "greater_than_sign": ">",
    "question_mark": "?",
    "slash": "/",
    "escape": "esc",
}


def _shown(key: str) -> str:
    return _NAMES.get(key, key)


class HelpScreen(Dialog[None]):
    """Keys and colours."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,q,enter,space", "cancel", "close", id="help.close", tooltip="Close the help"),
    ]

    def __init__(self, bindings: Mapping[str, ActiveBinding]) -> None:
        super().__init__()
        self._lines = lines_of(bindings)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as frame:
            frame.border_title = _("Help")
            frame.border_subtitle = _("esc closes")
            yield Lines()

    def on_mount(self) -> None:
        """The help takes its size from what it holds."""
        self.query_one(Lines).focus()
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        """Lay out anew."""
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        lines = self.query_one(Lines)
        palette = getattr(self.app, "view").palette  # noqa: B009
        rows = help_rows(self._lines, lines.room or 60, palette)
        lines.styles.height = len(rows)
        lines.show(rows)
