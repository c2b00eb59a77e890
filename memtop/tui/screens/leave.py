"""Before one leaves a training of one's own: end it, leave it running, or stay."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from memtop.model.i18n import _
from memtop.model.text import harmless
from memtop.tui.screens.dialog import Dialog


class Leave(Dialog[str]):
    """Answers `stop` or `leave`; escape stays."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "answer('stop')", "stop it", id="leave.stop", tooltip="End the training (TERM) and leave"),
        Binding("l", "answer('leave')", "leave it", id="leave.run", tooltip="Leave; the training and its log go on"),
    ]

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as frame:
            frame.border_title = _("The training still runs")
            frame.border_subtitle = _("esc stays")
            yield Static(harmless(self._title, 60), markup=False)
            yield Static(_("s  stop it (TERM) and leave"), markup=False)
            yield Static(_("l  leave it running, its log too; memtop connect opens it again"), markup=False)

    def action_answer(self, answer: str) -> None:
        """Take it."""
        self.dismiss(answer)
