"""A dialog that asks for one value."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, Static

from memtop.model.i18n import _
from memtop.tui.screens.dialog import Dialog


class Ask(Dialog[str]):
    """Asks for a line of text until `refused` has nothing against it."""

    def __init__(self, title: str, value: str, refused: Callable[[str], str | None]) -> None:
        """`refused` says in one line why a text can't be taken, `None` where it can."""
        super().__init__()
        self._title = title
        self._value = value
        self._refused = refused

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as frame:
            frame.border_title = self._title
            frame.border_subtitle = _("enter takes it, esc leaves it")
            yield Input(self._value, select_on_focus=True)
            yield Static("", classes="line", markup=False)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say at once what is wrong with it."""
        self.query_one(Static).update(self._refused(event.value) or "")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take it, if it can be taken."""
        if self._refused(event.value) is None:
            self.dismiss(event.value)


class AskNumber(Dialog[int]):
    """Asks for a whole number between two others."""

    def __init__(self, title: str, value: int | None, low: int, high: int) -> None:
        super().__init__()
        self._title = title
        self._value = value
        self._low = low
        self._high = high

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as frame:
            frame.border_title = self._title
            frame.border_subtitle = _("enter takes it, esc leaves it")
            yield Input("" if self._value is None else str(self._value), type="integer", select_on_focus=True)
            yield Static("", classes="line", markup=False)

    def refused(self, text: str) -> str | None:
        """Why a text is not taken, in one line."""
        try:
            number = int(text)
        except ValueError:
            return _("a whole number, please")
        if self._low <= number <= self._high:
            return None
        return _("from {low:,} to {high:,}").format(low=self._low, high=self._high)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say at once what is wrong with it."""
        self.query_one(Static).update(self.refused(event.value) or "")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take it, if it can be taken."""
        if self.refused(event.value) is None:
            self.dismiss(int(event.value))
