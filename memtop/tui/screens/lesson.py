"""The lesson on a screen of its own, where there is no room for it beside the figures. The training's keys work."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from rich.segment import Segment
from textual.binding import Binding, BindingType

from memtop.model.i18n import _
from memtop.model.text import harmless
from memtop.tui.draw.cells import Row, to_ascii
from memtop.tui.draw.lesson import lesson_rows
from memtop.tui.screens.main import MainScreen
from memtop.tui.screens.page import Page
from memtop.tui.widgets.lines import Lines


def _key(keys: str, action: str, id: str, tooltip: str) -> Binding:
    return Binding(keys, f"main({action})", tooltip, id=id, tooltip=tooltip, show=False)


class LessonScreen(Page):
    """What to do, what came of it, and why."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("L", "back", "back", id="screen.close", tooltip="Back to the main screen", key_display="L"),
        _key("minus", "'scale_batch', -1", "batch.halve", "Half the batch size (a new process)"),
        _key("plus,equals_sign", "'scale_batch', 1", "batch.double", "Twice the batch size (a new process)"),
        _key("o", "'cycle', 'o'", "setting.optimizer", "The next optimizer"),
        _key("p", "'cycle', 'p'", "setting.precision", "The next precision: float32 or bfloat16 autocast"),
        _key("c", "'cycle', 'c'", "setting.checkpoint", "The next way of checkpointing activations"),
        _key("i", "'cycle', 'i'", "setting.inplace", "ReLUs in place, or not"),
        _key("comma", "'settings'", "setting.all", "All settings of this scenario"),
        _key("d", "'deep_look'", "look.deep", "Watch the next step whole"),
        _key("r", "'restart'", "training.restart", "Begin this training anew"),
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

    def action_main(self, name: str, *parameters: Any) -> None:
        """What the key does on the main screen, where it does anything."""
        main = cast(MainScreen, self.app.screen_stack[0])
        if main.check_action(name, parameters):
            getattr(main, f"action_{name}")(*parameters)
