"""The lesson on a screen of its own, where there is no room for it beside the figures. The training's keys work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Final, cast

from rich.segment import Segment
from textual.actions import parse
from textual.binding import Binding, BindingType

from memtop.model.i18n import _
from memtop.model.text import harmless
from memtop.tui.draw.cells import Row, to_ascii
from memtop.tui.draw.lesson import lesson_rows
from memtop.tui.keys import MAIN
from memtop.tui.screens.main import MainScreen
from memtop.tui.screens.page import Page
from memtop.tui.widgets.lines import Lines

_WORK_HERE: Final = (
    *("batch.halve", "batch.double", "setting.optimizer", "setting.precision", "setting.checkpoint"),
    *("setting.inplace", "setting.all", "look.deep", "training.restart"),
)
"""The training's keys, by id, which do here what they do on the main screen."""


def _training_keys() -> Iterator[Binding]:
    for binding in MAIN:
        if isinstance(binding, Binding) and binding.id in _WORK_HERE:
            yield replace(binding, action=f"main({binding.action!r})")


class LessonScreen(Page):
    """What to do, what came of it, and why."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("L", "back", "back", id="screen.close", tooltip="Back to the main screen", key_display="L"),
        *_training_keys(),
    ]
    HINTS = (("esc", "back"), ("- +", "batch"), ("o", "optimizer"), (",", "settings"), ("↑ ↓", "scroll"), ("?", "help"))

    def title_row(self) -> Row:
        palette, taught = self.memtop.view.palette, self.memtop.taught()
        title = "" if taught.lesson is None else _(taught.lesson.title)
        brand = Segment(f" {_('lesson')} ", palette["brand"])
        name = harmless(self.memtop.session.snapshot().title)
        return [brand, Segment(f" {name} ", palette["strong"]), Segment(harmless(title), palette["dim"])]

    def show(self, body: Lines, width: int) -> None:
        view = self.memtop.view
        rows = lesson_rows(self.memtop.taught(), width, view)
        body.show(to_ascii(rows) if view.ascii_only else rows)

    def action_main(self, action: str) -> None:
        """What the key does on the main screen, where it does anything."""
        main = cast(MainScreen, self.app.screen_stack[0])
        _, name, parameters = parse(action)
        if main.check_action(name, parameters):
            getattr(main, f"action_{name}")(*parameters)
