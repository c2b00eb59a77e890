"""What dialogs have in common: a frame with a title, keys below, escape closes."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer], Generic[Answer]):
    """A question over the screen. Escape answers with nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel", id="dialog.cancel", tooltip="Close without a change", key_display="esc"),
    ]

    def action_cancel(self) -> None:
        """Leave things as they are."""
        self.dismiss(None)
