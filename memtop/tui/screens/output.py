"""All that the target has printed: it follows the end until one scrolls up, and finds words."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.widgets import Input

from memtop.model.i18n import N_, _
from memtop.model.text import harmless
from memtop.tui.draw.ansi import coloured
from memtop.tui.draw.cells import Row
from memtop.tui.screens.page import Page
from memtop.tui.widgets.lines import Lines

KEPT = 20_000
"""Lines that the screen keeps; the session may keep fewer."""


class Answer(Input):
    """A line for the training's terminal, which echoes it: what is sent stands in the output."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "ctrl+d", "finish", "end of input", id="answer.end", tooltip="Tell who reads that nothing more will come"
        ),
    ]

    def on_key(self, event: Key) -> None:
        """Enter and Ctrl-D act at once: a binding's action would come after what is typed, or pasted, behind it."""
        if event.key == "enter":
            line, self.value = self.value, ""
            self.post_message(self.Submitted(self, line))
        elif event.key == "ctrl+d":
            self.action_finish()
        else:
            return
        event.stop()
        event.prevent_default()

    def action_finish(self) -> None:
        """Ctrl-D ends the input where nothing is typed, as it would in a terminal."""
        if self.value:
            self.action_delete_right()
        else:
            self.post_message(self.Submitted(self, "\x04"))


class OutputScreen(Page):
    """stdout and stderr of the target, harmless, and a line to its stdin."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e,O", "back", "back", id="screen.close", tooltip="Back to the main screen", key_display="e"),
        Binding("a", "answer", "answer", id="output.answer", tooltip="Type a line to the training's stdin"),
        Binding("f,end", "follow", "follow", id="output.follow", tooltip="Go to the end and stay there"),
        Binding("slash", "search", "search", id="output.search", tooltip="Find words", key_display="/"),
        Binding("n", "found(1)", "next", id="output.next", tooltip="The next line with these words"),
        Binding("N", "found(-1)", "previous", id="output.previous", tooltip="The one before"),
    ]
    HINTS = (("esc", "back"), ("f", "follow"), ("/", "search"), ("n N", "next, previous"), ("?", "help"), ("q", "quit"))
    _ANSWERS = (
        ("enter", N_("send")),
        ("ctrl+d", N_("end of input")),
        ("ctrl+c", N_("interrupt the training")),
        ("esc", N_("done")),
    )
    DEFAULT_CSS = """
    OutputScreen > Input { display: none; border: none; height: 1; padding: 0 1; }
    OutputScreen.-asks > #find, OutputScreen.-answers > #answer { display: block; }
    """

    def __init__(self, answers: bool = False) -> None:
        """`answers`: with the line to the training's stdin open."""
        super().__init__()
        self._answers = answers
        self._open: list[str] = []
        self._lines: list[str] = []
        self._first = 0
        self._seen = 0
        self._following = True
        self._wanted = ""
        self._title = self._silence = self._ended = ""

    def compose(self) -> ComposeResult:
        yield from super().compose()
        yield Input(placeholder="find", id="find", compact=True)
        yield Answer(placeholder="to the training's stdin", id="answer", compact=True)

    @property
    def hints(self) -> tuple[tuple[str, str], ...]:
        if self.has_class("-answers"):
            return self._ANSWERS
        reads = self.memtop.reads
        return (*self.HINTS[:1], ("a", "answer"), *self.HINTS[1:]) if reads else self.HINTS

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A training that reads nothing is not answered."""
        return self.memtop.reads if action == "answer" else True

    def title_row(self) -> Row:
        palette = self.memtop.view.palette
        state = _("following") if self._following else _("held; f follows")
        words = _(" {seen:,} lines · {state}").format(seen=self._seen, state=state) + (
            _(" · finding {wanted!r}").format(wanted=self._wanted) if self._wanted else ""
        )
        words += f" · {harmless(self._ended)}" if self._ended else ""
        title = Segment(f" {harmless(self._title)}", palette["strong"])
        return [Segment(_(" output "), palette["brand"]), title, Segment(words, palette["dim"])]

    def repaint(self) -> None:
        snapshot = self.memtop.session.snapshot()
        self._title, self._silence = snapshot.title, snapshot.silence
        self._ended = "" if snapshot.end is None else snapshot.phase_text
        self._fetch()
        self._open = list(snapshot.output[len(snapshot.output) - snapshot.output_open :])
        super().repaint()

    def _fetch(self) -> None:
        total, news = self.memtop.session.output_since(self._seen)
        if total < self._seen:  # A new target: its output begins anew.
            self._lines, self._seen = [], 0
            total, news = self.memtop.session.output_since(0)
        self._seen = total
        self._lines = [*self._lines, *news][-KEPT:]

    def show(self, body: Lines, width: int) -> None:
        palette = self.memtop.view.palette
        text, hit = palette["text"], palette["warning"]
        wanted, plain = self._wanted.lower(), palette.mono
        rows = []
        for line in (*self._lines, *self._open):
            found = bool(wanted) and wanted in harmless(line).lower()
            rows.append(coloured(line, width, hit if found else text, plain or found))
        body.show(rows or [[Segment(self._silence, palette["faint"])]], follow=self._following)

    def on_mount(self) -> None:
        """Whoever scrolls up wants to read; whoever comes back to the end follows it again."""
        super().on_mount()
        self.watch(self.query_one("#body", Lines), "scroll_y", self._scrolled, init=False)
        if self._answers:
            self.call_after_refresh(self.action_answer)  # Page.on_mount, which comes after this, takes the focus.

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
        self.query_one("#find", Input).focus()

    def action_answer(self) -> None:
        """Open the line to the training's stdin; its echo stands at the end."""
        self.add_class("-answers")
        self.query_one(Answer).focus()
        self.action_follow()

    def interrupt(self) -> bool:
        """Ctrl-C, while a line to the training is open, is the training's. Whether it was."""
        if not self.has_class("-answers") or not self.memtop.reads:
            return False
        self._send("\x03")
        return True

    def _send(self, keys: str) -> None:
        error = self.memtop.session.type(keys)
        if error is not None:
            self.memtop.tell(error)
        self.memtop.urge()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Send the line; or find words, from the end backwards."""
        if isinstance(event.input, Answer):
            self._send(event.value if event.value == "\x04" else event.value + "\n")
            return
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
        hits = [y for y, line in enumerate(self._lines) if wanted and wanted in harmless(line).lower()]
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
        """From a line that is typed to the text, from the text to the main screen."""
        if self.has_class("-asks") or self.has_class("-answers"):
            self.remove_class("-asks", "-answers")
            self.query_one("#body", Lines).focus()
        else:
            self.dismiss()
