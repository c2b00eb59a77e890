"""All that the target has printed: it follows the end until one scrolls up, and finds words."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from memtop.model.i18n import _
from memtop.model.text import harmless
from memtop.tui.draw.cells import Row, cut
from memtop.tui.screens.page import Page
from memtop.tui.widgets.lines import Lines

KEPT = 20_000
"""Lines that the screen keeps; the session may keep fewer."""


class OutputScreen(Page):
    """stdout and stderr of the target, harmless."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e,O", "back", "back", id="screen.close", tooltip="Back to the main screen", key_display="e"),
        Binding("f,end", "follow", "follow", id="output.follow", tooltip="Go to the end and stay there"),
        Binding("slash", "search", "search", id="output.search", tooltip="Find words", key_display="/"),
        Binding("n", "found(1)", "next", id="output.next", tooltip="The next line with these words"),
        Binding("N", "found(-1)", "previous", id="output.previous", tooltip="The one before"),
    ]
    HINTS = (("esc", "back"), ("f", "follow"), ("/", "search"), ("n N", "next, previous"), ("?", "help"), ("q", "quit"))
    DEFAULT_CSS = """
    OutputScreen > Input { display: none; border: none; height: 1; padding: 0 1; }
    OutputScreen.-asks > Input { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._first = 0
        self._seen = 0
        self._following = True
        self._wanted = ""
        self._title = self._silence = ""

    def compose(self) -> ComposeResult:
        yield from super().compose()
        yield Input(placeholder="find")

    def title_row(self) -> Row:
        palette = self.memtop.view.palette
        state = _("following") if self._following else _("held; f follows")
        words = _(" {seen:,} lines · {state}").format(seen=self._seen, state=state) + (
            _(" · finding {wanted!r}").format(wanted=self._wanted) if self._wanted else ""
        )
        title = Segment(f" {harmless(self._title)}", palette["strong"])
        return [Segment(_(" output "), palette["brand"]), title, Segment(words, palette["dim"])]

    def repaint(self) -> None:
        snapshot = self.memtop.session.snapshot()
        self._title, self._silence = snapshot.title, snapshot.silence
        self._fetch()
        super().repaint()

    def _fetch(self) -> None:
        total, news = self.memtop.session.output_since(self._seen)
        if total < self._seen:  # A new target: its output begins anew.
            self._lines, self._seen = [], 0
            total, news = self.memtop.session.output_since(0)
        self._seen = total
        self._lines = [*self._lines, *(harmless(line) for line in news)][-KEPT:]

    def show(self, body: Lines, width: int) -> None:
        palette = self.memtop.view.palette
        text, hit = palette["text"], palette["warning"]
        wanted = self._wanted.lower()
        rows = [[Segment(cut(line, width), hit if wanted and wanted in line.lower() else text)] for line in self._lines]
        body.show(rows or [[Segment(self._silence, palette["faint"])]], follow=self._following)

    def on_mount(self) -> None:
        """Whoever scrolls up wants to read; whoever comes back to the end follows it again."""
        super().on_mount()
        self.watch(self.query_one("#body", Lines), "scroll_y", self._scrolled, init=False)

    def _scrolled(self) -> None:
        following = self.query_one("#body", Lines).at_end
        if following != self._following:
            self._following = following
            self.repaint()

    def action_follow(self) -> None:
        """To the end, and stay there."""
        self._following = True
        self.query_one("#body", Lines).scroll_end(animate=False, immediate=True)
        self.repaint()

    def action_search(self) -> None:
        """Ask for words."""
        self.add_class("-asks")
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Find them from the end backwards."""
        self._wanted = event.value
        self._following = self._following and not event.value
        self.remove_class("-asks")
        self.query_one("#body", Lines).focus()
        self.repaint()
        self.action_found(-1)

    def action_found(self, direction: int) -> None:
        """Scroll to the next line with the words."""
        body = self.query_one("#body", Lines)
        wanted = self._wanted.lower()
        hits = [y for y, line in enumerate(self._lines) if wanted and wanted in line.lower()]
        if not hits:
            self.memtop.tell(
                _("no line with {wanted!r}").format(wanted=self._wanted)
                if self._wanted
                else _("press / to say what to find")
            )
            return
        here = int(body.scroll_offset.y)
        ahead = [y for y in hits if (y > here if direction > 0 else y < here)]
        target = (min(ahead) if direction > 0 else max(ahead)) if ahead else hits[0 if direction > 0 else -1]
        self._following = False
        body.scroll_to(y=target, animate=False, immediate=True)
        self.repaint()

    def action_back(self) -> None:
        """From the search to the text, from the text to the main screen."""
        if self.has_class("-asks"):
            self.remove_class("-asks")
            self.query_one("#body", Lines).focus()
        else:
            self.dismiss()
