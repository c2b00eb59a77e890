"""The batch that went in: one sample after another. It follows the newest look unless it is held."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType

from memtop.model import batch_text
from memtop.model.batch import BatchSample
from memtop.model.i18n import _
from memtop.model.snapshot import Snapshot
from memtop.tui.draw.cells import Row, wrap
from memtop.tui.draw.goes_in import NONE, Shown, tab
from memtop.tui.view import View
from memtop.tui.widgets.tab import Tab


class BatchTab(Tab):
    """What goes in."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n,right,down", "sample(1)", "next", id="batch.next", tooltip="The next sample of the batch"),
        Binding("p,left,up", "sample(-1)", "previous", id="batch.previous", tooltip="The sample before"),
        Binding("h", "hold", "hold", id="batch.hold", tooltip="Hold this batch while newer looks come, or go on"),
    ]
    HINTS: ClassVar[tuple[tuple[str, str], ...]] = (("n p", "sample"), ("h", "hold"))

    def __init__(self) -> None:
        super().__init__()
        self._newest: BatchSample | None = None
        self._shown: BatchSample | None = None
        self._looked = self._frozen = False
        self.number = 0

    @property
    def ready(self) -> bool:
        return self._shown is not None or self._looked

    def take(self, snapshot: Snapshot) -> None:
        """A newer batch takes the place of this one, at the same sample, unless this one is held."""
        self._newest, self._looked = snapshot.batch, snapshot.deep is not None
        if not self._frozen or self._shown is None:
            self._shown = snapshot.batch
        self.number = max(0, min(self.number, self._count - 1))

    @property
    def _count(self) -> int:
        return 0 if self._shown is None else batch_text.count(self._shown)

    def state(self) -> tuple[object, ...]:
        return (id(self._shown), id(self._newest), self.number, self._frozen, self._looked)

    def draw(self, width: int, height: int, view: View) -> list[Row]:
        if self._shown is None or self._newest is None:
            return [[Segment(line, view.palette["dim"])] for line in wrap(_(NONE), width)]
        shown = Shown(sample=self._shown, number=self.number, frozen=self._frozen, newest=self._newest.step)
        return tab(shown, width, height, view)

    def action_sample(self, by: int) -> None:
        """The next sample, after the last the first."""
        self.number = (self.number + by) % max(1, self._count)
        self.draw_again()

    def action_hold(self) -> None:
        """Hold this batch, or follow the newest again."""
        self._frozen = not self._frozen and self._shown is not None
        if not self._frozen:
            self._shown = self._newest
            self.number = max(0, min(self.number, self._count - 1))
        self.draw_again()
