"""The person's lines by what lives of them at the peak; enter opens the way from a line to its tensors."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from memtop.model.deep_records import LineRow, LinesRecord, ModulesRecord
from memtop.model.snapshot import Snapshot
from memtop.tui.draw.cells import Row
from memtop.tui.draw.figures import tensors_of
from memtop.tui.draw.lines import ORDERS, Entry, Listing, rows_in_sight, shown, tab
from memtop.tui.view import View
from memtop.tui.widgets.tab import Sheet

Place = tuple[str | None, int | None, str]


def place_of(row: LineRow) -> Place:
    """What a line is known by from one look to the next."""
    return row.file, row.line, row.phase


class LinesTab(Sheet):
    """Which line made what lives at the peak."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "open", "tensors", id="lines.open", tooltip="The tensors of this line, or not"),
        Binding("a", "all", "all", id="lines.all", tooltip="The tensors of every line, or of none"),
        Binding("s", "sort", "sort", id="lines.sort", tooltip="Sort by bytes at the peak, bytes made, or number"),
    ]
    HINTS = (("↑ ↓", "move"), ("enter", "tensors"), ("s", "sort"), ("/", "search"), ("a", "open all"))
    wanted: str | None = ""

    def __init__(self) -> None:
        super().__init__()
        self._record: LinesRecord | None = None
        self._visible: list[Entry] = []
        self._peak: int | None = None
        self._modules: ModulesRecord | None = None
        self._opened: frozenset[Place] = frozenset()
        self.order = ORDERS[0]

    @property
    def ready(self) -> bool:
        return self._record is not None

    @property
    def count(self) -> int:
        return len(self._visible)

    @property
    def room(self) -> int:
        return rows_in_sight(self.size.height)

    @property
    def _rows_known(self) -> list[LineRow]:
        return [] if self._record is None else self._record.rows

    def _open_indices(self) -> frozenset[int]:
        return frozenset(index for index, row in enumerate(self._rows_known) if place_of(row) in self._opened)

    def take(self, snapshot: Snapshot) -> None:
        """A newer look has other rows; what was opened and marked stays so."""
        deep = snapshot.deep
        record = None if deep is None else deep.lines
        if record is self._record:
            return
        place = self._place()
        self._record = record
        self._peak = None if deep is None else tensors_of(deep.peak.bytes)
        self._modules = None if deep is None else deep.modules
        self._list(place)

    def state(self) -> tuple[object, ...]:
        return (self._record, self.sight, self.order, self._opened, self.wanted)

    def draw(self, width: int, height: int, view: View) -> list[Row]:
        return tab(
            Listing(
                rows=self._rows_known,
                visible=self._visible,
                sight=self.sight,
                order=self.order,
                opened=self._open_indices(),
                wanted=self.wanted or "",
                peak=self._peak,
                modules=self._modules,
            ),
            width,
            height,
            view,
        )

    def _here(self) -> LineRow | None:
        """The line that is marked, or that the marked tensor belongs to."""
        if self.sight.cursor >= len(self._visible):
            return None
        return self._rows_known[self._visible[self.sight.cursor][0]]

    def _place(self) -> Place | None:
        row = self._here()
        return None if row is None else place_of(row)

    def _list(self, place: Place | None) -> None:
        rows = self._rows_known
        self._visible = shown(rows, self.order, self._open_indices(), self.wanted or "")
        lines = ((y, entry[0]) for y, entry in enumerate(self._visible) if entry[1] is None)
        cursor = next((y for y, index in lines if place_of(rows[index]) == place), 0)
        self.sight = self.sight.moved(cursor, self.count, self.room)

    def _again(self, place: Place | None) -> None:
        self._list(place)
        self.draw_again()

    # -- keys --------------------------------------------------------------------------------------------------------

    def action_open(self) -> None:
        """The tensors of the marked line, or no longer."""
        row = self._here()
        if row is not None and row.tensors:
            self._opened ^= {place_of(row)}
            self._again(place_of(row))

    def action_all(self) -> None:
        """The tensors of all lines, or of none."""
        self._opened = frozenset() if self._opened else frozenset(place_of(row) for row in self._rows_known)
        self._again(self._place())

    def action_sort(self) -> None:
        """The next order; its first line is marked."""
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]
        self._visible = shown(self._rows_known, self.order, self._open_indices(), self.wanted or "")
        self.mark(0)
        self.post_message(self.Reordered())

    def narrow(self, wanted: str) -> None:
        self.wanted = wanted
        self._again(self._place())
