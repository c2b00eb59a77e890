"""What if: peak and largest batch under other settings, forecast from the newest deep look, and tried for real."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from memtop.model import units
from memtop.model.i18n import N_, _
from memtop.model.snapshot import Phase
from memtop.model.text import harmless
from memtop.tui.draw.cells import Row, cut, join
from memtop.tui.screens.page import Page
from memtop.tui.trying import Trying, differences
from memtop.tui.widgets.lines import Lines
from memtop.tui.widgets.whatif_sheet import WhatIfSheet


class WhatIfScreen(Page):
    """One line a change."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "back", "back", id="screen.close", tooltip="Back to the main screen"),
        Binding(
            "d", "deep_look", "deep look", id="look.deep", tooltip="Watch the next step whole (outside the budget)"
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._sheet: WhatIfSheet | None = None

    @property
    def trying(self) -> Trying:
        """The app keeps it, so that what was measured is there when one comes back."""
        if self.memtop.trying is None:
            self.memtop.trying = Trying(self.memtop.scenarios.settings)
        return self.memtop.trying

    def compose(self) -> ComposeResult:
        self._sheet = WhatIfSheet(self.trying)
        yield Lines(id="head")
        yield self._sheet
        yield Lines(id="foot")

    def focus_body(self) -> None:
        """Keys move the mark."""
        if self._sheet is not None:
            self._sheet.focus()

    def repaint(self) -> None:
        """Draw the newest."""
        if self._sheet is not None:
            self._sheet.paint(self.memtop.session.snapshot(), self.memtop.view)
        self.frame()

    @property
    def hints(self) -> tuple[tuple[str, str], ...]:
        """What can't be tried offers no key for it."""
        tries = (("enter", N_("try it")),) if self.memtop.session.snapshot().choices else ()
        return (("esc", "back"), ("↑ ↓", "move"), *tries, ("d", "look"), ("?", "help"), ("q", "quit"))

    def title_row(self) -> Row:
        palette, told = self.memtop.view.palette, self.trying.base
        snapshot = self.memtop.session.snapshot()
        parts = [[Segment(cut(harmless(snapshot.title), 40), palette["strong"])]]
        if snapshot.pending is not None:
            parts.append([Segment(cut(harmless(snapshot.pending), 40), palette["accent"])])
        if told is not None:
            batch = _("batch {size:,}").format(size=told.batch) + (f" × {told.batches}" if told.batches > 1 else "")
            parts.append([Segment(batch, palette["text"])])
            parts.append([Segment(_("one deep look, step {step:,}").format(step=told.step), palette["dim"])])
            limit = _("not known") if told.limit is None else units.size(told.limit, self.memtop.view.unit)
            words = _("limit of {device} {limit}").format(device=told.device, limit=limit)
            parts.append([Segment(words, palette["dim"])])
        row = join(parts, self.size.width - 10, Segment(" · ", palette["faint"]))
        return [Segment(_(" what if "), palette["brand"]), Segment(" "), *row]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A deep look is for a training that goes on."""
        if action == "deep_look":
            snapshot = self.memtop.session.snapshot()
            return True if snapshot.phase is Phase.TRAINING and snapshot.replay is None else None
        return True

    def action_deep_look(self) -> None:
        """The next step is watched whole; what it finds takes the place of this."""
        self.memtop.session.deep_look()
        self.memtop.tell(_("a deep look: the next step is watched whole"))
        self.memtop.urge()

    def on_what_if_sheet_tried(self, message: WhatIfSheet.Tried) -> None:
        """Start anew with that setting: its own deep look measures what was forecast."""
        snapshot = self.memtop.session.snapshot()
        if not snapshot.choices:
            self.memtop.tell(_("only built-in scenarios can be tried from here"))
            return
        settings = self.trying.settings_for(message.entry)
        if settings is None:
            entry = message.entry
            none = _("this scenario has no setting for {name}").format(name=_(entry.line.name))
            self.memtop.tell(_("it runs already") if entry.runs else none)
            return
        words = differences(settings, snapshot.settings)
        self.memtop.tell(_("{name}: a new process starts").format(name=words))
        self.memtop.session.restart(settings=settings)
        self.memtop.urge()
