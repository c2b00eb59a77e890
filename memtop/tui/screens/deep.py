"""Inside one step, as the newest deep look found it: its course, its modules, the person's lines, tracked tensors."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from memtop.model.i18n import _
from memtop.model.snapshot import Phase, Snapshot
from memtop.model.text import harmless
from memtop.tui.draw.cells import Row, cut, fit, join
from memtop.tui.draw.peak import looked, peak_parts
from memtop.tui.screens.page import Page
from memtop.tui.widgets.batch_tab import BatchTab
from memtop.tui.widgets.lines import Lines
from memtop.tui.widgets.lines_tab import LinesTab
from memtop.tui.widgets.modules_tab import ModulesTab
from memtop.tui.widgets.step_tab import StepTab
from memtop.tui.widgets.tab import Tab
from memtop.tui.widgets.tracked_tab import TrackedTab

TABS: tuple[tuple[str, type[Tab]], ...] = (
    ("Step", StepTab),
    ("Modules", ModulesTab),
    ("Lines", LinesTab),
    ("Tracked", TrackedTab),
    ("Batch", BatchTab),
)


class DeepScreen(Page):
    """Five tabs on the newest deep look."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "back", "back", id="screen.close", tooltip="Back to the main screen"),
        Binding("1", "tab(0)", "step", id="deep.step", tooltip="The step's course through time"),
        Binding("2", "tab(1)", "modules", id="deep.modules", tooltip="What each module holds"),
        Binding("3", "tab(2)", "lines", id="deep.lines", tooltip="What each line of the code made"),
        Binding("4", "tab(3)", "tracked", id="deep.tracked", tooltip="What came and went between marks of track()"),
        Binding("5", "tab(4)", "batch", id="deep.batch", tooltip="What goes in: a sample of the batch"),
        Binding("tab", "next_tab(1)", "next", id="deep.next", tooltip="The next tab"),
        Binding("shift+tab", "next_tab(-1)", "previous", id="deep.previous", tooltip="The tab before"),
        Binding("slash", "search", "search", id="deep.search", tooltip="Narrow the rows to some letters"),
        Binding(
            "d", "deep_look", "deep look", id="look.deep", tooltip="Watch the next step whole (outside the budget)"
        ),
    ]
    DEFAULT_CSS = """
    DeepScreen > #tabs { height: 1; padding: 0; }
    DeepScreen > Input { display: none; border: none; height: 1; padding: 0 1; }
    DeepScreen.-asks > Input { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.tabs: list[Tab] = [make() for _, make in TABS]
        self.place = 0
        self._now: Snapshot | None = None

    def compose(self) -> ComposeResult:
        yield Lines(id="head")
        yield Lines(id="tabs")
        yield from self.tabs
        yield Input(placeholder="find")
        yield Lines(id="foot")

    def focus_body(self) -> None:
        """Keys reach the tab in sight."""
        self.query_one("#tabs", Lines).can_focus = False
        self.action_tab(self.place)

    @property
    def tab(self) -> Tab:
        """The one in sight."""
        return self.tabs[self.place]

    # -- what is drawn -----------------------------------------------------------------------------------------------

    def repaint(self) -> None:
        self._now = self.memtop.session.snapshot()
        self.frame()
        self.query_one("#tabs", Lines).show([fit(self._tab_row(), self.size.width)])
        self.tab.paint(self._now, self.memtop.view)

    @property
    def now(self) -> Snapshot:
        """The snapshot last drawn."""
        if self._now is None:
            self._now = self.memtop.session.snapshot()
        return self._now

    @property
    def hints(self) -> tuple[tuple[str, str], ...]:
        return (("esc", "back"), ("?", "help"), *self.tab.HINTS, ("tab", "next"), ("d", "look"), ("q", "quit"))

    def title_row(self) -> Row:
        snapshot, view = self.now, self.memtop.view
        palette, deep = view.palette, snapshot.deep
        parts = [[Segment(cut(harmless(snapshot.title), 40), palette["strong"])]]
        if deep is not None:
            parts.append([Segment(looked(deep, snapshot), palette["dim"])])
            parts += peak_parts(deep.peak, deep.modules, view)
        row = join(parts, self.size.width - 20, Segment(" · ", palette["faint"]))
        return [Segment(_(" inside the step "), palette["brand"]), Segment(" "), *row]

    def _tab_row(self) -> Row:
        palette = self.memtop.view.palette
        row = [Segment(" ")]
        for place, (name, _tab) in enumerate(TABS):
            click = Style(meta={"@click": f"screen.tab({place})"})
            here = place == self.place
            row.append(Segment(f" {place + 1} ", palette["chip" if here else "key"] + click))
            row.append(Segment(f"{_(name)} ", palette["chip" if here else "key_text"] + click))
            row.append(Segment(" "))
        order, wanted = getattr(self.tab, "order", None), self.tab.wanted
        words = [_("sorted by {order}").format(order=_(order))] if order else []
        words += [_("with {wanted!r}, esc shows all").format(wanted=wanted)] if wanted else []
        return [*row, Segment(" · ".join(words), palette["dim"])]

    # -- tabs --------------------------------------------------------------------------------------------------------

    def action_tab(self, place: int) -> None:
        """Show another tab."""
        self._close_search()
        self.place = place
        for each in self.tabs:
            each.display = each is self.tab
        self.tab.focus()
        self.refresh_bindings()
        if self.is_mounted:
            self.call_after_refresh(self.repaint)

    def action_next_tab(self, by: int) -> None:
        """The tab to the right, or to the left."""
        self.action_tab((self.place + by) % len(self.tabs))

    def on_tab_reordered(self) -> None:
        """Say in which order."""
        self.repaint()

    # -- searching ---------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Searching is for the tabs that can be; a deep look for a training that goes on."""
        if action == "search":
            return self.tab.wanted is not None
        if action == "deep_look" and self.now.phase is not Phase.TRAINING:
            return None
        return True

    def action_search(self) -> None:
        """Ask for letters; the rows narrow while one types."""
        self.add_class("-asks")
        entry = self.query_one(Input)
        entry.value = self.tab.wanted or ""
        entry.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow at once."""
        if self.has_class("-asks"):
            self.tab.narrow(event.value)
            self.repaint()

    def on_input_submitted(self) -> None:
        """Back to the rows, which stay narrowed."""
        self._close_search()
        self.tab.focus()

    def _close_search(self) -> None:
        self.remove_class("-asks")

    def action_back(self) -> None:
        """From a search to all rows, from there to the main screen."""
        if self.has_class("-asks") or self.tab.wanted:
            self._close_search()
            self.tab.narrow("")
            self.tab.focus()
            self.repaint()
        else:
            self.dismiss()

    # -- a look ------------------------------------------------------------------------------------------------------

    def action_deep_look(self) -> None:
        """The next step is watched whole; what it finds takes the place of this."""
        self.memtop.session.deep_look()
        self.memtop.tell(_("a deep look: the next step is watched whole"))
        self.memtop.urge()
