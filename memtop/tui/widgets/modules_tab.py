"""The modules of a deep look: a tree that folds, sorts and can be searched."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from memtop.model.deep_records import ModulesRecord
from memtop.model.layers import ORDERS, Layer, matches, shown, tree
from memtop.model.snapshot import Snapshot
from memtop.tui.draw import depth
from memtop.tui.draw.cells import Row
from memtop.tui.draw.figures import tensors_of
from memtop.tui.draw.modules import Tree, rows_in_sight, tab
from memtop.tui.view import View
from memtop.tui.widgets.tab import Sheet


class ModulesTab(Sheet):
    """What each module holds."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "open", "fold", id="modules.fold", tooltip="Fold what is below this module, or unfold"),
        Binding("left", "fold", "fold", id="modules.close", tooltip="Fold, or go to the module above"),
        Binding("right", "unfold", "unfold", id="modules.open", tooltip="Unfold, or go to the first one below"),
        Binding("a", "all", "all", id="modules.all", tooltip="Fold all that is below the root, or unfold all"),
        Binding("b", "bars", "bars", id="modules.bars", tooltip="Bars of activations and parameters, or figures"),
        Binding("s", "sort", "sort", id="modules.sort", tooltip="Sort by model order, peak, activations, ..."),
    ]
    HINTS = (("↑ ↓", "move"), ("enter", "fold"), ("s", "sort"), ("b", "bars"), ("/", "search"), ("a", "fold all"))
    wanted: str | None = ""

    def __init__(self) -> None:
        super().__init__()
        self._record: ModulesRecord | None = None
        self._layers: tuple[Layer, ...] = ()
        self._visible: list[int] = []
        self._peak: int | None = None
        self._folded: frozenset[str | None] = frozenset()
        self.order = ORDERS[0]
        self._bars = False

    @property
    def ready(self) -> bool:
        return self._record is not None

    @property
    def count(self) -> int:
        return len(self._visible)

    @property
    def room(self) -> int:
        return rows_in_sight(self.size.height)

    def take(self, snapshot: Snapshot) -> None:
        """A newer look is another tree; what was folded and marked stays so."""
        deep = snapshot.deep
        record = None if deep is None else deep.modules
        if record is self._record:
            return
        first, path = self._record is None, self._path()
        self._record = record
        self._layers = () if record is None else tree(record.rows)
        self._peak = None if deep is None else tensors_of(deep.peak.bytes)
        self._list("" if first else path)

    def state(self) -> tuple[object, ...]:
        return (self._record, self.sight, self.order, self._folded, self.wanted, self._bars)

    def draw(self, width: int, height: int, view: View) -> list[Row]:
        return (depth.tab if self._bars else tab)(
            Tree(
                layers=self._layers,
                visible=self._visible,
                sight=self.sight,
                order=self.order,
                folded=self._folded,
                wanted=self.wanted or "",
                peak=self._peak,
                left_out=0 if self._record is None else self._record.folded,
            ),
            width,
            height,
            view,
        )

    def _here(self) -> Layer | None:
        """The marked layer."""
        return self._layers[self._visible[self.sight.cursor]] if self.sight.cursor < len(self._visible) else None

    def _path(self) -> str | None:
        layer = self._here()
        return None if layer is None else layer.row.path

    def _list(self, path: str | None) -> None:
        """List anew, with the mark on the same module or on the nearest that is in the list."""
        self._visible = shown(self._layers, self.order, self._folded, self.wanted or "")
        places = {self._layers[index].row.path: place for place, index in enumerate(self._visible)}
        while path and path not in places:  # It is folded away, or this model has it no more.
            path = path.rpartition(".")[0]
        self.sight = self.sight.moved(places.get(path, 0), self.count, self.room)

    def _again(self, path: str | None) -> None:
        self._list(path)
        self.draw_again()

    # -- keys --------------------------------------------------------------------------------------------------------

    def action_open(self) -> None:
        """Fold, or unfold."""
        layer = self._here()
        if layer is not None and layer.children:
            self._folded ^= {layer.row.path}
            self._again(layer.row.path)

    def action_fold(self) -> None:
        """Fold; of what is folded or has nothing below, mark the one above."""
        layer = self._here()
        if layer is None:
            return
        if layer.children and layer.row.path not in self._folded:
            self.action_open()
        elif layer.parent is not None:
            self._again(self._layers[layer.parent].row.path)

    def action_unfold(self) -> None:
        """Unfold; of what is unfolded, mark the first one below."""
        layer = self._here()
        if layer is not None and layer.children:
            if layer.row.path in self._folded:
                self.action_open()
            else:
                self.mark(self.sight.cursor + 1)

    def action_all(self) -> None:
        """Fold every module but the outermost ones, or unfold all."""
        below = {layer.row.path for layer in self._layers if layer.children and layer.parent is not None}
        self._folded = frozenset() if self._folded else frozenset(below)
        self._again(self._path())

    def action_bars(self) -> None:
        """Activations and parameters by depth as bars, or all figures again."""
        self._bars = not self._bars
        self.draw_again()

    def action_sort(self) -> None:
        """The next order; the largest comes first into sight."""
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]
        self._visible = shown(self._layers, self.order, self._folded, self.wanted or "")
        self.mark(0)
        self.post_message(self.Reordered())

    def narrow(self, wanted: str) -> None:
        """The mark goes to the first module that has the letters itself, unless it stands on one."""
        self.wanted = wanted
        self._list(self._path())
        here = self._here()
        if wanted and here is not None and not matches(here, wanted):
            own = (place for place, index in enumerate(self._visible) if matches(self._layers[index], wanted))
            self.sight = self.sight.moved(next(own, 0), self.count, self.room)
        self.draw_again()
